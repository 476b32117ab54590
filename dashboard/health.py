"""How Skerry's parts are, in words: what was found, what it means, what to do."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from api import health
from api.clock import now
from api.nodes.models import Node
from api.settings import settings
from dashboard import nodes as node_words

# Beat and a worker each may be late by one interval; the third is a finding.
INTERVALS_UNTIL_LATE = 3
PROBLEMS = {"failed", "alert"}


@dataclass(frozen=True)
class Part:
    """One part with its state; `advice` is empty while there is nothing to do."""

    name: str
    kind: str
    word: str
    meaning: str
    advice: str = ""
    seen: str = ""
    """What `seen_at` is the time of."""
    seen_at: datetime | None = None
    href: str | None = None

    @property
    def problem(self) -> bool:
        return self.kind in PROBLEMS


def database() -> Part:
    if health.database_problem() is None:
        return Part("Postgres", "live", "Answers", "Holds Workers, versions and deployments.")
    return Part(
        "Postgres",
        "failed",
        "Does not answer",
        "Nothing can be looked at or deployed, here or with wrangler. Workers go on answering.",
        "Start it, or look at its log. The control plane connects again by itself.",
    )


def parts(nodes: list[Node]) -> list[Part]:
    """Everything but Postgres, which the nodes were read from."""
    return [*_background(health.broker()), *_nodes(nodes)]


def _background(broker: health.Broker | None) -> list[Part]:
    if broker is None:
        unknown = "It is asked by way of Valkey, which does not answer."
        return [
            Part(
                "Valkey",
                "failed",
                "Does not answer",
                "Deployments are stored and reach the nodes later: by the nodes' own questions.",
                "Start it, or look at its log. Nothing is lost: what waits stands in Postgres.",
            ),
            Part("Celery worker", "idle", "Unknown", unknown),
            Part("Sweep", "idle", "Unknown", unknown),
        ]
    return [_valkey(broker), _worker(), _sweep(broker.swept_at)]


def _valkey(broker: health.Broker) -> Part:
    waiting = {0: "No task waits.", 1: "One task waits."}.get(
        broker.waiting, f"{broker.waiting:,} tasks wait."
    )
    return Part("Valkey", "live", "Answers", f"Hands tasks to the worker. {waiting}")


def _worker() -> Part:
    if health.worker_answers():
        return Part("Celery worker", "live", "Answers", "Pushes deployments to the nodes.")
    return Part(
        "Celery worker",
        "failed",
        "None answers",
        "Deployments are not pushed. Nodes still ask for them by themselves, which takes longer.",
        "Start a worker, or look at its log. It takes up what waits.",
    )


def _sweep(swept_at: datetime | None) -> Part:
    every = settings().sweep_every_seconds
    usual = f"Takes up what was lost on the way, every {every:g} s."
    if swept_at is not None and now() - swept_at <= timedelta(seconds=INTERVALS_UNTIL_LATE * every):
        return Part("Sweep", "live", "On time", usual, seen="Last ran", seen_at=swept_at)
    lost = "A push that was lost on the way is not repeated."
    advice = "Celery beat sends it and a worker runs it. If a worker answers, start beat or look at its log."
    if swept_at is None:
        return Part("Sweep", "alert", "Has not run yet", lost, advice)
    return Part("Sweep", "failed", "Late", lost, advice, seen="Last ran", seen_at=swept_at)


def _nodes(nodes: list[Node]) -> list[Part]:
    if not nodes:
        return [
            Part(
                "Nodes",
                "alert",
                "None has joined",
                "No Worker can answer. Deployments are stored and wait.",
                "Let a node join.",
                href="/nodes",
            )
        ]
    return [_node(node) for node in nodes]


def _node(node: Node) -> Part:
    line = node_words.line(node)
    return Part(
        f"Node {node.name}",
        line.kind,
        line.word,
        "It may still serve its Workers; changes wait until it reports."
        if line.away
        else "Serves every Worker from its own disk.",
        "Its page says what to look at." if line.away else "",
        seen="Last sync",
        seen_at=node.seen_at,
        href=f"/nodes/{node.id}",
    )
