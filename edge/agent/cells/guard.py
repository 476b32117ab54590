"""Starts a cell when a visitor waits on its held socket, and again when its process ends unasked."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from edge.agent.cells.cell import Cell, StartError
from edge.agent.processes import Process

# A cell that lived this long gets its next start at once.
STEADY_SECONDS = 10.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 30.0

# So many processes stopped by a limit in so many seconds, and the cell pauses.
KILLS = 3
KILLS_SECONDS = 10.0
# As long as the front's page says in Retry-After.
FIRST_BLOCK_SECONDS = 5.0
LONGEST_BLOCK_SECONDS = 60.0
# A cell that misbehaves within this time of its last block is blocked for twice as long.
FORGIVEN_SECONDS = 60.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Report = Callable[[Cell, str | None], Awaitable[None]]
"""Told why a cell cannot be started, and None when it answers again."""

Block = Callable[[Cell], Awaitable[None]]
"""Told that a cell has no process for a while; the next Report ends that."""


class Kills:
    """Counts how often a limit ended one cell, and how long it has to pause for it."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=KILLS)
        self._blocked_until = 0.0
        self._block_seconds = 0.0

    def count(self, now: float) -> float:
        """Seconds to pause after a kill at this time."""
        self._times.append(now)
        if len(self._times) < KILLS or now - self._times[0] > KILLS_SECONDS:
            return 0.0
        again = self._block_seconds and now - self._blocked_until < FORGIVEN_SECONDS
        self._block_seconds = (
            min(self._block_seconds * 2, LONGEST_BLOCK_SECONDS) if again else FIRST_BLOCK_SECONDS
        )
        self._times.clear()
        self._blocked_until = now + self._block_seconds
        return self._block_seconds


Start = Callable[[], Awaitable[object]]
"""Starts the process of a cell that has none; raises StartError."""


async def guard(cell: Cell, start: Start, report: Report, block: Block) -> None:
    """Watch one cell from when it serves until it is closed."""
    failures = 0
    kills = Kills()
    counted: Process | None = None
    while not cell.closed():
        began = time.monotonic()
        if cell.process:
            await cell.process.wait()
        # A start may fail before there is a new process: the old one has ended only once.
        pause = _ended(cell, kills) if cell.process is not counted else None
        steady = time.monotonic() - began > STEADY_SECONDS
        first = (cell.process is None or cell.rested) and not cell.failing
        failures = 0 if first or steady or pause is not None else failures + 1
        counted = cell.process
        if cell.closed():
            return
        if pause:
            await _pause(cell, pause, block)
        elif failures > 1:
            # Who waits for one that is replaced meanwhile has waited long enough.
            await cell.retires(delay(failures - 1))
        if cell.retired() or not (pause or cell.failing):
            await cell.visited()
        await _again(cell, start, report)


def delay(failures: int) -> float:
    """Seconds to wait after so many short lives in a row."""
    return min(FIRST_DELAY_SECONDS * 2.0 ** (failures - 1), LONGEST_DELAY_SECONDS)


def _ended(cell: Cell, kills: Kills) -> float | None:
    """Say why the process ended; answers for how long the cell is blocked for it, None when it was
    no limit that ended it."""
    if not cell.process or cell.rested:
        return None
    outcome = cell.ended_for()
    if outcome:
        log.warning(
            "cell_killed",
            cell=cell.name,
            script_id=cell.record.script_id,
            version_id=cell.record.version_id,
            pid=cell.process.pid,
            reason=outcome,
        )
        return kills.count(time.monotonic())
    if not cell.retired():
        log.warning("cell_died", cell=cell.name, exit_status=cell.process.exit_status)
    return None


async def _pause(cell: Cell, seconds: float, block: Block) -> None:
    log.warning("cell_blocked", cell=cell.name, script_id=cell.record.script_id, seconds=seconds)
    cell.blocked = True
    cell.refuse_calls(True)
    try:
        await block(cell)
        await asyncio.sleep(seconds)
    finally:
        cell.blocked = False


async def _again(cell: Cell, start: Start, report: Report) -> None:
    if cell.closed():
        return
    before = cell.process
    cell.refuse_calls(False)
    try:
        await start()
    except StartError as error:
        if cell.process is not before and cell.ended_for():
            return  # a request that waited for it did that, not the script's start
        log.warning("cell_start_failed", cell=cell.name, reason=str(error))
        cell.failing = str(error)
        cell.refuse_calls(True)
    else:
        cell.failing = None
    await report(cell, cell.failing)
