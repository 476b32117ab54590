"""How many processes a script has: none while nobody visits it, several while one is not enough.

All that is needed is seen from outside. A cell has more sockets open than an idle one while a visitor
is connected, or it waits for somebody itself; and its main thread, which runs everything of a
script, wants the CPU all the time when it is the bottleneck.
"""

import asyncio
import signal
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field

import structlog

from edge.agent.background import Background
from edge.agent.cells.cell import StartError
from edge.agent.cells.fleet import Fleet
from edge.agent.cells.watchdog import REST_SHARE, Watch, Watchdog
from edge.agent.deployer import Deployer
from edge.agent.desired import Version
from edge.agent.front.front import FrontRefusedError
from edge.agent.processes import Process
from edge.agent.settings import Settings
from edge.agent.state import Phase, Slot, State
from edge.agent.stores.owned import Owned
from edge.agent.workflows import Workflows

LOOK_SECONDS = 1.0
# A script whose next alarm is due within so many seconds is not stopped, nor within its idle time.
ALARM_SECONDS = 60.0
# At this share of running and waiting for a CPU, a cell has no time left; so often in a row.
BUSY_SHARE, BUSY_LOOKS = 0.9, 3
# One cell less if the rest would be used to this share only; so often in a row.
CALM_SHARE, CALM_LOOKS = 0.6, 10

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass
class Load:
    """What the cells of one script did lately."""

    rests_since: float
    """On the monotonic clock."""
    wanted: dict[Process, float] = field(default_factory=dict)
    """CPU seconds that each had or waited for, at the last look."""
    looked: float = 0.0
    busy_looks: int = 0
    calm_looks: int = 0

    def look(self, watches: list[Watch], now: float) -> None:
        """Raises OSError when one of the processes has ended."""
        wanted = {watch.process: watch.wanted_seconds() for watch in watches}
        passed = now - self.looked
        # One that is new has not been measured yet, and is neither busy nor at rest.
        shares = [
            (seconds - self.wanted[process]) / passed if process in self.wanted else 0.5
            for process, seconds in wanted.items()
        ]
        connected = any(watch.connections() > 0 for watch in watches)
        if connected or max(shares) > REST_SHARE:
            self.rests_since = now
        self.busy_looks = self.busy_looks + 1 if min(shares) >= BUSY_SHARE else 0
        calm = sum(shares) < CALM_SHARE * (len(shares) - 1)
        self.calm_looks = self.calm_looks + 1 if calm else 0
        self.wanted, self.looked = wanted, now


