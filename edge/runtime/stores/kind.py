"""What the rest of the node has to know of a kind of storage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    name: str
    """Of its folder, its socket and its path in the agent's API."""
    binding_type: str
    """Of the scripts' bindings that lead to it; empty when none does."""
    id_field: str
    """The field of such a binding that says which of the account's it is."""
    module: str
    """The file in `edge/store/` that answers."""
    bundled: Mapping[str, str]
    """Modules of workerd's own, by the name under which that file imports them."""
    objects: Mapping[str, str]
    """Durable Object class by the name of the binding to it."""
    blobs: str | None
    """The binding to a folder for what is too large for a row."""
    bind: Callable[[Any, str], None] | None
    """Make one binding of a script, an empty slot with a name, lead to a service."""
    flags: tuple[str, ...] = field(default=())
    """Compatibility flags of the file."""
    option: str | None = None
    """A whole number that such a binding may carry besides. Its store finds it behind the name, after a `~`."""
    parts: tuple[str, ...] = field(default=())
    """The other files in `edge/store/` that it imports."""
    kept: bool = True
    """Whether it is an account's data, which one node has. Else each node has its own, and may lose it."""
