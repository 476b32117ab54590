"""The real server, started, stopped and killed."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from launcher import postgres, processes
from launcher.children import Child, Program
from launcher.paths import DataDirectory

PASSWORD = "it's 100% secret / @:#"


@pytest.fixture
def program(data: DataDirectory, free_port: int) -> Program:
    postgres.create(data.postgres, PASSWORD)
    return postgres.program(data.postgres, free_port)


def connect(program: Program) -> "psycopg.Connection[tuple[object, ...]]":
    assert program.port is not None
    url = postgres.url(program.port, PASSWORD).replace("+psycopg", "")
    return psycopg.connect(url, autocommit=True, connect_timeout=5)


def value(program: Program, query: str) -> object:
    with connect(program) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def test_what_was_committed_survives_every_kind_of_end(
    program: Program, start: Callable[[Program], Child], data: DataDirectory
) -> None:
    server = start(program)
    assert str(value(program, "SHOW server_version")).startswith("18.")
    with connect(program) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    server.stop()
    assert server.process is not None
    assert server.process.returncode == 0
    server.start()
    server.wait_ready()
    with connect(program) as connection:
        connection.execute("INSERT INTO kept VALUES (2)")
    server.process.kill()
    server.process.wait()
    assert (data.postgres / "postmaster.pid").exists()
    server.start()
    server.wait_ready()
    assert value(program, "SELECT sum(n) FROM kept") == 3


def test_the_stop_does_not_wait_for_open_sessions(
    program: Program, start: Callable[[Program], Child]
) -> None:
    server = start(program)
    idle = connect(program)
    server.stop()
    assert server.process is not None
    assert server.process.returncode == 0
    idle.close()


def test_a_server_that_a_killed_launcher_left_is_replaced(
    program: Program, start: Callable[[Program], Child], data: DataDirectory
) -> None:
    first = start(program)
    second = Child(program, data)
    second.start()
    second.wait_ready()
    assert first.process is not None
    assert first.process.wait(10) == 0
    assert value(program, "SELECT 1") == 1
    second.stop()


def test_a_stale_lock_with_the_pid_of_a_stranger_is_no_obstacle(
    program: Program, start: Callable[[Program], Child], data: DataDirectory
) -> None:
    server = start(program)
    server.stop()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        (data.postgres / "postmaster.pid").write_text(f"{stranger.pid}\n{data.postgres}\n")
        server.start()
        server.wait_ready()
        assert stranger.poll() is None
        stranger.kill()


def test_it_listens_on_loopback_with_a_password_and_runs_as_ours(
    program: Program, start: Callable[[Program], Child], data: DataDirectory
) -> None:
    server = start(program)
    assert value(program, "SHOW listen_addresses") == "127.0.0.1"
    assert program.port is not None
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://skerry:wrong@127.0.0.1:{program.port}/skerry")
    assert server.process is not None
    assert processes.belongs_to(server.process.pid, data.path)
    assert stat.S_IMODE(data.postgres.stat().st_mode) == 0o700


def test_an_interrupted_creation_is_done_again(data: DataDirectory) -> None:
    draft = data.path / "postgres.draft"
    draft.mkdir()
    (draft / "PG_VERSION").write_text("18")
    postgres.create(data.postgres, PASSWORD)
    assert not draft.exists()
    assert (data.postgres / "global").is_dir()
    assert sorted(path.name for path in data.path.iterdir() if path.is_file()) == []


def test_every_server_sorts_alike(program: Program, start: Callable[[Program], Child]) -> None:
    start(program)
    assert (
        value(
            program, "SELECT string_agg(w, '' ORDER BY w) FROM unnest(array['b','B','a','é','z']) w"
        )
        == "Babzé"
    )
    assert value(program, "SELECT lower('ÀÉ')") == "àé"


@pytest.fixture
def without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "namespaces_allowed", lambda: False)


def test_root_without_user_namespaces_runs_it_as_another_user(
    without_namespaces: None, free_port: int
) -> None:
    if os.geteuid() != 0:
        # Nothing is wrapped for an ordinary user, so there is no second way to try.
        assert postgres.as_ordinary_user() == []
        return
    with tempfile.TemporaryDirectory(prefix="skerry-launcher-") as folder:
        data = DataDirectory(Path(folder).resolve())
        data.create()
        postgres.create(data.postgres, PASSWORD)
        program = postgres.program(data.postgres, free_port)
        server = Child(program, data)
        server.start()
        server.wait_ready()
        assert server.process is not None
        assert Path(f"/proc/{server.process.pid}").stat().st_uid == postgres.stand_in().pw_uid
        assert value(program, "SELECT 1") == 1
        server.stop()
        assert server.process.returncode == 0
        assert program.stop_signal == signal.Signals.SIGINT