class Scaling:
    def __init__(
        self,
        *,
        settings: Settings,
        state: State,
        fleet: Fleet,
        watchdog: Watchdog,
        deployer: Deployer,
        owned: Owned,
        workflows: Workflows,
        background: Background,
    ) -> None:
        self._settings = settings
        self._state = state
        self._fleet = fleet
        self._watchdog = watchdog
        self._deployer = deployer
        self._owned = owned
        self._workflows = workflows
        self._background = background
        self._loads: dict[str, Load] = {}
        self._changing: set[str] = set()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        now = time.monotonic()
        watched: dict[str, list[Watch]] = {}
        for watch in self._watchdog.watches():
            if not watch.cell.retired() and not watch.cell.starting.locked():
                watched.setdefault(watch.cell.record.slot_id, []).append(watch)
        self._loads = {script: load for script, load in self._loads.items() if script in watched}
        for script_id, watches in watched.items():
            load = self._loads.setdefault(script_id, Load(rests_since=now))
            try:
                load.look(watches, now)
            except OSError:
                del self._loads[script_id]  # one has ended; its guard knows
            else:
                self._decide(script_id, load, now)

    def _decide(self, script_id: str, load: Load, now: float) -> None:
        slot = self._state.slot(script_id)
        if slot is None or script_id in self._changing:
            return
        scaling = slot.desired.scaling
        idle_seconds = self._settings.idle_seconds
        if scaling.idle_seconds is not None:
            idle_seconds = scaling.idle_seconds
        most = scaling.max_cells or self._settings.max_cells
        owns = self._fleet.owns_storage(script_id)
        if owns:
            most = 1
        cells = len(self._fleet.serving(script_id))
        if idle_seconds and now - load.rests_since >= idle_seconds:
            self._change(script_id, self._pause(script_id) if owns else self._rest(script_id))
        elif cells > most or (cells > 1 and load.calm_looks >= CALM_LOOKS):
            self._change(script_id, self._shrink(script_id))
        elif cells < most and load.busy_looks >= BUSY_LOOKS:
            self._change(script_id, self._grow(script_id))

    def _change(self, script_id: str, work: Coroutine[object, object, None]) -> None:
        """Do it, one thing at a time for each script, and measure anew from then on."""
        self._changing.add(script_id)

        async def change() -> None:
            try:
                async with self._deployer.changing(script_id):
                    await work
            except (StartError, FrontRefusedError) as error:
                # What was stays as it is; there will be another occasion.
                log.warning("scaling_failed", script_id=script_id, reason=str(error))
            finally:
                work.close()
                self._loads.pop(script_id, None)
                self._changing.discard(script_id)

        self._background.run(change(), f"scale {script_id}")

    async def _rest(self, script_id: str) -> None:
        """End the processes of a script that nobody visits: a cell without one takes their place.
        An exchange like any other, so that a visitor who comes this moment loses nothing."""
        slot, live = self._live(script_id)
        serving = self._fleet.serving(script_id)
        if slot and live and any(cell.running for cell in serving):
            number = serving[0].record.slot_number
            cell = await self._fleet.create_idle(script_id, number, live)
            await self._deployer.take_turn(slot, cell, live)
            log.info("script_rests", script_id=script_id, script=slot.desired.name)

    async def _pause(self, script_id: str) -> None:
        """The same for one whose storage no second process may open: stopped, looked at, and ended
        only if nobody is connected, no alarm is due and no step of a workflow runs. Who comes from then on waits at its socket."""
        slot, live = self._live(script_id)
        for cell in self._fleet.serving(script_id):
            watch = self._watchdog.watch_of(cell)
            if not slot or not live or not watch or cell.starting.locked():
                continue
            try:
                if await self._workflows.busy(slot):
                    continue
            except OSError as error:
                log.warning("workflows_unread", script_id=script_id, reason=str(error))
                continue
            watch.process.send(signal.SIGSTOP)
            try:
                alarm = self._owned.next_alarm(slot.desired.account_id, script_id, live.owned)
                soon = time.time() + min(ALARM_SECONDS, self._settings.idle_seconds)
                needed = watch.connections() > 0 or (alarm is not None and alarm < soon)
            except OSError:
                needed = True
            if needed:
                watch.process.send(signal.SIGCONT)
            else:
                cell.rest()
                log.info("script_rests", script_id=script_id, script=slot.desired.name)

    async def _grow(self, script_id: str) -> None:
        """One cell more beside those that serve."""
        slot, live = self._live(script_id)
        serving = self._fleet.serving(script_id)
        if slot and live and serving:
            cell = await self._fleet.create(script_id, serving[0].record.slot_number, live)
            await self._deployer.show(cell)
            self._state.save_phase(cell.record, Phase.SERVING)
            self._fleet.serve(cell)
            self._deployer.watch(cell, live)
            log.info("script_scaled", script_id=script_id, cells=len(serving) + 1)

    async def _shrink(self, script_id: str) -> None:
        """One cell less, the newest."""
        serving = self._fleet.serving(script_id)
        if len(serving) > 1:
            self._deployer.leave(serving[-1])
            log.info("script_scaled", script_id=script_id, cells=len(serving) - 1)

    def _live(self, script_id: str) -> tuple[Slot | None, Version | None]:
        slot = self._state.slot(script_id)
        return slot, slot.live if slot else None
