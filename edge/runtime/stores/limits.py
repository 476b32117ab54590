"""Rate limiting: counts of ours, in memory. The binding is a module of ours around a service."""

from collections.abc import Mapping
from typing import Any

from edge.runtime.stores.kind import Kind

MODULE = "skerry:ratelimit"
# In a binding's own words, and as the module finds them.
_OPTIONS = {"limit": "LIMIT", "period": "PERIOD"}
# The longest period: a process that is ended earlier forgets what it counted.
LONGEST_SECONDS = 60.0


def _bind(slot: Any, service: str) -> None:
    wrapped = slot.init("wrapped")
    wrapped.moduleName = MODULE
    inner = wrapped.init("innerBindings", 1 + len(_OPTIONS))
    inner[0].name = "FETCHER"
    inner[0].init("service").name = service


def _configure(slot: Any, options: Mapping[str, object]) -> None:
    inner = list(slot.wrapped.innerBindings)[1:]
    for entry, (name, inside) in zip(inner, _OPTIONS.items(), strict=True):
        entry.name, entry.json = inside, str(options[name])


KIND = Kind(
    name="limits",
    binding_type="ratelimit",
    id_field="namespace_id",
    module="limits.js",
    bundled={},
    objects={},
    blobs=None,
    bind=_bind,
    options_field="simple",
    configure=_configure,
    kept=False,
    rests_after_seconds=LONGEST_SECONDS,
)
