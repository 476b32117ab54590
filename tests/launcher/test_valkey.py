"""The real server, started, stopped and killed."""

import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from launcher import valkey
from launcher.children import Child, Program
from launcher.paths import DataDirectory

PASSWORD = "only-here"


@pytest.fixture
def program(data: DataDirectory, free_port: int) -> Program:
    return valkey.program(data.valkey, free_port, PASSWORD)


def client(program: Program) -> "redis.Redis":
    assert program.port is not None
    return redis.Redis.from_url(valkey.url(program.port, PASSWORD))


def test_what_was_written_survives_every_kind_of_end(
    program: Program, start: Callable[[Program], Child]
) -> None:
    server = start(program)
    with client(program) as connection:
        connection.set("first", "1")
    server.stop()
    assert server.process is not None
    assert server.process.returncode == 0
    server.start()
    server.wait_ready()
    with client(program) as connection:
        connection.set("second", "2")
        time.sleep(1.2)  # the append-only file is synced every second
    server.process.kill()
    server.process.wait()
    server.start()
    server.wait_ready()
    with client(program) as connection:
        assert connection.mget("first", "second") == [b"1", b"2"]


def test_it_asks_for_the_password_which_no_argument_shows(
    program: Program, start: Callable[[Program], Child], data: DataDirectory
) -> None:
    server = start(program)
    assert program.port is not None
    with redis.Redis(port=program.port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    assert server.process is not None
    arguments = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
    assert PASSWORD.encode() not in arguments
    assert str(data.valkey).encode() in arguments
    assert stat.S_IMODE((data.valkey / "valkey.conf").stat().st_mode) == 0o600


def test_a_wrong_server_on_the_port_is_not_taken_for_ours(
    program: Program, start: Callable[[Program], Child], data: DataDirectory
) -> None:
    start(program)
    assert program.port is not None
    other = valkey.program(data.path / "other", program.port, "another-password")
    assert not other.ready()
