"""One supervisor per data directory, and what a killed one left behind."""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from api.private_file import write_private
from edge.proc import Identity
from launcher import nodes, processes
from launcher.errors import AlreadyRunningError
from launcher.paths import VENV_PYTHON, DataDirectory


@contextmanager
def held(data: DataDirectory) -> Iterator[None]:
    """Hold the data directory's lock; AlreadyRunningError while another supervisor has it.

    The kernel releases the lock when its process ends, however it ends.
    """
    data.create()
    with data.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise already_running(data) from None
        yield


def already_running(data: DataDirectory) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"Skerry already runs on {data.path}: see ./skerry status, or stop it with ./skerry down."
    )


def supervisor(data: DataDirectory) -> Identity | None:
    """The process that runs this instance now."""
    return recorded(data.state)


def write_state(data: DataDirectory, state: str, **facts: str) -> None:
    """Tell `status`, `down` and `up --detach` who supervises, how far it is, and what only its environment knows."""
    own = processes.identify(os.getpid())
    content = {"state": state, **(asdict(own) if own is not None else {}), **facts}
    write_private(data.state, json.dumps(content))


def read_record(path: Path) -> dict[str, Any]:
    """A process record or the state file; {} when it is missing or half gone."""
    with suppress(FileNotFoundError, ValueError):
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    return {}


def recorded(path: Path) -> Identity | None:
    """The process that a record names, if it still runs."""
    record = read_record(path)
    try:
        process = Identity(pid=record["pid"], started=record["started"], boot=record["boot"])
    except KeyError:
        return None
    return process if processes.is_running(process) else None


def leftovers(data: DataDirectory) -> list[Identity]:
    """Processes of a supervisor that was killed. Call it with the lock held.

    Found by record (pid, start time, boot) plus the data directory in their arguments or environment, and by the
    mark in their environment; never by the name of a program, which another instance's processes share.
    """
    found = set(processes.of_instance(data.path))
    for path in data.records.glob("*.json"):
        process = recorded(path)
        if process is not None and processes.belongs_to(process.pid, data.path):
            found.add(process)
    return sorted(found, key=lambda process: process.started)


def end_leftovers(data: DataDirectory) -> int:
    """Stop what a killed supervisor left, nodes in their own way first; how many processes of ours there were.

    The state file is removed by a stop that ended well. While it is there, cells may run on without any of the
    processes that we know: they have neither mark nor record, only their node can name them.
    """
    found = leftovers(data)
    if found or data.state.exists():
        stop_nodes(data, seconds=nodes.STOP_SECONDS)
        processes.end(leftovers(data), grace_seconds=10.0)
    for path in (*data.records.glob("*.json"), data.state):
        path.unlink(missing_ok=True)
    return len(found)


def stop_nodes(data: DataDirectory, seconds: float) -> None:
    """End every node of the instance in parallel, cells drained; those that take too long are left to `end`."""
    if not VENV_PYTHON.exists():
        return
    running = [
        nodes.stop(data, directory)
        for directory in (data.path / "nodes").glob("*")
        if directory.is_dir()
    ]
    for process in running:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
