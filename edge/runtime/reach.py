"""How a script's bindings lead to where its account's data is: each has a service of its own in the
cell, whose requests carry what opens that one binding and nothing else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.runtime.stores import BY_BINDING
from edge.spec import Spec

# The header that opens a store. A script can neither see nor change it.
STORE_HEADER = "x-skerry-binding"
# Which script comes through a binding, for who counts what scripts do (edge/store/counting.js).
SCRIPT_ID_HEADER = "x-skerry-script-id"


@dataclass(frozen=True)
class StoreDoor:
    """The way to an account's data of one kind, as its cells see it."""

    socket: str
    ticket: Callable[[str], str]
    """What opens a namespace, a database … by its id."""


@dataclass(frozen=True)
class Reached:
    """Where one binding leads."""

    binding: str
    service: str
    socket: str
    ticket: str


def reached_stores(spec: Spec, doors: Mapping[str, StoreDoor]) -> list[Reached]:
    """Of every binding to a kind that has a door."""
    found: list[Reached] = []
    for number, binding in enumerate(spec.bindings):
        kind = BY_BINDING.get(binding.type)
        door = doors.get(kind.name) if kind else None
        if kind and door:
            service = f"skerry-{kind.name}-{number}"
            found.append(
                Reached(binding.name, service, door.socket, door.ticket(str(binding.value)))
            )
    return found


def kinds_of(spec: Spec) -> set[str]:
    """The kinds of stores that a script binds."""
    return {BY_BINDING[one.type].name for one in spec.bindings if one.type in BY_BINDING}
