"""One supervisor for one data directory, and what replaces the embedded servers."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import cli, config, instance_lock, programs
from launcher.config import Config
from launcher.errors import AlreadyRunningError
from launcher.paths import ROOT, DataDirectory
from launcher.programs import Instance

HOLD = """
import sys
from pathlib import Path
from launcher import instance_lock
from launcher.paths import DataDirectory
with instance_lock.held(DataDirectory(Path(sys.argv[1]))):
    instance_lock.write_state(DataDirectory(Path(sys.argv[1])), "running")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(data: DataDirectory) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


@pytest.mark.parametrize("flags", [[], ["--detach"]])
def test_a_second_up_refuses_in_one_sentence(
    data: DataDirectory,
    holder: "subprocess.Popen[bytes]",
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
) -> None:
    with holder:
        assert cli.main(["up", *flags, "--data", str(data.path)]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err == (
            f"skerry: Skerry already runs on {data.path}: see ./skerry status, or stop it with ./skerry down.\n"
        )
        assert instance_lock.supervisor(data) is not None
        holder.kill()


def test_a_killed_supervisor_leaves_no_lock(
    data: DataDirectory, holder: "subprocess.Popen[bytes]"
) -> None:
    with holder, pytest.raises(AlreadyRunningError), instance_lock.held(data):
        pass
    with holder:
        holder.kill()
    assert instance_lock.supervisor(data) is None
    with instance_lock.held(data):
        assert data.state.exists()


def test_down_of_what_never_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["down", "--data", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out.startswith("Nothing was ever started on")
    assert not (tmp_path / "none").exists()


def test_urls_in_the_environment_replace_the_embedded_servers(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:pw@db.example:5432/skerry?sslmode=require")
    monkeypatch.setenv("REDIS_URL", "rediss://cache.example/1")
    instance = Instance(Config(ports={"control": 1, "gateway": 2, "edge-1.http": 3}), data)
    assert programs.embedded_servers() == []
    assert programs.servers(instance) == []
    found = programs.settings(instance)
    assert (
        found["DATABASE_URL"]
        == "postgresql+psycopg://ann:pw@db.example:5432/skerry?sslmode=require"
    )
    assert found["REDIS_URL"] == "rediss://cache.example/1"


@pytest.mark.parametrize(
    "given", ["postgres://x/y", "postgresql://x/y", "postgresql+psycopg://x/y"]
)
def test_every_spelling_of_a_database_url_names_our_driver(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", given)
    assert programs.external_database() == "postgresql+psycopg://x/y"


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_an_empty_url_is_no_url(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv(name, "")
    assert programs.embedded_servers() == ["postgres", "valkey"]


def test_a_port_that_a_flag_demands_and_that_is_taken_stops_up_before_anything_starts(
    data: DataDirectory, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        assert cli.main(["up", "--port", str(free_port), "--data", str(data.path)]) == 1
    assert capsys.readouterr().err == (
        f"skerry: Port {free_port} (--port) is taken by another program: choose another one.\n"
    )
    assert not data.postgres.exists()
    assert config.load(data.config) == Config()
