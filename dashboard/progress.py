"""How far a deployment has come on the nodes, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from api.clock import now
from api.deployments.models import Deployment, Rollout, RolloutState
from api.nodes.models import Node

# A node that is there answers within a second or two; one that is away may take hours.
POLL_SECONDS, POLL_SLOWLY_SECONDS = 1, 5
SLOW_AFTER = timedelta(seconds=30)

# Rollout state → kind of status (its colour and icon) and word.
_WORDS = {
    RolloutState.QUEUED: ("moving", "Waiting"),
    RolloutState.SENT: ("moving", "Starting"),
    RolloutState.ACKNOWLEDGED: ("live", "Live"),
    RolloutState.FAILED: ("failed", "Failed"),
    RolloutState.SUPERSEDED: ("idle", "Replaced"),
}


@dataclass(frozen=True)
class NodeProgress:
    """One node's line."""

    name: str
    kind: str
    word: str
    reason: str


@dataclass(frozen=True)
class Progress:
    """Every node's line and what they come to."""

    deployment_id: str
    kind: str
    summary: str
    nodes: list[NodeProgress]
    settled: bool
    poll_seconds: int


def of(deployment: Deployment, rollouts: Sequence[Rollout]) -> Progress:
    nodes = [_node(rollout) for rollout in rollouts]
    kinds = [node.kind for node in nodes]
    everywhere = all(isinstance(rollout.target, Node) for rollout in rollouts)
    kind, summary = _sum_up(kinds, "node" if everywhere else "target")
    old = now() - deployment.created_at > SLOW_AFTER
    return Progress(
        deployment_id=deployment.id,
        kind=kind,
        summary=summary,
        nodes=nodes,
        settled=bool(nodes) and "moving" not in kinds,
        poll_seconds=POLL_SLOWLY_SECONDS if old else POLL_SECONDS,
    )


def words_of(rollout: Rollout) -> tuple[str, str]:
    """Kind of status and word of a rollout's state."""
    return _WORDS[RolloutState(rollout.state)]


def _node(rollout: Rollout) -> NodeProgress:
    kind, word = words_of(rollout)
    return NodeProgress(rollout.target.name, kind, word, rollout.reason)


def _sum_up(kinds: list[str], noun: str) -> tuple[str, str]:
    if not kinds:
        return "moving", "Waiting for the first node to join"
    live, total = kinds.count("live"), len(kinds)
    if "failed" in kinds:
        return "failed", f"Could not start on {kinds.count('failed')} of {_count(total, noun)}"
    if "moving" in kinds:
        return "moving", f"Deploying: live on {live} of {_count(total, noun)}"
    if not live:
        return "idle", "Replaced by a newer deployment"
    return (
        "live",
        f"Live on {_count(total, noun) if live == total else f'{live} of {_count(total, noun)}'}",
    )


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
