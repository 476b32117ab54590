"""Whether a process grows: memory and descriptors over time, of the run of it that lasted longest."""

import time
from collections import defaultdict
from dataclasses import dataclass, field

from edge.proc import Identity
from launcher import instance_lock, processes
from launcher.programs import Instance
from launcher.soak import killing

# A slope of a few samples says nothing.
SAMPLES_MIN = 5
# What a process takes to get going is no growth.
WARM_UP_SECONDS = 10.0


@dataclass
class Series:
    """Samples of one process: seconds, bytes, descriptors."""

    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    descriptors: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Growth:
    """Of one process, per minute."""

    name: str
    seconds: float
    memory_bytes: float
    """At the end."""
    descriptors: float
    memory_slope: float
    descriptors_slope: float


class Watch:
    def __init__(self, instance: Instance, node: str) -> None:
        self._instance = instance
        self._node = node
        self._series: dict[tuple[str, Identity], Series] = defaultdict(Series)
        self._seen: dict[Identity, float] = {}

    def sample(self) -> None:
        moment = time.monotonic()
        for name, process in self._processes():
            memory = processes.memory_bytes(process)
            if memory:
                series = self._series[name, process]
                self._seen.setdefault(process, moment)
                if moment - self._seen[process] < WARM_UP_SECONDS:
                    continue
                series.seconds.append(moment)
                series.memory.append(memory)
                series.descriptors.append(processes.descriptors(process))

    def _processes(self) -> list[tuple[str, Identity]]:
        found = [
            (path.stem, process)
            for path in self._instance.data.records.glob("*.json")
            if (process := instance_lock.recorded(path))
        ]
        # Cells come and go with every deploy; they have limits of their own.
        found += [
            (f"{self._node} {label(role)}", process)
            for role, process in killing.of_node(self._instance, self._node)
            if not role.startswith(("cell", "sandbox"))
        ]
        return found

    def growth(self) -> list[Growth]:
        """One line a name."""
        longest: dict[str, Series] = {}
        for (name, _), series in self._series.items():
            before = longest.get(name)
            if before is None or len(series.seconds) > len(before.seconds):
                longest[name] = series
        return [
            _growth(name, series)
            for name, series in sorted(longest.items())
            if len(series.seconds) >= SAMPLES_MIN
        ]


def label(role: str) -> str:
    """`front:3e2e…` is the front, `egress:5644…:0` the first egress, `store:kv-b5e1…` a KV store."""
    kind, *rest = role.split(":")
    if kind == "store" and rest:
        return f"store {rest[0].partition('-')[0]}"
    return f"egress {rest[-1]}" if kind == "egress" and rest else kind


def _growth(name: str, series: Series) -> Growth:
    return Growth(
        name,
        series.seconds[-1] - series.seconds[0],
        series.memory[-1],
        series.descriptors[-1],
        slope(series.seconds, series.memory) * 60,
        slope(series.seconds, series.descriptors) * 60,
    )


def slope(places: list[float], values: list[float]) -> float:
    """Of the straight line that fits best; 0 when there is only one place."""
    middle, mean = sum(places) / len(places), sum(values) / len(values)
    spread = sum((place - middle) ** 2 for place in places)
    if spread == 0:
        return 0.0
    return sum((x - middle) * (y - mean) for x, y in zip(places, values, strict=True)) / spread
