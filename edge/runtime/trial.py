"""Start a config once in a throw-away workerd and look what happens."""

import http.client
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from edge.runtime.binary import ENVIRONMENT, Runtime
from edge.runtime.config import MAIN_SOCKET
from edge.runtime.sandbox import CHECK_UID, Level, Sandbox

# What workerd says is a few lines; a flood of it says nothing more.
STDERR_BYTES = 64 * 1024


@dataclass(frozen=True)
class Trial:
    started: bool
    timed_out: bool
    startup_ms: int
    stderr: str
    answer: object = None
    """The JSON behind the main socket, when it started and a path was asked for."""


def start_once(
    runtime: Runtime,
    config: bytes,
    timeout: float,
    ask: str | None = None,
    sandbox: Sandbox | None = None,
    options: Sequence[str] = (),
) -> Trial:
    """Start, wait at most `timeout` seconds until the sockets listen, ask a path, and end it. A
    config with somebody's script in it belongs into a sandbox; `options` are more of that."""
    with (
        memory_file(b"") as stderr,
        throw_away(runtime, config, sandbox, subprocess.DEVNULL, stderr, options) as running,
    ):
        event = running.first_event(timeout)
        elapsed_ms = running.elapsed_ms()
        answer = _ask(running.address, ask, timeout) if event and ask else None
        running.end()
        return Trial(bool(event), event is None, elapsed_ms, _said(stderr), answer)


@dataclass(frozen=True)
class Running:
    """A throw-away workerd while it runs."""

    process: subprocess.Popen[bytes]
    address: bytes | str
    """Of its main socket."""
    control: int
    began: float

    def first_event(self, timeout: float) -> bytes | None:
        """The first control message, b"" when workerd ended without one, None when time is up."""
        ready, _, _ = select.select([self.control], [], [], timeout)
        return os.read(self.control, 4096) if ready else None

    def elapsed_ms(self) -> int:
        return round((time.monotonic() - self.began) * 1000)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def throw_away(
    runtime: Runtime,
    config: bytes,
    sandbox: Sandbox | None,
    stdout: int | BinaryIO,
    stderr: int | BinaryIO,
    options: Sequence[str] = (),
) -> Iterator[Running]:
    """A workerd with this config for as long as the block lasts; without a sandbox in none. `options`
    are more of the sandbox's."""
    sandbox = sandbox or Sandbox(Level.NONE, runtime.workerd)
    with socket.socket(socket.AF_UNIX) as listener, memory_file(config) as config_file:
        listener.bind("")  # an address of the kernel's choice, gone with the socket
        listener.listen(8)
        readable, writable = os.pipe()
        began = time.monotonic()
        process = subprocess.Popen(
            sandbox.serve(
                CHECK_UID,
                # Bound to us, unlike a cell: whoever ends the check ends what it started.
                ["--die-with-parent", *options],
                config_file.fileno(),
                f"--socket-fd={MAIN_SOCKET}={listener.fileno()}",
                f"--control-fd={writable}",
            ),
            pass_fds=[config_file.fileno(), listener.fileno(), writable],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        os.close(writable)
        running = Running(process, listener.getsockname(), readable, began)
        try:
            yield running
        finally:
            os.close(readable)
            running.end()


def memory_file(content: bytes) -> BinaryIO:
    """A file in memory only. Configs hold secrets, so they never reach a disk."""
    file = os.fdopen(os.memfd_create("config"), "r+b")
    file.write(content)
    file.seek(0)
    return file


def _ask(address: bytes | str, path: str, timeout: float) -> object:
    """JSON of one request, None when the script's own code keeps it from being answered."""
    connection = UnixConnection(address, timeout)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _said(stderr: BinaryIO) -> str:
    stderr.seek(0)
    return stderr.read(STDERR_BYTES).decode(errors="replace")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, address: bytes | str, timeout: float) -> None:
        super().__init__("cell", timeout=timeout)
        self._address = address

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._address)
