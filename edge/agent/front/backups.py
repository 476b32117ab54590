"""Functions in a cloud as the front's backup: whose they are, and where they are on the network.

HAProxy is given addresses and resolves no names: those of AWS change, so they are looked up again and
again. A function whose name cannot be looked up keeps the address that it had.
"""

import asyncio
import socket

import structlog

from edge.agent.desired import Function
from edge.agent.front.front import Front
from edge.agent.state import State

LOOK_SECONDS = 60.0
ANSWER_SECONDS = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Backups:
    def __init__(self, state: State, front: Front) -> None:
        self._state = state
        self._front = front
        self._addresses: dict[str, str] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.update(again=True)

    async def update(self, *, again: bool = False) -> None:
        """Tell the front; `again` asks for every address anew."""
        await self._front.back_up(await self.resolved(again=again))

    async def resolved(self, *, again: bool = False) -> dict[int, str]:
        """By slot number: host, address, port and secret, as the front takes them apart."""
        wanted = {
            slot.number: slot.desired.function
            for slot in self._state.slots()
            if slot.number is not None and slot.desired.versions and slot.desired.function
        }
        missing = {one.host for one in wanted.values() if again or one.host not in self._addresses}
        await asyncio.gather(*(self._look_up(host) for host in missing))
        return {
            number: _text(one, address)
            for number, one in wanted.items()
            if (address := self._addresses.get(one.host))
        }

    async def _look_up(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await loop.getaddrinfo(host, None, family=socket.AF_INET)
        except (OSError, TimeoutError) as error:
            log.warning("function_not_found", host=host, reason=repr(error))
            return
        self._addresses[host] = str(found[0][4][0])


def _text(function: Function, address: str) -> str:
    return f"{function.host}/{address}/{function.port}/{function.secret}"
