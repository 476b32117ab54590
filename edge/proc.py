"""Processes as the kernel tells of them (proc(5)): by pid *and* start time, so that a pid that was used again is never
mistaken for one of ours. Standard library only: the launcher uses it before anything is installed.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# Places in /proc/PID/stat after the command's closing bracket.
STATE, PARENT, START_TIME = 0, 1, 19


@dataclass(frozen=True)
class Identity:
    """A process that cannot be mistaken for another one that got its pid later."""

    pid: int
    started: int
    """Clock ticks after boot, from /proc/PID/stat."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Of a process that is there, if only to be reaped."""
        fields = stat(pid)
        return None if fields is None else cls(pid, int(fields[START_TIME]), boot_id())

    def alive(self) -> bool:
        """Whether this very process still runs."""
        fields = stat(self.pid)
        if fields is None or fields[STATE] in "ZX":
            return False
        return int(fields[START_TIME]) == self.started and boot_id() == self.boot


def boot_id() -> str:
    """Changes with every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stat(pid: int) -> list[str] | None:
    """The fields from the third on, or None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in brackets and may hold blanks and brackets itself.
    return text.rpartition(")")[2].split()


def strings(pid: int, file: str) -> list[str]:
    """What `cmdline` or `environ` holds, [] when the process is gone or another user's."""
    try:
        raw = Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="replace") for part in raw.split(b"\0") if part]


def environment(pid: int) -> dict[str, str]:
    """The variables that it was started with; none when it is gone or another user's."""
    return dict(pair.split("=", 1) for pair in strings(pid, "environ") if "=" in pair)


def marked(
    variable: str, wanted: Callable[[str], bool]
) -> Iterator[tuple[Identity, dict[str, str]]]:
    """Every living process in whose environment the variable has a wanted value, with that environment."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        variables = environment(int(entry))
        if variable not in variables or not wanted(variables[variable]):
            continue
        process = Identity.of(int(entry))
        if process is not None and process.alive():
            yield process, variables
