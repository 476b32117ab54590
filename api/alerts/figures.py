"""What the rules look at: the figure of each subject now."""

import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.alerts.models import QueueBacklog, Rule
from api.clock import now
from api.deployments.models import Rollout, RolloutState
from api.invocations.metrics import Sums
from api.invocations.models import rollups
from api.nodes import service as nodes
from api.nodes.models import CertificateAuthority
from api.queues.models import Queue
from api.scripts import service as scripts
from api.scripts.models import Script
from api.settings import settings
from api.zones import certificates

# One failed request of two is no error rate of 50 %.
REQUESTS_MIN = 10
CONTROL_PLANE = "control plane"
# Certificates that a node shows for itself: to the control plane, and to visitors where no other fits.
OF_THE_NODE = ("agent", "front")


@dataclass(frozen=True)
class Figure:
    """Of one subject: an id that stays, its name, the value, and a sentence."""

    subject: str
    name: str
    value: float
    sentence: str
    breached: bool


def of_rule(session: Session, rule: Rule) -> list[Figure]:
    """The figures of everything that the rule watches."""
    return _FIGURES[rule.kind](session, rule)


def _error_rate(session: Session, rule: Rule) -> list[Figure]:
    return [
        Figure(
            script.id,
            script.name,
            sums.error_percent,
            f"{sums.errors:,} of {sums.requests:,} requests of {script.name} failed"
            f" ({sums.error_percent:.1f} %) within {rule.window_minutes} min.",
            sums.error_percent >= rule.threshold,
        )
        for script, sums in _recent(session, rule)
    ]


def _p95(session: Session, rule: Rule) -> list[Figure]:
    found = []
    for script, sums in _recent(session, rule):
        value = sums.quantile_ms(0.95) or 0.0
        sentence = f"95 % of the requests of {script.name} took up to {value:,.0f} ms within {rule.window_minutes} min."
        found.append(Figure(script.id, script.name, value, sentence, value > rule.threshold))
    return found


def _recent(session: Session, rule: Rule) -> list[tuple[Script, Sums]]:
    """Sums of the rule's minutes, of each of its scripts that had enough visitors."""
    query = scripts.owned_by(rule.account_id)
    if rule.script_id:
        query = query.where(Script.id == rule.script_id)
    wanted = {script.id: script for script in session.scalars(query)}
    began = now() - timedelta(minutes=rule.window_minutes)
    of = rollups.c
    rows = session.execute(
        select(of.script_id, of.outcome, of.bucket, func.sum(of.requests).label("requests"))
        .where(of.minute >= began, of.script_id.in_(wanted))
        .group_by(of.script_id, of.outcome, of.bucket)
    )
    sums: dict[str, Sums] = defaultdict(Sums)
    for row in rows:
        sums[row.script_id].outcomes[row.outcome] += int(row.requests)
        sums[row.script_id].buckets[row.bucket] += int(row.requests)
    return [(wanted[one], found) for one, found in sums.items() if found.requests >= REQUESTS_MIN]


def _node_silent(session: Session, rule: Rule) -> list[Figure]:
    return [
        Figure(node.id, node.name, minutes, sentence, minutes >= rule.threshold)
        for node in nodes.list_nodes(session)
        for minutes in [_minutes_since(node.seen_at or node.created_at)]
        for sentence in [f"The node {node.name} has not reported for {minutes:,.1f} min."]
    ]


def _rollout_stuck(session: Session, rule: Rule) -> list[Figure]:
    """By node: one that is away has all its rollouts wait."""
    waiting = (
        select(Rollout.target_id, func.min(Rollout.created_at), func.count())
        .join(Script, Script.id == Rollout.script_id)
        .where(
            Rollout.state.in_((RolloutState.QUEUED, RolloutState.SENT)),
            Script.account_id == rule.account_id,
        )
        .group_by(Rollout.target_id)
    )
    names = {node.id: node.name for node in nodes.list_nodes(session)}
    found = []
    for target_id, oldest, count in session.execute(waiting):
        minutes, name = _minutes_since(oldest), names.get(target_id, target_id)
        sentence = f"{count:,} changes wait for {name}, the oldest for {minutes:,.1f} min."
        found.append(Figure(target_id, name, minutes, sentence, minutes >= rule.threshold))
    return found


