"""One cell: a held socket, and the process behind it while somebody needs it."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge.agent.cells.confinement import Confinement, Mount, Reaches
from edge.agent.cells.limits import NICENESS, Limits, Outcome
from edge.agent.cells.output import Output
from edge.agent.cells.probe import ProbeError, probe
from edge.agent.processes import Process, plays
from edge.agent.state import CellRecord
from edge.proc import Identity
from edge.runtime import (
    bindings,
    caching,
    callees,
    config,
    messages,
    network,
    objects,
    points,
    reach,
    ways,
    workflows,
)
from edge.runtime.binary import Runtime
from edge.runtime.callees import Entrance
from edge.runtime.config import (
    CONTROL_SOCKET,
    MAIN_SOCKET,
    PLATFORM_FILES,
    PLATFORM_MODULES,
    Telling,
)
from edge.runtime.trial import memory_file

# workerd ends open requests on SIGTERM by itself; by then the front has ended their sessions.
END_SECONDS = 10.0
# Between the end of a process's connections and that of the sandbox around it.
HANG_UP_SECONDS = 2.0
# Starts and ends, for telling what happened to a request when it is recorded a second later.
REMEMBERED_TIMES = 8
# The front sees a broken connection, and the agent the end of the process, in the same moment.
NEAR_US = 2_000_000
# Only the agent connects here.
CONTROL_BACKLOG = 64


class StartError(RuntimeError):
    """The cell does not start; the message is the runtime's own, for the script's author."""


class CellKilledError(StartError):
    """Somebody killed the process while it started: no fault of the script."""


@dataclass(frozen=True)
class CellPaths:
    main: Path
    control: Path
    fifo: Path


def build_digest(
    runtime: Runtime,
    limits: Limits,
    spec: object,
    confinement: Confinement,
    tells: Iterable[Telling] = (),
) -> str:
    """Of everything a cell is built from: another digest means that it should be exchanged."""
    built = [spec, runtime.version, limits.fixed_at_start(), confinement.summary]
    built += sorted(tells)
    text = json.dumps(built, sort_keys=True).encode()
    return hashlib.sha256(text + _ours()).hexdigest()


@cache
def _ours() -> bytes:
    """What each release of ours makes of a spec."""
    builders = [Path(config.__file__), Path(bindings.__file__), Path(reach.__file__)]
    builders += [Path(caching.__file__), Path(callees.__file__)]
    builders += [Path(objects.__file__), Path(points.__file__), Path(network.__file__)]
    builders += [Path(workflows.__file__), Path(ways.__file__)]
    own = ["ranges.js", "ratelimit.js", "points.js", "workflows.js"]
    own += [objects.MODULE_FILE, objects.GATE_FILE, objects.IDS_FILE]
    scripts = [PLATFORM_FILES / name for name in (*PLATFORM_MODULES, *own)]
    return b"".join(path.read_bytes() for path in (*builders, *scripts))


class Cell:
    """The main socket is held by the keeper, so the process may come and go behind it. The control
    socket is only the agent's, and made anew with every process."""

    misplaced = False
    """Its process was started for another network than that of today."""
    passed_sockets = 0
    """How many of its entrances the process was given."""
    networked = False
    """Whether it has connections besides those of who uses it."""
    calls_into: str | None = None
    """The folder of the sockets that it calls others by, when it calls any and is sandboxed."""

    def __init__(
        self,
        record: CellRecord,
        paths: CellPaths,
        listener: socket.socket,
        node: Path,
    ) -> None:
        self.record = record
        self.paths = paths
        self.output = Output(paths.fifo, record.name, record.script_id, record.version_id)
        self.process: Process | None = None
        self.entrances: dict[Entrance, socket.socket] = {}
        """Where other scripts call this one."""
        self.starting = asyncio.Lock()
        self.failing: str | None = None
        """Why it cannot be started now."""
        self.blocked = False
        """Not started for a while, because it was killed again and again."""
        self.cpu_ms: int | None = None
        """What its version asks for as the limit of its CPU."""
        self.tells = False
        """It was seen to tell its invocations."""
        self.patient = False
        """It may finish what it has open for a day."""
        self.rested = False
        """Ended because nobody needed it."""
        self.last_outcome: Outcome | None = None
        """The limit that ended one of its processes, the last one that did."""
        self._killed_for: Outcome | None = None
        self._starts: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_TIMES)
        self._spawned_us = 0
        self._ends: deque[tuple[int, Outcome | None]] = deque(maxlen=REMEMBERED_TIMES)
        self._retirement = asyncio.Event()
        self._closed = False
        self._listener = listener
        self._visit: asyncio.Future[None] | None = None
        self._node = node

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def running(self) -> bool:
        return self.process is not None and not self.process.ended

    def was_starting(self, began_us: int, ended_us: int) -> bool:
        """Whether a request of this time (microseconds since 1970) waited for the process."""
        return any(
            began_us < up_us and spawned_us <= ended_us for spawned_us, up_us in self._starts
        )

    def start_us(self, began_us: int, ended_us: int) -> int:
        """How long the start took that a request of this time waited for; 0 when it waited for none."""
        took = (
            up_us - spawned_us
            for spawned_us, up_us in self._starts
            if began_us < up_us and spawned_us <= ended_us
        )
        return max(next(took, 0), 0)

    def describe(self) -> dict[str, object]:
        """For the node's status."""
        running = self.process if self.running else None
        return {
            "version_id": self.record.version_id,
            "pid": running.pid if running else None,
            "state": self._state(),
            "last_outcome": self.last_outcome,
        }

    def _state(self) -> str:
        if self.retired():
            return "draining"
        if self.running:
            return "serving"
        if self.blocked:
            return "blocked"
        return "starting" if self.failing or self.starting.locked() else "idle"

    async def visited(self) -> None:
        """Wait until a connection waits on the main socket, or the cell is closed."""
        if self._closed:
            return
        self._visit = asyncio.get_running_loop().create_future()
        for listener in self._listeners():
            asyncio.get_running_loop().add_reader(listener, self._wake)
        try:
            await self._visit
        finally:
            self._wake()

    def _wake(self) -> None:
        visit, self._visit = self._visit, None
        if visit:
            # Before anything can close the socket: its number may be given to another one.
            for listener in self._listeners():
                asyncio.get_running_loop().remove_reader(listener)
            if not visit.done():
                visit.set_result(None)

    def _listeners(self) -> list[socket.socket]:
        return [self._listener, *self.entrances.values()]

    def refuse_calls(self, refuse: bool) -> None:
        """Whether other scripts' calls are refused instead of waiting: there is no process for them."""
        for listener in self.entrances.values():
            if refuse and not self._closed:
                asyncio.get_running_loop().add_reader(listener, _refuse, listener)
            else:
                asyncio.get_running_loop().remove_reader(listener)

    def retire(self) -> None:
        """It gets no new visitor. Those who wait for it already are still served."""
        self._retirement.set()

    def retired(self) -> bool:
        return self._retirement.is_set()

    async def retires(self, seconds: float) -> None:
        """Wait for so long, or until it is retired."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._retirement.wait()

    def close(self) -> None:
        """Never started again from here on."""
        self.retire()
        self._closed = True
        self._wake()
        self.refuse_calls(False)

    def closed(self) -> bool:
        return self._closed

    def recast(self, record: CellRecord) -> None:
        """The next process behind its socket is another version's."""
        self.record = record
        self.output.belongs_to(record.version_id)

    def adopt(self, identity: Identity) -> bool:
        """Take over the process an earlier agent started for this cell, if it still lives."""
        if not plays(identity, self._node, self.record.role):
            return False
        self.process = Process.adopt(identity)
        if self.process is None:
            return False
        self.output.open()
        return True

    async def spawn(
        self,
        config: bytes,
        limits: Limits,
        confinement: Confinement,
        uid: int,
        mounts: Sequence[Mount] = (),
        doors: bool = True,
        locks: Sequence[int] = (),
        reaches: Reaches = Reaches.NOTHING,
    ) -> Process:
        """Start the process behind the held socket; `answers` tells when it is up."""
        self.output.open()
        self.output.clear()
        self._killed_for = None
        self.misplaced = False
        self._spawned_us = time.time_ns() // 1000
        self.rested = False
        writing_end = self.output.writing_end()
        try:
            with (
                memory_file(config) as config_file,
                _control_listener(self.paths.control) as control,
            ):
                listeners = {
                    MAIN_SOCKET: self._listener.fileno(),
                    CONTROL_SOCKET: control.fileno(),
                }
                for entrance, listener in self.entrances.items():
                    listeners[entrance.socket] = listener.fileno()
                self.passed_sockets = len(self.entrances)
                self.process = await confinement.start(
                    self.record.role,
                    uid,
                    config_file.fileno(),
                    listeners,
                    writing_end,
                    data_bytes=limits.data_bytes,
                    niceness=NICENESS,
                    mounts=mounts,
                    doors=doors,
                    locks=locks,
                    reaches=reaches,
                )
        finally:
            os.close(writing_end)
        return self.process

    async def answers(self, process: Process, service: str, seconds: float) -> None:
        """Wait until the probe is answered. Else the process is killed and StartError raised."""
        asking = asyncio.ensure_future(probe(self.paths.control, self.record.version_id))
        ending = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait(
                {asking, ending}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if asking.done() and asking.exception():
                # A process that ends hangs up first; how it ended says more.
                await asyncio.wait({ending}, timeout=HANG_UP_SECONDS)
            if not asking.done() or (asking.exception() and process.ended):
                raise self._failure(process, service)
            asking.result()
            # The first visitor may have been answered before the probe was.
            self._starts.append((self._spawned_us, time.time_ns() // 1000))
        except (ProbeError, OSError) as error:
            raise StartError(f"The cell does not answer its probe: {error}") from error
        finally:
            ending.cancel()
            if not asking.done() or asking.cancelled() or asking.exception():
                asking.cancel()
                await process.end(signal.SIGKILL)

    def _failure(self, process: Process, service: str) -> StartError:
        if not process.ended:
            return StartError("Script startup exceeded time limit")
        message = messages.failure(self.output.said(), service)
        killed = process.exit_status == -signal.SIGKILL
        return CellKilledError(message) if killed else StartError(message)

    def kill(self, outcome: Outcome) -> None:
        """It has used more than it may."""
        if self.process and not self.process.ended:
            self._killed_for = outcome
            self.process.send(signal.SIGKILL)

    @property
    def killed_for(self) -> Outcome | None:
        """The limit that ended its newest process, None while it runs or when none did."""
        return self._killed_for

    def rest(self, last: signal.Signals = signal.SIGKILL) -> None:
        """End the process, which is stopped: it does nothing, and nobody is connected. At once, or as it
        ends when it is asked to with another signal."""
        if self.process and not self.process.ended:
            self.rested = True
            self.process.send(last)
            if last is not signal.SIGKILL:
                self.process.send(signal.SIGCONT)

    def ended_for(self) -> Outcome | None:
        """Which limit ended the process, None when none did."""
        outcome = self._killed_for
        if (
            outcome is None
            and not self.retired()
            and messages.ran_out_of_memory(self.output.said())
        ):
            outcome = Outcome.EXCEEDED_MEMORY
        self.last_outcome = outcome or self.last_outcome
        self._ends.append((time.time_ns() // 1000, outcome))
        return outcome

    def end_near(self, at_us: int) -> tuple[int, Outcome | None] | None:
        """When its process ended and for which limit, if it did about then (microseconds since
        1970)."""
        near = [end for end in self._ends if abs(end[0] - at_us) < NEAR_US]
        return min(near, key=lambda end: abs(end[0] - at_us), default=None)

    def refuse_waiting(self) -> None:
        """Close the connections that nobody has accepted: their visitors have their answer, and a
        request that was answered must not run later."""
        if self._closed:
            return
        for listener in self._listeners():
            _refuse(listener)

    async def end(self, grace: float = END_SECONDS) -> None:
        if self.process:
            await self.process.end(grace=grace)

    def forget(self) -> None:
        """The cell goes on without the agent."""
        if self.process:
            self.process.forget()
        self.output.close()


def _refuse(listener: socket.socket) -> None:
    """Close what waits here and nobody has accepted."""
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.close()


def _control_listener(path: Path) -> socket.socket:
    """For one process, which keeps it; the agent closes its own copy."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.setblocking(False)
        listener.listen(CONTROL_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
