"""The node's figures for Prometheus; docs/observing.md lists the names.

They are of this agent: a restart begins at 0 again, which Prometheus expects of a counter.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edge.agent.cells.fleet import Fleet
from edge.agent.condition import condition
from edge.agent.records.recorder import Recorder
from edge.agent.records.totals import BOUNDS, ScriptTotals
from edge.agent.sealing import write_private
from edge.agent.state import State
from edge.paths import NodePaths

TOKEN_FILE = "metrics.token"  # noqa: S105 - a file's name
CA_FILE = "metrics-ca.pem"


def token(push_key: str) -> str:
    """What opens the figures and nothing else: made of the push key, which opens everything."""
    return hmac.new(push_key.encode(), b"skerry metrics", hashlib.sha256).hexdigest()


def write_access(root: Path, push_key: str, ca: str) -> None:
    """What a Prometheus on this machine is told to read: the token, and whom to trust."""
    write_private(root / TOKEN_FILE, token(push_key).encode())
    write_private(root / CA_FILE, ca.encode())


@dataclass(frozen=True, eq=False)  # a registry keeps collectors by identity
class Figures(Collector):
    """Everything is read when it is asked for."""

    paths: NodePaths
    state: State
    fleet: Fleet
    recorder: Recorder
    about: Mapping[str, str]

    def text(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        names = {slot.script_id: slot.desired.name for slot in self.state.slots()}
        yield InfoMetricFamily("skerry_edge", "What runs here.", value=dict(self.about))
        # Withdrawn scripts keep their slot until the node has said so; then nobody asks for them.
        self.recorder.totals.keep(set(names))
        found = [
            (names[script_id], sums) for script_id, sums in self.recorder.totals.scripts.items()
        ]
        yield from _requests(found)
        yield from self._processes(names)
        yield from self._records()
        yield from self._condition()

    def _processes(self, names: Mapping[str, str]) -> Iterator[Metric]:
        cells = GaugeMetricFamily(
            "skerry_edge_cells", "Cells by script and state.", labels=["script", "state"]
        )
        counted = Counter(
            (names.get(cell.record.script_id, ""), str(cell.describe()["state"]))
            for cell in self.fleet.all()
        )
        for key, count in sorted(counted.items()):
            cells.add_metric(key, count)
        yield cells
        cpu = CounterMetricFamily(
            "skerry_edge_cpu_seconds", "CPU of a script's processes.", labels=["script"]
        )
        memory = GaugeMetricFamily(
            "skerry_edge_memory_bytes", "Memory of a script's processes now.", labels=["script"]
        )
        for script_id, used in self.recorder.meters.used.items():
            if name := names.get(script_id):
                cpu.add_metric([name], used.cpu_ms / 1000)
                memory.add_metric([name], used.memory_bytes)
        yield cpu
        yield memory
        slots = GaugeMetricFamily("skerry_edge_scripts", "Scripts by state.", labels=["state"])
        scripts = (slot for slot in self.state.slots() if not slot.desired.companion)
        for state, count in Counter(slot.state.value for slot in scripts).items():
            slots.add_metric([state], count)
        yield slots

    def _records(self) -> Iterator[Metric]:
        lost = CounterMetricFamily(
            "skerry_edge_records_lost", "Request records lost.", labels=["reason"]
        )
        for reason, count in self.recorder.total_lost.items():
            lost.add_metric([reason], count)
        yield lost
        yield GaugeMetricFamily(
            "skerry_edge_spool_bytes",
            "Request records on the disk that the control plane has not taken.",
            value=self.recorder.spooled_bytes,
        )
        yield GaugeMetricFamily(
            "skerry_edge_generation", "Desired state that is known.", value=self.state.watermark()
        )

    def _condition(self) -> Iterator[Metric]:
        found = condition(self.paths)
        for name in ("disk_total_bytes", "disk_free_bytes"):
            yield GaugeMetricFamily(
                f"skerry_edge_{name}",
                "Of the disk that holds NODE_DIR.",
                value=_number(found[name]),
            )
        ends = GaugeMetricFamily(
            "skerry_edge_certificate_end_timestamp_seconds",
            "When a certificate ends.",
            labels=["certificate"],
        )
        for one in _certificates(found):
            ends.add_metric([one["name"]], datetime.fromisoformat(one["ends_at"]).timestamp())
        yield ends


def _requests(found: Iterable[tuple[str, ScriptTotals]]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "skerry_edge_requests", "Requests by outcome.", labels=["script", "outcome"]
    )
    duration = HistogramMetricFamily(
        "skerry_edge_request_duration_seconds", "At the front.", labels=["script"]
    )
    cold = CounterMetricFamily(
        "skerry_edge_cold_starts", "Requests that waited for a start.", labels=["script"]
    )
    came = CounterMetricFamily(
        "skerry_edge_request_bytes", "Received, with headers.", labels=["script"]
    )
    went = CounterMetricFamily(
        "skerry_edge_response_bytes", "Sent, with headers.", labels=["script"]
    )
    for name, sums in found:
        for outcome, count in sorted(sums.outcomes.items()):
            requests.add_metric([name, outcome], count)
        duration.add_metric([name], _cumulated(sums.buckets), sums.seconds)
        cold.add_metric([name], sums.cold)
        came.add_metric([name], sums.bytes_in)
        went.add_metric([name], sums.bytes_out)
    yield from (requests, duration, cold, came, went)


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    """Each as large as all before it and itself, as the format wants it."""
    ends = [*(str(bound) for bound in BOUNDS), "+Inf"]
    return [(end, float(sum(buckets[: place + 1]))) for place, end in enumerate(ends)]


def _number(value: object) -> float:
    return float(str(value))


def _certificates(found: Mapping[str, object]) -> list[dict[str, str]]:
    certificates = found["certificates"]
    return certificates if isinstance(certificates, list) else []
