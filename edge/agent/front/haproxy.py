"""The HAProxy process: started on held sockets, adopted after an agent's restart, started again."""

import asyncio
import hashlib
import resource
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from edge.agent.front.admin import Admin, AdminError
from edge.agent.front.template import HTTP_FD, HTTPS_FD, FrontFiles
from edge.agent.processes import Process, node_processes

ROLE = "front"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 20.0
# An HAProxy that cannot start is asked again this often; one that ran is started at once.
RETRY_SECONDS = 1.0

# Two descriptors per visitor's connection; listeners, pipes and the admin socket need the rest.
SPARE_DESCRIPTORS = 500

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class FrontError(RuntimeError):
    """HAProxy does not start; the message is what it said."""


def possible_connections(wanted: int) -> int:
    """As many connections as the agent's descriptor limit allows, at most `wanted`."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(wanted, (limit - SPARE_DESCRIPTORS) // 2), 100)


class HAProxy:
    def __init__(self, program: str, node: Path, files: FrontFiles, admin: Admin) -> None:
        self._program = program
        self._node = node
        self._files = files
        self._admin = admin
        self._process: Process | None = None
        self._listeners: dict[str, socket.socket] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and not self._process.ended else None

    async def open(self, listeners: dict[str, socket.socket]) -> None:
        """Adopt the one that runs with today's main file, else start one beside it and end it."""
        self._listeners = listeners
        found = [
            (Process.adopt(identity), role)
            for identity, role in node_processes(self._node)
            if role.startswith(ROLE)
        ]
        for process, role in found:
            if process and role == self._role() and not self._process and await self._answers():
                self._process = process
                log.info("front_adopted", pid=process.pid)
        if not self._process:
            await self._start()
        for process, _ in found:
            if process and process is not self._process:
                process.send(signal.SIGUSR1)  # finishes what it has begun

    async def watch(self, on_start: Callable[[], Awaitable[None]]) -> None:
        """Start it again whenever it ends."""
        while self._process:
            await self._process.wait()
            log.warning("front_died", exit_status=self._process.exit_status)
            try:
                await self._start()
            except FrontError as error:
                log.error("front_start_failed", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                await on_start()

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

    async def _answers(self) -> bool:
        try:
            await self._admin.ask("show version")
        except AdminError:
            return False
        return True

    async def _start(self) -> None:
        http, https = (self._listeners[name].fileno() for name in ("http", "https"))
        said = self._files.folder / "haproxy.log"
        with said.open("wb") as output:
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
                pass_fds=[http, https],
                output=output.fileno(),
                descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                environ={HTTP_FD: str(http), HTTPS_FD: str(https), "PATH": PATH},
            )
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while not await self._is_up(process):
            if time.monotonic() > deadline:
                await process.end(signal.SIGKILL)
                raise FrontError("HAProxy does not answer on its admin socket")
            await asyncio.sleep(0.02)
        if process.ended:
            raise FrontError(said.read_text(errors="replace").strip()[-2000:])
        log.info("front_started", pid=process.pid)

    async def _is_up(self, process: Process) -> bool:
        if process.ended:
            return True
        try:
            answer = await self._admin.ask("show info")
        except AdminError:
            return False
        # While an older one finishes, it may still answer on the socket.
        return f"Pid: {process.pid}\n" in answer
