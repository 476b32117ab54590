"""The first request after a rest: from opening the connection to the first byte of the answer."""

import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.bench.deploying import HELLO, deploy, host_of, make_reachable, set_scaling
from launcher.bench.load import Place
from launcher.bench.memory import running_cells
from launcher.errors import LauncherError
from launcher.paths import WORKERD
from launcher.programs import Instance

# Long enough that all of them are deployed before the first one rests again.
IDLE_SECONDS = 30
REST_DEADLINE_SECONDS = 120.0
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Sleepers:
    """Scripts of one instance that nobody else visits."""

    instance: Instance
    names: Sequence[str]
    others: int
    """Scripts of the instance that may have a process."""

    @classmethod
    def deployed(cls, instance: Instance, count: int, others: int) -> "Sleepers":
        names = [f"sleeper-{number}" for number in range(count)]
        for name in names:
            deploy(instance, name, HELLO)
            make_reachable(instance, name)
            set_scaling(instance, name, idle_seconds=IDLE_SECONDS)
        return cls(instance, names, others)

    def wait_for_rest(self) -> None:
        wait_for_rest(self.instance, self.others)

    def place(self, number: int) -> Place:
        return Place(self.instance.config.ports["edge-1.http"], host_of(self.names[number]))


def wait_for_rest(instance: Instance, others: int) -> None:
    """Until no more scripts have a process than these; LauncherError when that never comes."""
    deadline = time.monotonic() + REST_DEADLINE_SECONDS
    while len(running_cells(instance.data)) > others:
        if time.monotonic() > deadline:
            raise LauncherError(f"Idle scripts had processes after {REST_DEADLINE_SECONDS} s.")
        time.sleep(0.2)


def first_byte(place: Place) -> float:
    """Seconds from opening a connection to the first byte of its answer."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", place.port), timeout=ANSWER_SECONDS) as connection:
        request = f"GET / HTTP/1.1\r\nHost: {place.host}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = connection.recv(4096)
        took = time.perf_counter() - began
    if not answer.startswith(b"HTTP/1.1 200"):
        raise LauncherError(f"A first request failed: {answer[:100]!r}")
    return took


def bare_start(config: Path) -> float:
    """The same without Skerry: seconds from starting `workerd serve` on an open socket, with a
    visitor waiting there, to the first byte."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        listener.setblocking(False)
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(WORKERD), "serve", str(config), f"--socket-fd=http={listener.fileno()}"],
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            first_byte(Place(listener.getsockname()[1]))
            return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()
