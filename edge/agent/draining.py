"""Takes an old cell away when it has nothing left to do.

The front knows which requests are open on it. What answers left behind (`waitUntil`) is seen from
outside: it computes, or it has a connection open that is none of the front's idle ones.
"""

import asyncio
import time

import structlog

from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.cells.watchdog import REST_SHARE, Watchdog
from edge.agent.front.front import Front
from edge.agent.settings import Settings

# A request that was being handed to the old cell when it began to drain is counted by then.
POLL_SECONDS = 0.1
# For a cell that was exchanged only because somebody looks.
PATIENCE_SECONDS = 24 * 3600.0
# While it ends, everybody waits for the one after it: for how long it may finish what is open, how long
# it must have done nothing, and how long its process may take to end.
HURRY_SECONDS, HURRY_LINGER_SECONDS, HURRY_END_SECONDS = 3.0, 0.1, 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Draining:
    def __init__(
        self, *, settings: Settings, fleet: Fleet, front: Front, watchdog: Watchdog
    ) -> None:
        self._settings = settings
        self._fleet = fleet
        self._front = front
        self._watchdog = watchdog

    async def drain(self, cell: Cell) -> None:
        """Wait until the cell is done, at most SKERRY_DRAIN_SECONDS, then end and forget it."""
        await self._front.drain(cell.record.slot_number, cell.name)
        seconds = PATIENCE_SECONDS if cell.patient else self._settings.drain_seconds
        await self._finish(cell, seconds, self._settings.linger_seconds)
        cell.close()
        await cell.end()
        await self.forget(cell)

    async def end(self, cell: Cell) -> None:
        """The same in a hurry, for one that must have ended before another one starts. It has to be
        forgotten then."""
        seconds = min(HURRY_SECONDS, self._settings.drain_seconds)
        await self._finish(cell, seconds, min(HURRY_LINGER_SECONDS, self._settings.linger_seconds))
        cell.close()
        async with cell.starting:
            await cell.end(HURRY_END_SECONDS)

    async def forget(self, cell: Cell) -> None:
        await self._front.delete(cell.record.slot_number, cell.name)
        await self._fleet.remove(cell)

    async def _finish(self, cell: Cell, seconds: float, linger: float) -> None:
        if not await self._done(cell, seconds, linger):
            log.warning("sessions_cut", cell=cell.name, script_id=cell.record.script_id)
            await self._front.end_sessions(cell.record.slot_number, cell.name)

    async def _done(self, cell: Cell, seconds: float, linger: float) -> bool:
        """Whether it did nothing for so long before its time was up."""
        now = worked = time.monotonic()
        deadline = now + seconds
        wanted = self._wanted_seconds(cell)
        while now < deadline:
            await asyncio.sleep(POLL_SECONDS)
            before, now = now, time.monotonic()
            earlier, wanted = wanted, self._wanted_seconds(cell)
            if wanted - earlier > REST_SHARE * (now - before) or await self._connected(cell):
                worked = now
            elif now - worked >= linger:
                return True
        return False

    async def _connected(self, cell: Cell) -> bool:
        """Whether somebody waits for it, or it for somebody."""
        sessions, idle = await self._front.connections(cell.record.slot_number, cell.name)
        if sessions or not cell.running:
            return sessions > 0
        watch = self._watchdog.watch_of(cell)
        try:
            return watch is not None and watch.connections() > idle
        except OSError:
            return False  # it has ended

    def _wanted_seconds(self, cell: Cell) -> float:
        watch = self._watchdog.watch_of(cell)
        try:
            return watch.wanted_seconds() if watch else 0.0
        except OSError:
            return 0.0  # it has ended
