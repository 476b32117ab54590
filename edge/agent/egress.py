"""The egress: the only way from a cell to the network, and the place where addresses are refused.

Two workerd processes without any script accept on one held socket, so what one cannot take the other
does, and a cell's request waits in the backlog while either is started again.
"""

import asyncio
import contextlib
import hashlib
import ipaddress
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from edge.agent.cells.output import Output
from edge.agent.processes import Process, node_processes
from edge.agent.settings import Settings
from edge.agent.sockets import Sockets
from edge.keeper import KeeperError
from edge.paths import NodePaths
from edge.runtime.binary import ENVIRONMENT, Runtime
from edge.runtime.config import EGRESS_SOCKET, egress_config
from edge.runtime.network import Network
from edge.runtime.sandbox import Level, Sandbox
from edge.runtime.trial import memory_file

ROLE = "egress"
PROCESSES = 2
# One that lived this long is started again at once, one that cannot start only this often.
STEADY_SECONDS = 5.0
RETRY_SECONDS = 1.0
# A connection from a cell and one to the outside each; WebSockets stay.
DESCRIPTORS = 16_384

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Egress:
    def __init__(
        self,
        settings: Settings,
        paths: NodePaths,
        runtime: Runtime,
        sandbox: Sandbox,
        sockets: Sockets,
        uid: int,
    ) -> None:
        self._config = egress_config(runtime, network_of(settings))
        self._paths = paths
        self._sandbox = sandbox
        self._sockets = sockets
        self._uid = uid
        self._listener: socket.socket | None = None
        self._output: Output | None = None
        self._processes: dict[str, Process] = {}

    @property
    def roles(self) -> list[str]:
        """They carry the digest of what they do: another allow-list, another start."""
        built = self._config + str(self._sandbox).encode()
        digest = hashlib.sha256(built).hexdigest()[:16]
        return [f"{ROLE}:{digest}:{number}" for number in range(PROCESSES)]

    async def open(self) -> None:
        """Adopt those that do what is wanted, start those that are missing, end all others."""
        self._listener = await self._listen()
        self._output = Output(self._paths.root / "egress.fifo", ROLE, "", "")
        self._output.open()
        found = [
            (process, role)
            for identity, role in node_processes(self._paths.root)
            if role.startswith(ROLE) and (process := Process.adopt(identity))
        ]
        for process, role in found:
            if role in self.roles and role not in self._processes:
                self._processes[role] = process
                log.info("egress_adopted", pid=process.pid)
        for role in self.roles:
            if role not in self._processes:
                self._start(role)
        for process, role in found:
            if self._processes.get(role) is not process:
                process.send(signal.SIGTERM)

    async def reopen(self) -> None:
        """Listen on a new socket, because the path of the old one is gone. What came in by that one
        is finished by those who accepted it."""
        await self._sockets.release(ROLE)
        self._listener = await self._listen()
        for role, process in list(self._processes.items()):
            self._start(role)
            process.send(signal.SIGTERM)

    async def watch(self, role: str) -> None:
        """Start it again whenever it ends."""
        while process := self._processes.get(role):
            began = time.monotonic()
            await process.wait()
            if self._processes.get(role) is not process:
                continue
            said = self._output.said()[-2000:] if self._output else ""
            log.warning("egress_died", exit_status=process.exit_status, said=said)
            if time.monotonic() - began < STEADY_SECONDS:
                await asyncio.sleep(RETRY_SECONDS)
            with contextlib.suppress(OSError):  # no process to be had: the dead one is met again
                self._start(role)

    def forget(self) -> None:
        """Let it go on without the agent."""
        for process in self._processes.values():
            process.forget()
        self._processes.clear()
        if self._output:
            self._output.close()

    async def _listen(self) -> socket.socket:
        path = self._paths.egress_socket
        listener = await self._sockets.bind(ROLE, f"unix:{path}")
        if self._sandbox.level is Level.FULL:
            path.chmod(0o666)  # cells have users of their own; only their sandboxes show them this
        return listener

    def _start(self, role: str) -> None:
        if self._listener is None or self._output is None:
            raise KeeperError("the egress has no socket yet")
        listener = self._listener.fileno()
        writing_end = self._output.writing_end()
        try:
            with memory_file(self._config) as config:
                process = Process.start(
                    [
                        *self._sandbox.as_user(self._uid),
                        *(str(self._sandbox.workerd), "serve", "--binary"),
                        *(f"/dev/fd/{config.fileno()}", f"--socket-fd={EGRESS_SOCKET}={listener}"),
                    ],
                    node=self._paths.root,
                    role=role,
                    pass_fds=[config.fileno(), listener],
                    output=writing_end,
                    environ=ENVIRONMENT,
                    descriptors=DESCRIPTORS,
                )
        finally:
            os.close(writing_end)
        self._processes[role] = process
        log.info("egress_started", pid=process.pid)


def network_of(settings: Settings) -> Network:
    """What scripts of this node may reach."""
    denied = denied_addresses(settings.advertise, settings.egress_allow)
    return Network(settings.egress_allow, tuple(denied), settings.egress_authorities)


def denied_addresses(advertise: str, allowed: Sequence[str]) -> list[str]:
    """The node's own addresses. Loopback needs no entry: it is not public, and who allows it means
    it. Neither does an address that the operator allows by itself."""
    own = set(_own_addresses())
    with contextlib.suppress(ValueError):
        own.add(ipaddress.ip_address(urlsplit(advertise).hostname or ""))
    networks = {str(ipaddress.ip_network(one)) for one in own if not one.is_loopback}
    return sorted(networks - set(allowed))


def _own_addresses() -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    with contextlib.suppress(OSError):
        before = ""
        for line in Path("/proc/net/fib_trie").read_text().splitlines():
            if line.strip() == "/32 host LOCAL":
                yield ipaddress.IPv4Address(before.split()[-1])
            before = line
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            yield ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))
