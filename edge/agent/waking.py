"""Starts scripts that have no process in time for their next alarm; workerd fires what is due by
itself. What is due when is read once, after the process has ended: nobody else writes it."""

import asyncio
import heapq
import time
from collections.abc import Coroutine

import structlog

from edge.agent.cells.calling import visiting
from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.processes import Process
from edge.agent.state import Slot, State
from edge.agent.stores.owned import Owned
from edge.agent.workflows import Workflows

LOOK_SECONDS = 0.25
# A process needs a moment to start.
EARLY_SECONDS = 1.0
# Once the guard has seen the connection, it may end.
VISIT_SECONDS = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Waking:
    def __init__(self, state: State, fleet: Fleet, owned: Owned, workflows: Workflows) -> None:
        self._state = state
        self._fleet = fleet
        self._owned = owned
        self._workflows = workflows
        self._gone_on: dict[str, Process] = {}
        """The processes in which interrupted workflows were gone on with, by script."""
        self._resting: set[str] = set()
        """The scripts whose next alarm is known."""
        self._due: list[tuple[float, str]] = []
        """A heap of these."""
        self._visits: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for slot in self._state.slots():
                if slot.live and slot.live.owned:
                    self._look(slot)
            while self._due and self._due[0][0] - EARLY_SECONDS <= time.time():
                _, script_id = heapq.heappop(self._due)
                if script_id in self._resting:
                    self._resting.discard(script_id)
                    self._wake(script_id)

    def _look(self, slot: Slot) -> None:
        script_id = slot.script_id
        cell = self._cell(script_id)
        if cell is None or cell.running or cell.starting.locked() or cell.failing:
            if script_id in self._resting:
                self._resting.discard(script_id)
                self._due = [entry for entry in self._due if entry[1] != script_id]
                heapq.heapify(self._due)
            if cell and cell.running and not cell.starting.locked():
                self._go_on(cell, slot)
        elif script_id not in self._resting and slot.live:
            try:
                due = self._owned.next_alarm(slot.desired.account_id, script_id, slot.live.owned)
                if not cell.rested and self._workflows.interrupted(slot):
                    due = time.time()
            except OSError as error:
                log.warning("alarms_unread", script_id=script_id, reason=str(error))
                return  # looked at again in a moment
            self._resting.add(script_id)
            if due is not None:
                heapq.heappush(self._due, (due, script_id))

    def _go_on(self, cell: Cell, slot: Slot) -> None:
        """Once in each process."""
        process = cell.process
        has = slot.live is not None and bool(slot.live.workflows)
        if has and process and self._gone_on.get(slot.script_id) is not process:
            self._gone_on[slot.script_id] = process
            self._run(self._workflows.wake(cell, slot))

    def _wake(self, script_id: str) -> None:
        cell = self._cell(script_id)
        if cell:
            self._run(_visit(cell))
            log.info("script_woken", script_id=script_id)

    def _run(self, visit: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(visit)
        self._visits.add(task)
        task.add_done_callback(self._visits.discard)

    def _cell(self, script_id: str) -> Cell | None:
        return next(iter(self._fleet.serving(script_id)), None)


async def _visit(cell: Cell) -> None:
    with visiting(cell.paths.main):
        await asyncio.sleep(VISIT_SECONDS)
