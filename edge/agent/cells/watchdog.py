"""Stops cells that spin or eat memory. The runtime enforces no limits of its own.

What can be seen from outside of a cell that does nothing else any more (measured):

- its main thread uses CPU. An idle cell's does not, so one short read settles most cells;
- a probe on its control socket stays unanswered. Alone this means little: 50 requests of 100 ms
  each keep a probe waiting for five seconds;
- it writes nothing (`syscw`). `syscr` never moves, also while it answers: workerd receives with
  recvmsg, which is not counted. Voluntary switches move in an endless loop that allocates (its
  garbage collector waits for helpers), so they say nothing.

Requests that arrive in one burst run one after the other before any answer is written. From outside
that looks like one long run, so each open connection adds to what is allowed.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from edge.agent.cells.cell import Cell
from edge.agent.cells.limits import Limits, Outcome
from edge.agent.cells.probe import ProbeError, probe
from edge.agent.processes import Process
from edge.runtime.idle import (
    accepted_connections,
    anonymous_bytes,
    entrance_connections,
    open_sockets,
)

POLL_SECONDS = 0.1
# A cell is asked whether it answers after each so many seconds of CPU, however slowly it gets them.
# A probe costs it less than 1 ms.
ASKING_CPU_SECONDS = 0.2
# What a request of a burst may use before it counts as one that spins.
BURST_REQUEST_SECONDS = 0.2
LONGEST_BURST_SECONDS = 8.0
# A cell that writes but never comes to its probe (a loop that prints or that fails to fetch) may
# have so many times the limit: it could be overloaded.
PATIENCE = 5.0
# Below this share of a CPU a cell does nothing: its garbage collector may still tidy up.
REST_SHARE = 0.02


@dataclass
class Run:
    """The time since a probe was asked that is still unanswered."""

    asked: asyncio.Future[None]
    began: float
    """CPU seconds of the main thread."""
    wrote: float
    """CPU seconds when it was last seen to write."""
    writes: int


class Watch:
    """One process. Its files in /proc stay open: reading them is all that an idle cell costs."""

    def __init__(self, cell: Cell, process: Process, limits: Limits) -> None:
        self.cell = cell
        self.process = process
        self._limits = limits
        self._folder = f"/proc/{process.metered}"
        self._files: list[int] = []
        self._files.append(os.open(f"{self._folder}/schedstat", os.O_RDONLY))
        self._files.append(os.open(f"{self._folder}/statm", os.O_RDONLY))
        self._cpu = self._cpu_seconds()
        self._answered = self._cpu
        self._run: Run | None = None

    def look(self) -> Outcome | None:
        """What it has exceeded. Raises OSError when the process is gone."""
        before, self._cpu = self._cpu, self._cpu_seconds()
        if self._cpu == before:
            return None
        if anonymous_bytes(os.pread(self._files[1], 200, 0)) > self._limits.anonymous_bytes:
            return Outcome.EXCEEDED_MEMORY
        if self._run is None:
            if self._cpu - self._answered > ASKING_CPU_SECONDS:
                self._run = self._begin()
            return None
        if self._run.asked.done():
            self._run, self._answered = None, self._cpu
            return None
        return Outcome.EXCEEDED_CPU if self._spins(self._run) else None

    def wanted_seconds(self) -> float:
        """CPU seconds that the main thread had, and those that it waited for a CPU to be free.
        Raises OSError when the process is gone."""
        ran, waited, _ = os.pread(self._files[0], 100, 0).split()
        return (int(ran) + int(waited)) / 1e9

    def connections(self) -> int:
        """Visitors, the agent's probe, and whom the script talks to. Raises OSError when the process
        is gone."""
        if self.cell.networked:
            return accepted_connections(self._folder, str(self.cell.paths.main))
        own = self._limits.idle_sockets + self.cell.passed_sockets
        return open_sockets(self._folder) - own - self._calls()

    def _calls(self) -> int:
        """Connections to scripts that this one calls. They stay open when nothing is asked any more."""
        folder = self.cell.calls_into
        return entrance_connections(self._folder, folder) if folder else 0

    def close(self) -> None:
        if self._run:
            self._run.asked.cancel()
        for file in self._files:
            os.close(file)

    def _begin(self) -> Run:
        asked = asyncio.ensure_future(_asked(self.cell))
        return Run(asked, began=self._cpu, wrote=self._cpu, writes=self._writes())

    def _spins(self, run: Run) -> bool:
        writes = self._writes()
        if writes != run.writes:
            run.writes, run.wrote = writes, self._cpu
        connections = self.connections()
        if self.cell.starting.locked() and connections <= 0:
            # The script's own start, which has a time limit of its own. With a connection it has
            # begun with a request that waited, before it came to the probe of its start.
            run.began = run.wrote = self._cpu
        limit = self._limits.cpu_seconds_of(self.cell.cpu_ms)
        if self._cpu - run.began < limit:
            return False
        # One connection is the request that spins, another one the probe's.
        burst = BURST_REQUEST_SECONDS * max(connections - 2, 0)
        if self._cpu - run.wrote > limit + min(burst, LONGEST_BURST_SECONDS):
            return True
        return self._cpu - run.began > PATIENCE * limit + burst

    def _cpu_seconds(self) -> float:
        return int(os.pread(self._files[0], 100, 0).split(maxsplit=1)[0]) / 1e9

    def _writes(self) -> int:
        pid = self.process.metered
        with open(f"/proc/{pid}/task/{pid}/io", "rb") as file:
            for line in file:
                if line.startswith(b"syscw:"):
                    return int(line.split()[1])
        raise OSError(f"/proc/{pid}/task/{pid}/io has no syscw")


class Watchdog:
    """Looks at every running cell ten times a second."""

    def __init__(self, cells: Callable[[], list[Cell]], limits: Limits) -> None:
        self._cells = cells
        self._limits = limits
        self._watches: dict[Process, Watch] = {}

    def watch_of(self, cell: Cell) -> Watch | None:
        return self._watches.get(cell.process) if cell.process else None

    def watches(self) -> list[Watch]:
        return list(self._watches.values())

    async def run(self) -> None:
        try:
            while True:
                await asyncio.sleep(POLL_SECONDS)
                self._follow()
                for watch in list(self._watches.values()):
                    self._look(watch)
        finally:
            for watch in self._watches.values():
                watch.close()

    def _follow(self) -> None:
        """Watch every process that is there, and no other."""
        running = {cell.process: cell for cell in self._cells() if cell.process and cell.running}
        for process in self._watches.keys() - running.keys():
            self._watches.pop(process).close()
        for process in running.keys() - self._watches.keys():
            with contextlib.suppress(OSError):  # it ended this moment
                self._watches[process] = Watch(running[process], process, self._limits)

    def _look(self, watch: Watch) -> None:
        try:
            outcome = watch.look()
        except OSError:
            return  # it has ended; its guard knows
        if outcome:
            watch.cell.kill(outcome)


async def _asked(cell: Cell) -> None:
    # Whatever it answers, it answers: a wrong answer is not for the watchdog to judge.
    with contextlib.suppress(OSError, ProbeError):
        await probe(cell.paths.control, cell.record.version_id)
