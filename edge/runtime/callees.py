"""How scripts of one account call each other: the ways into a script, and those that a script binds.

A script that is called has a socket for each *entrance*, an entrypoint with what the caller gives it as
`ctx.props`. A script that calls has its bindings answered by the platform worker beside it, which passes
each call on. It has several connections to choose from, because workerd keeps the one over which it
calls methods for good: when the callee is exchanged, the agent has it *turn* to the next one, and what
has begun on the one before ends there.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from edge.runtime.bindings import INTERNET

SERVICE_BINDING = "service"
# A socket speaks HTTP for `fetch`, and Cap'n Proto RPC after a CONNECT to this name.
RPC_HOST = "rpc"
# How many cells of a callee may have calls at the same time: the one that serves, and older ones that
# finish what they have begun.
TURNS = 8
# The platform worker's side of a binding (edge/cell/platform.js).
CALLEE_ENTRYPOINT = "Callee"


@dataclass(frozen=True)
class Entrance:
    """A way into a script."""

    entrypoint: str = ""
    """Empty: the default one."""
    props: str = ""
    """JSON; empty: none."""

    @property
    def id(self) -> str:
        text = json.dumps([self.entrypoint, self.props])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def socket(self) -> str:
        """Its socket's name in the cell's configuration."""
        return f"entrance-{self.id}"


@dataclass(frozen=True)
class Callee:
    """Where a service binding leads."""

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
    if binding.get("type") != SERVICE_BINDING:
        return None
    props = binding.get("props")
    entrance = Entrance(
        entrypoint=str(binding.get("entrypoint") or ""),
        props="" if props is None else json.dumps(props, sort_keys=True),
    )
    script = str(binding.get("script") or binding.get("service") or "")
    return Callee(str(binding.get("name")), number, script, entrance)


# The configuration


def fill_socket(socket: Any, entrance: Entrance, service: str) -> None:
    """A socket of the cell that is called; it is given a descriptor as every other."""
    socket.name = entrance.socket
    socket.init("http").capnpConnectHost = RPC_HOST
    designate(socket.service, service, entrance)


def designate(designator: Any, service: str, entrance: Entrance) -> None:
    designator.name = service
    if entrance.entrypoint:
        designator.entrypoint = entrance.entrypoint
    if entrance.props:
        designator.init("props").json = entrance.props


def fill_binding(slot: Any, reach: Reach, platform: str) -> None:
    """The script's own binding."""
    props = json.dumps({"number": reach.callee.number, "apart": bool(reach.socket)})
    designate(slot.init("service"), platform, Entrance(CALLEE_ENTRYPOINT, props))


def fill_lone_binding(slot: Any, callee: Callee, own: str | None) -> None:
    """The same in a script that is tried alone: it reaches itself, and else nobody."""
    if own:
        designate(slot.init("service"), own, callee.entrance)
    else:
        slot.init("service").name = INTERNET


def fill_external(service: Any, reach: Reach, turn: int) -> None:
    service.name = _service_name(reach, turn)
    external = service.init("external")
    external.address = f"unix:{reach.socket}"
    external.init("http").capnpConnectHost = RPC_HOST


def platform_bindings(reaches: Iterable[Reach], own: str) -> list[Callable[[Any], None]]:
    """What the platform worker needs to pass calls on."""
    return [_passing(reach, turn, own) for reach in reaches for turn in range(TURNS)]


def _passing(reach: Reach, turn: int, own: str) -> Callable[[Any], None]:
    def fill(slot: Any) -> None:
        slot.name = f"CALLEE_{reach.callee.number}_{turn}"
        if reach.socket:
            slot.init("service").name = _service_name(reach, turn)
        else:
            designate(slot.init("service"), own, reach.callee.entrance)

    return fill


def enter(entrance: Entrance, service: str) -> Callable[[Any], None]:
    """What the platform worker needs to call methods of the script for a function in AWS."""

    def fill(slot: Any) -> None:
        slot.name = f"ENTRANCE_{entrance.id}"
        designate(slot.init("service"), service, entrance)

    return fill


def _service_name(reach: Reach, turn: int) -> str:
    return f"skerry-callee-{reach.callee.number}-{turn}"
