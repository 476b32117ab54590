"""What the processes of a node take: proportional memory and CPU, from /proc."""

import json
import os
import time
from pathlib import Path

from edge import proc
from launcher.paths import DataDirectory

IDLE_SECONDS = 3.0
MEGABYTE = 1_000_000


def cell_memory(data: DataDirectory) -> tuple[float, float]:
    """Mean PSS of a cell in MB, and the CPU of all idle cells together in percent of one core."""
    cells = running_cells(data)
    pss = sum(_pss(pid) for pid in cells) / max(1, len(cells)) / MEGABYTE
    before = _cpu_seconds(cells)
    time.sleep(IDLE_SECONDS)
    return pss, (_cpu_seconds(cells) - before) / IDLE_SECONDS * 100


def running_cells(data: DataDirectory) -> list[int]:
    """Pids of the cells of all nodes of an instance."""
    cells = [pid for pid, role in _roles(data) if role.startswith("cell:")]
    return [pid for pid in cells if _name(pid) == "workerd"]  # not the sandbox around it


def keepers_memory(data: DataDirectory) -> float:
    """PSS in MB of what remembers the scripts of a node while they rest: agent, keeper and front."""
    lasting = [pid for pid, role in _roles(data) if role == "keeper" or role.startswith("front")]
    return sum(_pss(pid) for pid in [*lasting, *_agents(data)]) / MEGABYTE


def _roles(data: DataDirectory) -> list[tuple[int, str]]:
    folder = f"{data.path / 'nodes'}/"
    found = proc.marked("SKERRY_NODE", lambda value: value.startswith(folder))
    return [(one.pid, marks.get("SKERRY_ROLE", "")) for one, marks in found]


def _agents(data: DataDirectory) -> list[int]:
    """Each has the lock of its node, with its pid in it."""
    locks = (data.path / "nodes").glob("*/agent.lock")
    return [int(json.loads(lock.read_text())["pid"]) for lock in locks]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _pss(pid: int) -> int:
    """Bytes: private pages, and each shared one divided by the number of its users (proc(5))."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _cpu_seconds(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
