"""The processes of an instance: found, looked at, ended."""

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from edge.proc import PARENT, Identity, marked, stat, strings

# Every process of an instance inherits this variable with the path of the data directory as its value.
# Celery's children and other grandchildren have no other trace of the instance they belong to.
MARK = "SKERRY_INSTANCE"

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def identify(pid: int) -> Identity | None:
    """The identity of a running process; None for one that is gone or only waits to be reaped."""
    found = Identity.of(pid)
    return found if found is not None and found.alive() else None


def is_running(process: Identity) -> bool:
    """Whether this very process still runs."""
    return process.alive()


def age_seconds(process: Identity) -> float:
    """Seconds since the process started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / _TICKS_PER_SECOND


def memory_bytes(process: Identity) -> int:
    """Resident memory, shared pages included; 0 for a process that is gone."""
    try:
        resident = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(resident) * _PAGE_BYTES


def command_line(pid: int) -> list[str]:
    """The arguments of a process, [] when it is gone or another user's."""
    return strings(pid, "cmdline")


def belongs_to(pid: int, data: Path) -> bool:
    """Whether a process was started for this data directory: by its mark, or by a path in its arguments."""
    if f"{MARK}={data}" in strings(pid, "environ"):
        return True
    inside = f"{data}{os.sep}"
    return any(word == str(data) or inside in word for word in command_line(pid))


def of_instance(data: Path) -> list[Identity]:
    """Every running process that carries the mark of this data directory, without the caller and its parents."""
    own = _ancestors(os.getpid())
    return [
        process
        for process, _ in marked(MARK, lambda value: value == str(data))
        if process.pid not in own
    ]


def _ancestors(pid: int) -> set[int]:
    family = set()
    while pid > 0:
        family.add(pid)
        fields = stat(pid)
        pid = int(fields[PARENT]) if fields is not None else 0
    return family


def send(process: Identity, signal_number: signal.Signals) -> bool:
    """Signal exactly this process, never a successor with its number; False when it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # Looked at after the pidfd was taken: from here on the number cannot pass to another process.
        if not is_running(process):
            return False
        signal.pidfd_send_signal(descriptor, signal_number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def end(processes: Iterable[Identity], grace_seconds: float = 5.0) -> None:
    """Ask every process to stop, wait, and kill those that did not."""
    waiting = [process for process in processes if send(process, signal.SIGTERM)]
    if not wait_gone(waiting, grace_seconds):
        for process in waiting:
            send(process, signal.SIGKILL)
        wait_gone(waiting, grace_seconds)


def kill(process: Identity, seconds: float = 20.0) -> tuple[float, float] | None:
    """kill -9; from when until when (`time.monotonic`) it took to die, None when it was gone before or is
    there still."""
    began = time.monotonic()
    if not send(process, signal.SIGKILL) or not wait_gone([process], seconds):
        return None
    return began, time.monotonic()


def descriptors(process: Identity) -> int:
    """Open descriptors; 0 for a process that is gone."""
    try:
        return len(os.listdir(f"/proc/{process.pid}/fd"))
    except OSError:
        return 0


def wait_gone(processes: Iterable[Identity], seconds: float) -> bool:
    """Wait until none of the processes runs; False when some still do after the time."""
    left = list(processes)
    deadline = time.monotonic() + seconds
    while left := [process for process in left if is_running(process)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
