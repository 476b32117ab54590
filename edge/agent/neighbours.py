"""The other nodes of the platform: where their doors are, as far as the control plane knows."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from edge.agent.front.front import Front

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True)
class Neighbour:
    """Another node; its front listens on the door for visitors whom this one forwards."""

    node_id: str
    host: str
    """A name or an address."""
    port: int


class Neighbours:
    def __init__(self, front: Front) -> None:
        self._front = front
        self._known: dict[Neighbour, str] = {}

    async def learn(self, neighbours: Iterable[Neighbour] | None) -> None:
        """Have the front know these and no others; None changes nothing. One whose name is not found
        now stays where it was."""
        if neighbours is None:
            return
        found = await asyncio.gather(*(self._at(one) for one in neighbours))
        self._known = {one: address for one, address in found if address}
        await self._front.know({one.node_id: at for one, at in self._known.items()})

    async def _at(self, neighbour: Neighbour) -> tuple[Neighbour, str]:
        address = await _resolved(neighbour.host)
        if not address:
            log.warning("neighbour_not_found", host=neighbour.host, node_id=neighbour.node_id)
            return neighbour, self._known.get(neighbour, "")
        return neighbour, f"{address}/{neighbour.port}"


async def _resolved(host: str) -> str:
    """Empty when the name is not known."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ""
    addresses = sorted((family != socket.AF_INET, at[0]) for family, _, _, _, at in found)
    return str(addresses[0][1])
