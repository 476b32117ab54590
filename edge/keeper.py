"""The keeper: a small process that owns every listening socket of a node and outlives the agent.

    python -m edge.keeper --dir NODE_DIR

It accepts nothing and reads no request: it binds, holds, and hands descriptors over (SCM_RIGHTS).
So a path or port is bound once, connections wait in its backlog while nobody serves it, and an
agent or a front that was killed finds the very same socket again.

Protocol: a unix stream socket, one JSON object per line each way.

    {"op": "bind", "name": N, "address": A}  → {"ok": true} and the descriptor
    {"op": "adopt", "name": N, "address": A} with a descriptor → {"ok": true}
    {"op": "release", "name": N}             → {"ok": true}; a path is unlinked
    {"op": "list"}                           → {"ok": true, "sockets": {N: A}}
    {"op": "stop"}                           → {"ok": true}, then the keeper ends

An address is `unix:PATH` or `tcp:HOST:PORT`. Anything else is answered {"ok": false, "error": …}.
"""

import argparse
import contextlib
import json
import os
import resource
import selectors
import signal
import socket
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from edge.fifo import open_fifo
from edge.paths import LOG_PIPE_BYTES, NodePaths

# With 512, half of 1,000 first requests at a cold cell were refused; with 4,096 none (measured).
BACKLOG = 4096
# A socket per cell, and what those that run need; 65,536 is what the design promises for a full node.
DESCRIPTORS = 65_536
# The longest message is a path and a name; whoever sends more is not the agent.
MESSAGE_BYTES = 16 * 1024


class KeeperError(RuntimeError):
    """A request that cannot be met; the message is the answer."""


def raise_descriptor_limit() -> None:
    """As many descriptors as the system lets us have, up to what a full node needs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass
class Held:
    listener: socket.socket
    address: str


class Sockets:
    """The held listeners by name."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}

    def bind(self, name: str, address: str) -> socket.socket:
        """The listener of this name: the one we hold, else a newly bound one."""
        held = self._held.get(name)
        if held is None:
            held = self._held[name] = Held(_listen(address), address)
        elif held.address != address:
            raise KeeperError(f"{name} is bound to {held.address} already")
        return held.listener

    def adopt(self, name: str, address: str, descriptor: int) -> None:
        """Take over a listener that its holder kept open when an earlier keeper died."""
        if name in self._held:
            os.close(descriptor)
            raise KeeperError(f"{name} is held already")
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise KeeperError("the descriptor is not a socket")
        self._held[name] = Held(socket.socket(fileno=descriptor), address)

    def release(self, name: str) -> None:
        held = self._held.pop(name, None)
        if held is None:
            return
        held.listener.close()
        if held.address.startswith("unix:"):
            Path(held.address.removeprefix("unix:")).unlink(missing_ok=True)

    def names(self) -> dict[str, str]:
        return {name: held.address for name, held in self._held.items()}


def _listen(address: str) -> socket.socket:
    kind, _, rest = address.partition(":")
    try:
        if kind == "unix":
            return _listen_unix(Path(rest))
        if kind == "tcp":
            host, _, port = rest.rpartition(":")
            return _listen_tcp(host.strip("[]"), int(port))
    except (OSError, ValueError) as error:
        raise KeeperError(f"cannot bind {address}: {error}") from error
    raise KeeperError(f"an address is unix:PATH or tcp:HOST:PORT, not {address}")


def _listen_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # left by a keeper that is gone; a living one would hold it
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.setblocking(False)  # shared by all who hold it: none of them may hang in accept()
    listener.listen(BACKLOG)
    return listener


def _listen_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.setblocking(False)
    listener.listen(BACKLOG)
    return listener


