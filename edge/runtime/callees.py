"""How scripts of one account call each other: the ways into a script, and those that a script binds.

A script that is called has a socket for each *entrance*, an entrypoint with what the caller gives it as
`ctx.props`. A script that calls has its bindings answered by the platform worker beside it, which passes
each call on. It has several connections to choose from, because workerd keeps the one over which it
calls methods for good: when the callee is exchanged, the agent has it *turn* to the next one, and what
has begun on the one before ends there. Bindings to the Durable Objects and the workflows of another
script lead the same way, past the script: to the gate before its objects, to its engine of workflows.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from edge.runtime import objects, workflows
from edge.runtime.bindings import INTERNET
from edge.runtime.ways import Way

# A socket speaks HTTP for `fetch`, and Cap'n Proto RPC after a CONNECT to this name.
RPC_HOST = "rpc"
# How many cells of a callee may have calls at the same time: the one that serves, and older ones that
# finish what they have begun.
TURNS = 8
# The platform worker's side of a binding (edge/cell/platform.js).
CALLEE_ENTRYPOINT = "Callee"


class Kind(StrEnum):
    """What an entrance leads to, by the type of the bindings that do."""

    SCRIPT = "service"
    OBJECTS = "durable_object_namespace"
    WORKFLOW = "workflow"


@dataclass(frozen=True)
class Entrance:
    """A way into a script."""

    entrypoint: str = ""
    """Empty: the default one. Of objects their class, of a workflow its name."""
    props: str = ""
    """JSON; empty: none."""
    kind: Kind = Kind.SCRIPT

    @property
    def id(self) -> str:
        parts = [self.entrypoint, self.props, *([] if self.kind is Kind.SCRIPT else [self.kind])]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def socket(self) -> str:
        """Its socket's name in the cell's configuration."""
        return f"entrance-{self.id}"


@dataclass(frozen=True)
class Callee:
    """Where a binding to another script leads."""

    binding: str
    number: int
    """The place of the binding in its version."""
    script: str
    """The name of a script of the same account."""
    entrance: Entrance


@dataclass(frozen=True)
class Reach:
    """A callee as the caller's cell finds it."""

    callee: Callee
    socket: str
    """Empty: the script calls itself."""


def callees_of(bindings: object) -> list[Callee]:
    """Of the bindings of a spec, as they came; what is malformed is none."""
    if not isinstance(bindings, Iterable):
        return []
    return [
        callee
        for number, binding in enumerate(bindings)
        if isinstance(binding, dict) and (callee := _callee(number, binding))
    ]


def _callee(number: int, binding: dict[str, Any]) -> Callee | None:
    script = str(binding.get("script") or binding.get("service") or "")
    match binding.get("type"):
        case Kind.SCRIPT:
            entrance = _entrypoint(binding)
        case Kind.OBJECTS if script:
            entrance = Entrance(str(binding.get("class_name")), kind=Kind.OBJECTS)
        case Kind.WORKFLOW if script:
            entrance = Entrance(str(binding.get("workflow_name")), kind=Kind.WORKFLOW)
        case _:
            return None
    return Callee(str(binding.get("name")), number, script, entrance)


def _entrypoint(binding: dict[str, Any]) -> Entrance:
    props = binding.get("props")
    return Entrance(
        entrypoint=str(binding.get("entrypoint") or ""),
        props="" if props is None else json.dumps(props, sort_keys=True),
    )


# The configuration


def fill_socket(socket: Any, entrance: Entrance, way: Way) -> None:
    """A socket of the cell that is called; it is given a descriptor as every other."""
    socket.name = entrance.socket
    socket.init("http").capnpConnectHost = RPC_HOST
    way.fill(socket.service)


def fill_binding(slot: Any, callee: Callee, way: Way) -> None:
    """The script's own binding, whatever its kind, around what it calls."""
    match callee.entrance.kind:
        case Kind.OBJECTS:
            way.fill(objects.bind_others(slot, callee.number))
        case Kind.WORKFLOW:
            way.fill(workflows.bind_others(slot))
        case _:
            way.fill(slot.init("service"))


def way_to(reach: Reach, platform: str) -> Way:
    """Through the platform worker."""
    props = json.dumps({"number": reach.callee.number, "apart": bool(reach.socket)})
    return Way(platform, CALLEE_ENTRYPOINT, props)


def lone_way(callee: Callee, script: str, own: Callable[[Entrance], Way]) -> Way:
    """The same in a script of that name that is tried alone: it reaches itself, and else nobody."""
    itself = callee.script == script and callee.entrance.kind is Kind.SCRIPT
    return own(callee.entrance) if itself else Way(INTERNET)


def fill_external(service: Any, reach: Reach, turn: int) -> None:
    service.name = _service_name(reach, turn)
    external = service.init("external")
    external.address = f"unix:{reach.socket}"
    external.init("http").capnpConnectHost = RPC_HOST


def platform_bindings(
    reaches: Iterable[Reach], own: Callable[[Entrance], Way]
) -> list[Callable[[Any], None]]:
    """What the platform worker needs to pass calls on; `own` is the way into the script itself."""
    return [_passing(reach, turn, own) for reach in reaches for turn in range(TURNS)]


def _passing(reach: Reach, turn: int, own: Callable[[Entrance], Way]) -> Callable[[Any], None]:
    def fill(slot: Any) -> None:
        slot.name = f"CALLEE_{reach.callee.number}_{turn}"
        callee = reach.callee
        apart = Way(_service_name(reach, turn)) if reach.socket else None
        (apart or lone_way(callee, callee.script, own)).fill(slot.init("service"))

    return fill


def enter(entrance: Entrance, way: Way) -> Callable[[Any], None]:
    """What the platform worker needs to call methods of the script for a function in AWS."""

    def fill(slot: Any) -> None:
        slot.name = f"ENTRANCE_{entrance.id}"
        way.fill(slot.init("service"))

    return fill


def _service_name(reach: Reach, turn: int) -> str:
    return f"skerry-callee-{reach.callee.number}-{turn}"
