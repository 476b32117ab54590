"""What the processes of scripts use: their CPU is the script's own, as a cell is one version."""

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.proc import Identity
from edge.runtime.idle import anonymous_bytes

SAMPLE_SECONDS = 5.0
_TICKS_MS = 1000 / os.sysconf("SC_CLK_TCK")

Measure = list[object]


@dataclass
class Used:
    cpu_ms: float = 0.0
    memory_bytes: int = 0


class Meters:
    """CPU is counted as differences, so that a restart of the agent counts nothing twice."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._seen: dict[Identity, float] = {}
        self._sampled = 0.0
        self.used: dict[str, Used] = defaultdict(Used)
        """By script id: CPU since the agent started, memory at the last sample."""

    def due(self) -> bool:
        return time.monotonic() - self._sampled >= SAMPLE_SECONDS

    def sample(self) -> list[Measure]:
        """[at_us, script_id, version_id, cpu_ms, memory_bytes] of each version with a process since
        the last sample; memory is that of all its processes now."""
        first = self._sampled == 0.0
        self._sampled = time.monotonic()
        sums: dict[tuple[str, str], Used] = defaultdict(Used)
        seen: dict[Identity, float] = {}
        for cell in self._fleet.running():
            used = _used(cell)
            if used is None or cell.process is None:
                continue
            identity = cell.process.identity
            seen[identity] = used[0]
            found = sums[cell.record.script_id, cell.record.version_id]
            # One that lived before this agent did was counted by the agent before it.
            found.cpu_ms += used[0] - self._seen.get(identity, used[0] if first else 0.0)
            found.memory_bytes += used[1]
        self._seen = seen
        self._add_up(sums)
        now = time.time_ns() // 1000
        return [
            [now, *key, round(one.cpu_ms), one.memory_bytes] for key, one in sorted(sums.items())
        ]

    def _add_up(self, sums: Mapping[tuple[str, str], Used]) -> None:
        for used in self.used.values():
            used.memory_bytes = 0
        for (script_id, _), one in sums.items():
            self.used[script_id].cpu_ms += one.cpu_ms
            self.used[script_id].memory_bytes += one.memory_bytes


def _used(cell: Cell) -> tuple[float, int] | None:
    """CPU milliseconds and memory of its own, of the cell's process; None when it is gone."""
    if cell.process is None:
        return None
    folder = Path(f"/proc/{cell.process.metered}")
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        memory = anonymous_bytes((folder / "statm").read_bytes())
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) * _TICKS_MS, memory
