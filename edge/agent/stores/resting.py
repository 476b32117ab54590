"""Ends the process of a store that nobody has needed for a while.

There must be no second process on its data, so unlike a script's cell it has no successor that takes
over first. It is stopped, looked at, and ended only if nobody is connected: whoever connects from then
on waits on the held socket and starts the next one.
"""

import asyncio
import signal
import time
from collections.abc import Callable

import structlog

from edge.agent.cells.cell import Cell
from edge.agent.cells.watchdog import REST_SHARE, Watch, Watchdog
from edge.agent.processes import Process
from edge.agent.stores.stores import StoreRecord
from edge.runtime.stores import KINDS

LOOK_SECONDS = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Resting:
    def __init__(
        self,
        watchdog: Watchdog,
        idle_seconds: float,
        held: Callable[[Cell], int] = lambda _: 0,
        shares: Callable[[Cell], bool] = lambda _: False,
    ) -> None:
        """`held`: how many connections to a store are the agent's own and mean nothing. `shares`:
        whether other nodes have its data, too."""
        self._shares = shares
        self._watchdog = watchdog
        self._held = held
        self._idle_seconds = idle_seconds
        self._seen: dict[Process, tuple[float, float, float]] = {}
        """When each was last busy, when it was looked at, and the CPU seconds it had by then."""

    async def run(self) -> None:
        while self._idle_seconds:
            await asyncio.sleep(LOOK_SECONDS)
            watches = self._watchdog.watches()
            present = {watch.process for watch in watches}
            self._seen = {one: seen for one, seen in self._seen.items() if one in present}
            for watch in watches:
                self._look(watch)

    def _look(self, watch: Watch) -> None:
        now = time.monotonic()
        try:
            wanted = watch.wanted_seconds()
            busy, looked, before = self._seen.get(watch.process, (now, now, wanted))
            if self._used(watch) or wanted - before > REST_SHARE * (now - looked):
                busy = now
            self._seen[watch.process] = (busy, now, wanted)
            if now - busy >= self._rest_seconds(watch.cell) and not watch.cell.starting.locked():
                self._rest(watch.cell, watch)
        except OSError:
            return  # it has ended; its guard knows

    def _rest_seconds(self, cell: Cell) -> float:
        record = cell.record
        own = KINDS[record.kind].rests_after_seconds if isinstance(record, StoreRecord) else 0.0
        return max(self._idle_seconds, own)

    def _rest(self, cell: Cell, watch: Watch) -> None:
        watch.process.send(signal.SIGSTOP)
        if self._used(watch):
            watch.process.send(signal.SIGCONT)
        else:
            # One that shares its data lets go of it: the others would wait for its lease to end.
            cell.rest(signal.SIGTERM if self._shares(cell) else signal.SIGKILL)
            log.info("store_rests", store=cell.name)

    def _used(self, watch: Watch) -> bool:
        return watch.connections() > self._held(watch.cell)
