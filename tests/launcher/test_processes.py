"""Ours and not ours: pids are reused, programs share names."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from launcher import children, instance_lock, processes
from launcher.children import Child, Program
from launcher.errors import StartFailedError
from launcher.paths import DataDirectory
from tests.edge.nodes import until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(SLEEP) as process:
        yield process
        process.kill()


def record(data: DataDirectory, name: str, process: processes.Identity) -> None:
    children.record_path(data, name).write_text(json.dumps(dataclasses.asdict(process)))


def test_a_process_is_identified_until_it_ends(stranger: "subprocess.Popen[bytes]") -> None:
    process = processes.identify(stranger.pid)
    assert process is not None
    assert processes.is_running(process)
    assert processes.memory_bytes(process) > 0
    stranger.kill()
    os.waitid(os.P_PID, stranger.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert not processes.is_running(process)


def test_a_reused_pid_is_neither_ours_nor_signalled(stranger: "subprocess.Popen[bytes]") -> None:
    now = processes.identify(stranger.pid)
    assert now is not None
    earlier = dataclasses.replace(now, started=now.started - 1)
    assert not processes.is_running(earlier)
    assert not processes.send(earlier, signal.SIGKILL)
    assert stranger.poll() is None


def test_a_record_of_another_boot_names_nobody(
    data: DataDirectory, stranger: "subprocess.Popen[bytes]"
) -> None:
    now = processes.identify(stranger.pid)
    assert now is not None
    record(data, "postgres", dataclasses.replace(now, boot="another"))
    assert instance_lock.leftovers(data) == []


def test_a_record_that_names_a_stranger_is_not_believed(
    data: DataDirectory, stranger: "subprocess.Popen[bytes]"
) -> None:
    now = processes.identify(stranger.pid)
    assert now is not None
    record(data, "postgres", now)
    instance_lock.end_leftovers(data)
    assert stranger.poll() is None


def test_what_a_killed_supervisor_left_is_ended_and_nothing_else(
    data: DataDirectory, stranger: "subprocess.Popen[bytes]"
) -> None:
    child = Child(Program("sleeper", SLEEP), data)
    child.start()
    assert child.process is not None
    # A grandchild that nobody recorded, of the same program as the stranger.
    marked = subprocess.Popen(SLEEP, env=children.environment(data, {}))
    left = {process.pid for process in instance_lock.leftovers(data)}
    assert left == {child.process.pid, marked.pid}
    assert instance_lock.end_leftovers(data) == 2
    assert child.process.wait(5) == -signal.SIGTERM
    assert marked.wait(5) == -signal.SIGTERM
    assert stranger.poll() is None
    assert list(data.records.iterdir()) == []


def test_a_process_that_ignores_the_request_is_killed(data: DataDirectory) -> None:
    script = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        process = processes.identify(stubborn.pid)
        assert process is not None
        processes.end([process], grace_seconds=0.2)
        assert stubborn.wait(5) == -signal.SIGKILL


def test_a_child_that_ends_is_started_again_later_and_later(data: DataDirectory) -> None:
    child = Child(Program("failing", [sys.executable, "-c", "raise SystemExit(3)"]), data)
    child.start()
    lines: list[str] = []
    deadline = time.monotonic() + 10
    while len(lines) < 3 and time.monotonic() < deadline:
        line = child.tend()
        lines += [line] if line else []
        time.sleep(0.02)
    child.stop()
    assert [line.partition(": ")[2].partition(" (log")[0] for line in lines] == [
        "starting it again in 0.5 s", "starting it again in 1 s", "starting it again in 2 s",
    ]  # fmt: skip
    assert lines[0].startswith("failing ended with status 3")


def test_a_child_whose_record_cannot_be_written_is_not_started_twice(data: DataDirectory) -> None:
    """What a full disk does: the program runs, the file that names it does not come about."""
    child = Child(Program("sleeper", ["sh", "-c", "read line < /dev/zero"]), data)
    child.start()
    assert child.process is not None
    child.process.kill()
    child.process.wait()
    place = data.records.with_name("elsewhere")
    data.records.rename(place)
    lines = []
    until(lambda: lines.append(child.tend()) or child.restarts == 1, 10, "it is started again")
    assert "its record cannot be written yet" in str(lines[-1])
    started = child.process.pid
    place.rename(data.records)
    until(lambda: child.tend() or instance_lock.recorded(children.record_path(data, "sleeper")))
    assert child.process.pid == started
    child.stop()


def test_a_failed_start_shows_the_last_lines_of_the_log(data: DataDirectory) -> None:
    child = Child(
        Program("failing", ["sh", "-c", "echo no such table; exit 3"], ready=lambda: False), data
    )
    child.start()
    with pytest.raises(StartFailedError, match=r"(?s)failing ended with status 3.*no such table"):
        child.wait_ready()


def test_passwords_of_servers_reach_only_those_that_are_given_them(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    assert "DATABASE_URL" not in children.environment(data, {})
    assert children.environment(data, {"DATABASE_URL": "x"})["DATABASE_URL"] == "x"
