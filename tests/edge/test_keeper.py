"""The keeper's protocol: it holds sockets, and nothing that is sent to it ends it."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.runtime.binary import CHECKOUT
from tests.edge.nodes import free_port, until

pytestmark = pytest.mark.edge

Reply = dict[str, object]


@pytest.fixture
def control() -> Iterator[Path]:
    """The control socket of a running keeper."""
    with tempfile.TemporaryDirectory(prefix="skerry-") as folder:
        command = [sys.executable, "-m", "edge.keeper", "--dir", folder]
        process = subprocess.Popen(command, cwd=CHECKOUT)
        path = Path(folder) / "sockets" / "keeper.sock"
        until(path.exists, what="the keeper listens")
        yield path
        assert process.poll() is None, "the keeper ended by itself"
        process.terminate()
        assert process.wait(10) == 0


def ask(control: Path, request: object, give: int | None = None) -> tuple[Reply, list[int]]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(control))
        line = request if isinstance(request, bytes) else json.dumps(request).encode()
        socket.send_fds(connection, [line + b"\n"], [] if give is None else [give])
        answer, descriptors, _, _ = socket.recv_fds(connection, 65536, 1)
    return json.loads(answer), list(descriptors)


def bind(control: Path, name: str, address: str) -> socket.socket:
    reply, descriptors = ask(control, {"op": "bind", "name": name, "address": address})
    assert reply == {"ok": True}
    return socket.socket(fileno=descriptors[0])


def test_a_socket_is_bound_once_and_handed_out_again(control: Path) -> None:
    path = control.parent / "a.sock"
    first = bind(control, "a", f"unix:{path}")
    inode = path.stat().st_ino
    second = bind(control, "a", f"unix:{path}")
    assert path.stat().st_ino == inode
    first.close()
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))
        accepted, _ = second.accept()
        accepted.close()
    second.close()
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))  # waits in the backlog: the keeper holds it open


def test_tcp_sockets(control: Path) -> None:
    port = free_port()
    listener = bind(control, "http", f"tcp:127.0.0.1:{port}")
    assert listener.getsockname() == ("127.0.0.1", port)
    listener.close()
    reply, _ = ask(control, {"op": "list"})
    assert reply["sockets"] == {"http": f"tcp:127.0.0.1:{port}"}


def test_release_closes_and_unlinks(control: Path) -> None:
    path = control.parent / "b.sock"
    bind(control, "b", f"unix:{path}").close()
    assert ask(control, {"op": "release", "name": "b"})[0] == {"ok": True}
    assert not path.exists()
    assert ask(control, {"op": "list"})[0]["sockets"] == {}
    assert ask(control, {"op": "release", "name": "never"})[0] == {"ok": True}


def test_a_new_keeper_takes_over_held_sockets(control: Path) -> None:
    path = control.parent / "c.sock"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        request = {"op": "adopt", "name": "c", "address": f"unix:{path}"}
        assert ask(control, request, held.fileno())[0] == {"ok": True}
        assert "held already" in str(ask(control, request, held.fileno())[0]["error"])
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(path))
    readable, writable = os.pipe()
    reply, _ = ask(control, {"op": "adopt", "name": "d", "address": "unix:/x"}, readable)
    assert "not a socket" in str(reply["error"])
    os.close(readable)
    os.close(writable)


@pytest.mark.parametrize(
    "stray",
    [
        b"",
        b"not json",
        b"[1, 2]",
        b'{"op": 5}',
        b'{"op": "bind"}',
        b'{"op": "bind", "name": "x", "address": "carrier pigeon"}',
        b'{"op": "bind", "name": "x", "address": "tcp:127.0.0.1:notaport"}',
        b'{"op": "bind", "name": "x", "address": "unix:/no/such/folder/x.sock"}',
        b'{"op": "adopt", "name": "x", "address": "unix:/x"}',
        b"\xff\xfe\x00",
    ],
)
def test_stray_messages_get_an_error(control: Path, stray: bytes) -> None:
    reply, descriptors = ask(control, stray)
    assert reply["ok"] is False
    assert reply["error"]
    assert descriptors == []


def test_rude_clients_do_not_end_it(control: Path) -> None:
    for sent in (b"", b'{"op": "li', b"x" * 100_000):
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(control))
            try:
                rude.sendall(sent)
            except BrokenPipeError:
                assert len(sent) > 16_384  # it hung up on the flood
    assert ask(control, {"op": "list"})[0]["ok"] is True


def test_a_second_keeper_does_not_start(control: Path) -> None:
    folder = control.parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "edge.keeper", "--dir", str(folder)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert "runs at" in done.stderr
    assert ask(control, {"op": "list"})[0]["ok"] is True