@dataclass
class Client:
    """One connection to the control socket; nothing it sends can block or end the keeper."""

    connection: socket.socket
    received: bytes = b""
    descriptors: list[int] = field(default_factory=list)

    def read(self) -> list[bytes] | None:
        """Complete lines, None when the other side is gone or talks nonsense."""
        try:
            chunk, descriptors, _, _ = socket.recv_fds(self.connection, 4096, 4)
        except BlockingIOError:
            return []
        except OSError:
            return None
        self.descriptors += descriptors
        self.received += chunk
        if not chunk or len(self.received) > MESSAGE_BYTES:
            return None
        *lines, self.received = self.received.split(b"\n")
        return lines

    def answer(self, reply: dict[str, object], listener: socket.socket | None) -> None:
        """Send one line; a client that does not read it within a second is dropped."""
        line = json.dumps(reply).encode() + b"\n"
        self.connection.settimeout(1)
        descriptors = [] if listener is None else [listener.fileno()]
        sent = socket.send_fds(self.connection, [line], descriptors)
        self.connection.sendall(line[sent:])
        self.connection.setblocking(False)

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.connection.close()


class Keeper:
    """Serves the control socket until it is told to stop."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._sockets = Sockets()
        self._selector = selectors.DefaultSelector()
        self._running = True

    def run(self) -> None:
        self._selector.register(self._control, selectors.EVENT_READ, None)
        while self._running:
            # Python resumes an interrupted wait: without a limit a SIGTERM would not be seen.
            for key, _ in self._selector.select(timeout=1):
                if key.data is None:
                    self._accept()
                else:
                    self._serve(key.data)

    def stop(self) -> None:
        self._running = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._control.accept()
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, Client(connection))

    def _serve(self, client: Client) -> None:
        lines = client.read()
        try:
            for line in lines or []:
                self._answer(client, line)
        except OSError:  # the client left, or reads nothing: its loss, the sockets stay
            lines = None
        if lines is None:
            self._selector.unregister(client.connection)
            client.close()

    def _answer(self, client: Client, line: bytes) -> None:
        listener: socket.socket | None = None
        reply: dict[str, object] = {"ok": True}
        try:
            request = _request(line)
            if request["op"] == "list":
                reply["sockets"] = self._sockets.names()
            else:
                listener = self._act(request, client)
        except KeeperError as error:
            reply = {"ok": False, "error": str(error)}
        client.answer(reply, listener)

    def _act(self, request: dict[str, str], client: Client) -> socket.socket | None:
        match request:
            case {"op": "bind", "name": name, "address": address}:
                return self._sockets.bind(name, address)
            case {"op": "adopt", "name": name, "address": address} if client.descriptors:
                self._sockets.adopt(name, address, client.descriptors.pop(0))
            case {"op": "release", "name": name}:
                self._sockets.release(name)
            case {"op": "stop"}:
                self.stop()
            case _:
                raise KeeperError("unknown or incomplete request")
        return None


def _request(line: bytes) -> dict[str, str]:
    try:
        request = json.loads(line)
    except ValueError as error:
        raise KeeperError("not JSON") from error
    if not isinstance(request, dict) or "op" not in request:
        raise KeeperError("a request is an object with an op")
    if not all(isinstance(value, str) for value in request.values()):
        raise KeeperError("every field is a string")
    return request


def _control_socket(path: Path) -> socket.socket:
    """Listen at `path`; raises KeeperError when another keeper answers there."""
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        raise KeeperError(f"a keeper runs at {path} already")
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    previous = os.umask(0o177)
    try:
        control = socket.socket(socket.AF_UNIX)
        control.bind(str(draft))
    finally:
        os.umask(previous)
    control.listen(64)
    control.setblocking(False)
    draft.replace(path)  # where it is, somebody listens
    return control


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m edge.keeper")
    parser.add_argument("--dir", required=True, type=Path)
    paths = NodePaths.of(parser.parse_args(arguments).dir)
    paths.make()
    raise_descriptor_limit()
    try:
        keeper = Keeper(_control_socket(paths.keeper_socket))
    except (KeeperError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    # Never read here. Held, so that what the front said stays when front and agent are both gone.
    open_fifo(paths.front_log, LOG_PIPE_BYTES)
    signal.signal(signal.SIGTERM, lambda *_: keeper.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    keeper.run()
    paths.keeper_socket.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