def _certificate(session: Session, rule: Rule) -> list[Figure]:
    ends = [
        (f"{node.id}/{one['name']}", f"{node.name}, {one['name']}", one["ends_at"])
        for node in nodes.list_nodes(session)
        for one in node.condition.get("certificates", [])
        # A node has those of all zones, too; an account watches its own.
        if one["name"] in OF_THE_NODE
    ]
    if authority := session.scalar(select(CertificateAuthority).limit(1)):
        read = x509.load_pem_x509_certificate(authority.certificate.encode())
        ends.append(("authority", "authority of the nodes", read.not_valid_after_utc.isoformat()))
    own = certificates.of_account(session, rule.account_id)
    shown = certificates.shown(own)
    # One whose names a newer one has may end.
    ends += [
        (f"zone/{one.id}", shown[one.id][0], one.not_after.isoformat())
        for one in own
        if shown[one.id]
    ]
    found = []
    for subject, name, ends_at in ends:
        moment = datetime.fromisoformat(ends_at)
        days = (moment - now()).total_seconds() / 86_400
        sentence = f"The certificate {name} ends on {moment:%Y-%m-%d}, in {days:,.1f} days."
        found.append(Figure(subject, name, days, sentence, days <= rule.threshold))
    return found


def _disk(session: Session, rule: Rule) -> list[Figure]:
    disks = [
        (node.id, node.name, node.condition["disk_total_bytes"], node.condition["disk_free_bytes"])
        for node in nodes.list_nodes(session)
        if node.condition.get("disk_total_bytes")
    ]
    own = shutil.disk_usage(settings().master_key_file.resolve().parent)
    disks.append(("control", CONTROL_PLANE, own.total, own.free))
    found = []
    for subject, name, total, free in disks:
        percent = 100 * (1 - free / total)
        sentence = f"The disk of {name} is {percent:.0f} % full: {free / 1e9:,.1f} GB are free."
        found.append(Figure(subject, name, percent, sentence, percent >= rule.threshold))
    return found


def _queue_backlog(session: Session, rule: Rule) -> list[Figure]:
    return [
        Figure(
            queue.id,
            queue.name,
            backlog.messages,
            f"{backlog.messages:,} messages wait in the queue {queue.name}, {backlog.bytes / 1e6:,.1f} MB.",
            backlog.messages >= rule.threshold,
        )
        for queue, backlog in _backlogs(session, rule)
    ]


def _queue_age(session: Session, rule: Rule) -> list[Figure]:
    found = []
    for queue, backlog in _backlogs(session, rule):
        minutes = _minutes_since(backlog.oldest_at) if backlog.oldest_at else 0.0
        sentence = (
            f"The oldest message in the queue {queue.name} was sent {minutes:,.1f} min ago;"
            f" {backlog.messages:,} wait."
        )
        found.append(Figure(queue.id, queue.name, minutes, sentence, minutes > rule.threshold))
    return found


def _backlogs(session: Session, rule: Rule) -> list[tuple[Queue, QueueBacklog]]:
    """Of each queue that the rule is about, as its store last said."""
    query = (
        select(Queue, QueueBacklog)
        .join(QueueBacklog, QueueBacklog.queue_id == Queue.id)
        .where(Queue.account_id == rule.account_id)
    )
    if rule.queue_id:
        query = query.where(Queue.id == rule.queue_id)
    return [(queue, backlog) for queue, backlog in session.execute(query)]


def _minutes_since(moment: datetime) -> float:
    return (now() - moment).total_seconds() / 60


_FIGURES: dict[str, Callable[[Session, Rule], list[Figure]]] = {
    "error_rate": _error_rate,
    "p95": _p95,
    "node_silent": _node_silent,
    "rollout_stuck": _rollout_stuck,
    "certificate": _certificate,
    "disk": _disk,
    "queue_backlog": _queue_backlog,
    "queue_age": _queue_age,
}
