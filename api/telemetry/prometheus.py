"""The control plane's figures for Prometheus; docs/observing.md lists the names.

Requests come from `totals`, which only grow, so that it does not matter which process is asked, or
whether it was started again.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api import health
from api.accounts.models import Account
from api.alerts.models import Alert, Rule
from api.deployments.models import Rollout, RolloutState
from api.invocations.histogram import FIRST_END_US, GROWTH, LAST_BUCKET
from api.invocations.models import losses, totals
from api.nodes import service as nodes
from api.nodes.models import Node
from api.scripts import service as scripts
from api.telemetry.models import TelemetryBatch, telemetry_counts

# Every fourth bucket: each ends 2.44 times later than the one before, from 0.24 ms to a minute.
_ENDS = range(4, 62, 4)


class Figures(Collector):
    """What an account may see: its scripts, and the installation that runs them."""

    def __init__(self, session: Session, account: Account, broker: health.Broker | None) -> None:
        self._session = session
        self._account = account
        self._broker = broker

    def text(self) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        nodes_found = nodes.list_nodes(self._session)
        yield from self._requests({node.id: node.name for node in nodes_found})
        yield from _nodes(nodes_found)
        yield from self._losses({node.id: node.name for node in nodes_found})
        yield from self._work()
        yield from self._telemetry()

    def _requests(self, node_names: dict[str, str]) -> Iterator[Metric]:
        owned = scripts.owned_by(self._account.id).subquery()
        requests = CounterMetricFamily(
            "skerry_requests", "Requests by outcome.", labels=["script", "node", "outcome"]
        )
        cold = CounterMetricFamily(
            "skerry_cold_starts", "Requests that waited for a start.", labels=["script"]
        )
        came = CounterMetricFamily(
            "skerry_request_bytes", "Received, with headers.", labels=["script"]
        )
        went = CounterMetricFamily(
            "skerry_response_bytes", "Sent, with headers.", labels=["script"]
        )
        of = totals.c
        query = select(
            owned.c.name,
            of.node_id,
            of.outcome,
            func.sum(of.requests).label("requests"),
            func.sum(of.cold).label("cold"),
            func.sum(of.bytes_in).label("bytes_in"),
            func.sum(of.bytes_out).label("bytes_out"),
        ).join(owned, owned.c.id == of.script_id)
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for row in self._session.execute(query.group_by(owned.c.name, of.node_id, of.outcome)):
            node = node_names.get(row.node_id, row.node_id)
            requests.add_metric([row.name, node, row.outcome], float(row.requests))
            for place, value in enumerate((row.cold, row.bytes_in, row.bytes_out)):
                sums[row.name][place] += int(value)
        for name, values in sums.items():
            for family, value in zip((cold, came, went), values, strict=True):
                family.add_metric([name], value)
        yield from (requests, cold, came, went, self._durations())

    def _durations(self) -> Metric:
        owned = scripts.owned_by(self._account.id).subquery()
        of = totals.c
        query = (
            select(
                owned.c.name,
                of.bucket,
                func.sum(of.requests).label("requests"),
                func.sum(of.duration_us).label("duration_us"),
            )
            .join(owned, owned.c.id == of.script_id)
            .group_by(owned.c.name, of.bucket)
        )
        counts: dict[str, dict[int, int]] = defaultdict(dict)
        seconds: dict[str, float] = defaultdict(float)
        for row in self._session.execute(query):
            counts[row.name][row.bucket] = int(row.requests)
            seconds[row.name] += int(row.duration_us) / 1e6
        family = HistogramMetricFamily(
            "skerry_request_duration_seconds", "At the front.", labels=["script"]
        )
        for name, found in counts.items():
            family.add_metric([name], _cumulated(found), seconds[name])
        return family

    def _losses(self, node_names: dict[str, str]) -> Iterator[Metric]:
        lost = CounterMetricFamily(
            "skerry_records_lost", "Request records lost on the way.", labels=["node", "reason"]
        )
        for row in self._session.execute(select(losses)):
            lost.add_metric([node_names.get(row.node_id, row.node_id), row.reason], row.records)
        yield lost

    def _work(self) -> Iterator[Metric]:
        """What waits, and what is wrong."""
        waiting = GaugeMetricFamily("skerry_rollouts", "On their way.", labels=["state"])
        for state in (RolloutState.QUEUED, RolloutState.SENT):
            count = self._session.scalar(
                select(func.count()).select_from(Rollout).where(Rollout.state == state)
            )
            waiting.add_metric([state.value], count or 0)
        yield waiting
        firing = GaugeMetricFamily("skerry_alerts_firing", "By kind of rule.", labels=["kind"])
        query = (
            select(Rule.kind, func.count(Alert.id))
            .join(Alert, (Alert.rule_id == Rule.id) & Alert.resolved_at.is_(None), isouter=True)
            .where(Rule.account_id == self._account.id)
            .group_by(Rule.kind)
        )
        for kind, count in self._session.execute(query):
            firing.add_metric([kind], count)
        yield firing
        yield GaugeMetricFamily(
            "skerry_broker_up", "Whether Valkey answers.", value=float(self._broker is not None)
        )
        if self._broker is None:
            return
        yield GaugeMetricFamily(
            "skerry_tasks_waiting", "That no worker has taken.", value=self._broker.waiting
        )
        if self._broker.swept_at:
            yield GaugeMetricFamily(
                "skerry_swept_timestamp_seconds",
                "When the sweep ran last.",
                value=self._broker.swept_at.timestamp(),
            )

    def _telemetry(self) -> Iterator[Metric]:
        sent = CounterMetricFamily(
            "skerry_otlp_records", "Spans and log records.", labels=["signal", "outcome"]
        )
        for row in self._session.execute(select(telemetry_counts)):
            sent.add_metric([row.signal, row.outcome], row.records)
        yield sent
        waiting = self._session.scalar(select(func.coalesce(func.sum(TelemetryBatch.records), 0)))
        yield GaugeMetricFamily(
            "skerry_otlp_waiting", "Records that the collector has not got yet.", value=waiting or 0
        )


def _nodes(found: list[Node]) -> Iterator[Metric]:
    up = GaugeMetricFamily("skerry_node_up", "1: it reports; 0: it is away.", labels=["node"])
    seen = GaugeMetricFamily(
        "skerry_node_seen_timestamp_seconds", "When it reported last.", labels=["node"]
    )
    behind = GaugeMetricFamily(
        "skerry_node_generations_behind", "Changes it has not made yet.", labels=["node"]
    )
    total = GaugeMetricFamily("skerry_node_disk_total_bytes", "Of its disk.", labels=["node"])
    free = GaugeMetricFamily("skerry_node_disk_free_bytes", "Of its disk.", labels=["node"])
    ends = GaugeMetricFamily(
        "skerry_certificate_end_timestamp_seconds",
        "When a certificate ends.",
        labels=["node", "certificate"],
    )
    for node in found:
        up.add_metric([node.name], float(not node.away))
        seen.add_metric([node.name], (node.seen_at or node.created_at).timestamp())
        behind.add_metric([node.name], node.generation - node.reported_generation)
        if node.condition:
            total.add_metric([node.name], node.condition["disk_total_bytes"])
            free.add_metric([node.name], node.condition["disk_free_bytes"])
        for one in node.condition.get("certificates", []):
            moment = datetime.fromisoformat(one["ends_at"]).timestamp()
            ends.add_metric([node.name, one["name"]], moment)
    yield from (up, seen, behind, total, free, ends)


def _cumulated(counts: dict[int, int]) -> list[tuple[str, float]]:
    """Each as large as all before it and itself, as the format wants it; the ends are exact."""

    def below(end: int) -> float:
        return float(sum(count for bucket, count in counts.items() if bucket <= end))

    found = [(f"{FIRST_END_US * GROWTH**end / 1e6:.6g}", below(end)) for end in _ENDS]
    return [*found, ("+Inf", below(LAST_BUCKET))]
