"""The HAProxy process: started on held sockets, adopted after an agent's restart, started again."""

import asyncio
import contextlib
import hashlib
import resource
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from pathlib import Path

import structlog

from edge.agent.front.admin import Admin, AdminError, AdminSilentError
from edge.agent.front.log import FrontLog
from edge.agent.front.template import DOOR_FD, HTTP_FD, HTTPS_FD, LOG_FD, FrontFiles
from edge.agent.processes import Process, node_processes

ROLE = "front"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 20.0
# An HAProxy that cannot start is asked again this often; one that ran is started at once.
RETRY_SECONDS = 1.0
# How often a running one is asked whether it still takes connections.
LOOK_SECONDS = 1.0

# HAProxy 2.6 keeps 512 kB of freed buffers, which are four of ours, and gives each further one back to the C
# library, which gave it back to the kernel and asked for it again with the next request: one `brk` a request and
# a tenth of the front's CPU. With these (mallopt(3)) up to 64 MiB stay.
MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_TOP_PAD_": str(1 << 20),
}

# Two descriptors per visitor's connection; listeners, pipes and the admin socket need the rest.
SPARE_DESCRIPTORS = 500

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class FrontError(RuntimeError):
    """HAProxy does not start; the message is what it said."""


def possible_connections(wanted: int) -> int:
    """As many connections as the agent's descriptor limit allows, at most `wanted`."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(wanted, (limit - SPARE_DESCRIPTORS) // 2), 100)


class Health(Enum):
    SERVES = auto()
    LEAVES = auto()
    """It finishes what it has begun, or another one has its admin socket."""
    HANGS = auto()
    ENDED = auto()


class HAProxy:
    def __init__(
        self, program: str, node: Path, files: FrontFiles, admin: Admin, log: FrontLog
    ) -> None:
        self._program = program
        self._log = log
        self._node = node
        self._files = files
        self._admin = admin
        self._process: Process | None = None
        self._started = asyncio.Event()
        """Set when another one serves in the place of one that ended."""
        self._renewed: Process | None = None
        """One that was asked to end, so that another one starts with a new main file."""
        self._listeners: dict[str, socket.socket] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and not self._process.ended else None

    async def open(self, listeners: dict[str, socket.socket]) -> None:
        """Adopt the one that runs with today's main file, else start one beside it and end it."""
        self._listeners = listeners
        found = [
            (process, role)
            for identity, role in node_processes(self._node)
            if role.startswith(ROLE) and (process := Process.adopt(identity))
        ]
        for process, role in found:
            health = await self._health(process)
            if health is Health.SERVES and role == self._role():
                self._process = process
                log.info("front_adopted", pid=process.pid)
            elif health is Health.HANGS:
                process.send(signal.SIGKILL)
        if not self._process:
            await self._start()
        for process, _ in found:
            if process is not self._process:
                process.send(signal.SIGUSR1)  # finishes what it has begun

    async def watch(self, on_start: Callable[[], Awaitable[None]]) -> None:
        """Start another one whenever it takes no more connections."""
        while self._process:
            await self._lost(self._process)
            try:
                await self._start()
            except FrontError as error:
                log.error("front_start_failed", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await on_start()
                self._started.set()

    async def _lost(self, process: Process) -> None:
        """Wait until it is dead, killed because it hung, or on its way out because somebody asked
        it to end. The last one goes on with what it has begun, beside the next one."""
        while (health := await self._health(process)) is Health.SERVES:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await process.wait()
        if process is self._renewed:
            log.info("front_renewed", pid=process.pid)
        else:
            log.warning("front_lost", pid=process.pid, health=health.name.lower())
        if health is Health.HANGS:
            await process.end(signal.SIGKILL)
        else:
            process.send(signal.SIGUSR1)

    async def renew(self) -> None:
        """Have another one start with what the main file says now, and wait until it serves; this one
        finishes what it has begun. Visitors who come in between wait."""
        before = self._renewed = self._process
        if before is None:
            return
        self._started.clear()
        before.send(signal.SIGUSR1)
        with contextlib.suppress(TimeoutError):  # `watch` goes on trying
            async with asyncio.timeout(START_SECONDS):
                await self._started.wait()

    async def stop(self, grace: float) -> None:
        """Finish open requests for `grace` seconds, then end."""
        if self._process:
            process, self._process = self._process, None
            await process.end(signal.SIGUSR1, grace)

    def forget(self) -> None:
        if self._process:
            self._process.forget()
            self._process = None

    def _role(self) -> str:
        """Carries the digest of the main file it was started with: another file, another start."""
        digest = hashlib.sha256(self._files.main.read_bytes()).hexdigest()
        return f"{ROLE}:{digest[:16]}"

    async def _health(self, process: Process) -> Health:
        try:
            info = (await self._admin.ask("show info")).splitlines()
        except AdminError as error:
            if process.ended:
                return Health.ENDED
            return Health.HANGS if isinstance(error, AdminSilentError) else Health.LEAVES
        # While an older one finishes, it may still answer on the socket.
        serves = f"Pid: {process.pid}" in info and "Stopping: 0" in info
        return Health.SERVES if serves else Health.LEAVES

    async def _start(self) -> None:
        http, https, door = (self._listeners[name].fileno() for name in ("http", "https", "door"))
        said = self._files.folder / "haproxy.log"
        with said.open("wb") as output, self._log.writing_end() as lines:
            process = Process.start(
                [
                    self._program,
                    "-db",
                    "-f",
                    str(self._files.main),
                    "-f",
                    str(self._files.slots),
                ],
                node=self._node,
                role=self._role(),
                pass_fds=[http, https, door, lines],
                output=output.fileno(),
                descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                environ={
                    HTTP_FD: str(http),
                    HTTPS_FD: str(https),
                    DOOR_FD: str(door),
                    LOG_FD: str(lines),
                    "PATH": PATH,
                    **MEMORY,
                },
                # Every answer of a cell wakes it and each of its own wakes a visitor: with a turn for each it
                # would do one thing at a time, and so would the cells.
                batch=True,
            )
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while not process.ended and await self._health(process) is not Health.SERVES:
            if time.monotonic() > deadline:
                await process.end(signal.SIGKILL)
                raise FrontError("HAProxy does not answer on its admin socket")
            await asyncio.sleep(0.02)
        if process.ended:
            raise FrontError(said.read_text(errors="replace").strip()[-2000:])
        log.info("front_started", pid=process.pid)
