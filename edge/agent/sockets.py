"""The agent's side of the keeper: keeps one running and gets listening sockets from it."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import structlog

from edge.agent.processes import Process, node_processes
from edge.keeper import KeeperError
from edge.paths import NodePaths
from edge.runtime.binary import CHECKOUT

ROLE = "keeper"
# The keeper does nothing that takes time; a longer silence means that it is stopped or broken.
ANSWER_SECONDS = 5.0
START_SECONDS = 10.0
RETRY_SECONDS = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Sockets:
    """Every listener of this node, by name. The agent keeps a copy of each descriptor, so that a
    keeper that was killed gets back the very sockets it held."""

    def __init__(self, paths: NodePaths) -> None:
        self._paths = paths
        self._held: dict[str, tuple[str, socket.socket]] = {}
        self._lock = asyncio.Lock()
        self._process: Process | None = None

    async def open(self) -> bool:
        """Find the keeper or start one. Answers whether it was there already."""
        for identity, role in node_processes(self._paths.root):
            if role == ROLE and (process := Process.adopt(identity)):
                if self._process is None and await self._answers():
                    self._process = process
                else:
                    await process.end(signal.SIGKILL)
        if self._process:
            return True
        await self._start()
        return False

    async def watch(self) -> None:
        """Start a keeper again whenever it dies, and hand everything back to it."""
        while self._process:
            await self._process.wait()
            log.warning("keeper_died", exit_status=self._process.exit_status)
            try:
                await self._revive()
            except (KeeperError, OSError) as error:
                # Nothing is lost meanwhile: the agent has a copy of every socket.
                log.error("keeper_start_failed", reason=str(error))
                self._process.send(signal.SIGKILL)
                await asyncio.sleep(RETRY_SECONDS)

    async def _revive(self) -> None:
        async with self._lock:
            await self._start()
            for name in list(self._held):
                if name not in self._held:
                    continue  # released meanwhile
                address, listener = self._held[name]
                request = {"op": "adopt", "name": name, "address": address}
                # A copy, because a release may close the socket meanwhile. Not with socket.dup(): it
                # makes the shared socket blocking, and HAProxy then hangs in accept().
                copy = os.dup(listener.fileno())
                try:
                    await asyncio.to_thread(self._exchange, request, copy)
                finally:
                    os.close(copy)

    async def bind(self, name: str, address: str) -> socket.socket:
        """The listener of this name, bound when nobody holds it yet."""
        if name not in self._held:
            _, listener = await self._patiently({"op": "bind", "name": name, "address": address})
            if listener is None:
                raise KeeperError(f"the keeper sent no socket for {name}")
            self._held[name] = (address, listener)
        return self._held[name][1]

    async def bind_all(self, addresses: Mapping[str, str]) -> None:
        """Have all of these at once, over one connection: a node may start with thousands."""
        wanted = {name: one for name, one in addresses.items() if name not in self._held}
        async with self._lock:
            self._held |= await asyncio.to_thread(self._bound, wanted)

    def _bound(self, addresses: Mapping[str, str]) -> dict[str, tuple[str, socket.socket]]:
        bound: dict[str, tuple[str, socket.socket]] = {}
        with self._connection() as connection:
            for name, address in addresses.items():
                request = {"op": "bind", "name": name, "address": address}
                _, listener = _ask(connection, request, None)
                if listener:
                    bound[name] = (address, listener)
        return bound

    async def release(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held:
            held[1].close()
        await self._patiently({"op": "release", "name": name})

    async def names(self) -> dict[str, str]:
        """What the keeper holds: address by name."""
        reply, _ = await self._patiently({"op": "list"})
        sockets = reply.get("sockets")
        return sockets if isinstance(sockets, dict) else {}

    async def stop(self) -> None:
        """End the keeper: every socket of this node closes."""
        if self._process:
            process, self._process = self._process, None
            await process.end()

    def forget(self) -> None:
        """Let the keeper go on without the agent."""
        if self._process:
            self._process.forget()
            self._process = None

    async def _start(self) -> None:
        self._process = Process.start(
            [sys.executable, "-m", "edge.keeper", "--dir", str(self._paths.root)],
            node=self._paths.root,
            role=ROLE,
            environ={"PYTHONPATH": str(CHECKOUT)},
        )
        deadline = time.monotonic() + START_SECONDS
        while not await self._answers():
            if self._process.ended or time.monotonic() > deadline:
                raise KeeperError("the keeper does not start")
            await asyncio.sleep(0.02)
        log.info("keeper_started", pid=self._process.pid)

    async def _answers(self) -> bool:
        try:
            await asyncio.to_thread(self._exchange, {"op": "list"}, None)
        except (OSError, KeeperError):
            return False
        return True

    async def _patiently(
        self, request: dict[str, str]
    ) -> tuple[dict[str, object], socket.socket | None]:
        """Ask, and ask again while a keeper that died is being replaced: all requests may repeat."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                async with self._lock:
                    return await asyncio.to_thread(self._exchange, request, None)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise KeeperError(f"the keeper does not answer: {error}") from error
            await asyncio.sleep(0.05)

    def _exchange(
        self, request: dict[str, str], give: int | None
    ) -> tuple[dict[str, object], socket.socket | None]:
        with self._connection() as connection:
            return _ask(connection, request, give)

    @contextmanager
    def _connection(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(self._paths.keeper_socket))
            yield connection


def _ask(
    connection: socket.socket, request: dict[str, str], give: int | None
) -> tuple[dict[str, object], socket.socket | None]:
    """One request, one answer; raises KeeperError with the keeper's complaint."""
    line = json.dumps(request).encode() + b"\n"
    socket.send_fds(connection, [line], [] if give is None else [give])
    received, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
    while not received.endswith(b"\n"):
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionResetError("the keeper hung up")
        received += chunk
    reply = json.loads(received)
    if not reply.get("ok"):
        for descriptor in descriptors:
            os.close(descriptor)
        raise KeeperError(str(reply.get("error")))
    return reply, socket.socket(fileno=descriptors[0]) if descriptors else None
