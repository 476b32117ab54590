"""How a node is, in words: its state, how far behind it is, how strong its sandbox."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from api.nodes.models import Node


@dataclass(frozen=True)
class Level:
    """A sandbox level, as docs/security.md describes it."""

    name: str
    kind: str
    word: str
    warning: str = ""
    """What is weaker, as a title; empty for the strongest."""


FULL = Level("full", "live", "Full")
NAMESPACES = Level(
    "namespaces", "alert", "Namespaces only", "This node's cells share the agent's user"
)
NONE = Level("none", "failed", "None", "This node's cells run without a sandbox")
UNKNOWN = Level("unknown", "idle", "Not reported yet")
LEVELS = {level.name: level for level in (FULL, NAMESPACES, NONE)}


# Of reasons for which records are lost (docs/observing.md).
LOST = {
    "front": "two threads of the front wanted to write at once, or its pipe was full",
    "agent": "more within a second than the agent collects",
    "unreadable": "no line that can be read",
    "spool": "the control plane was away for longer than the spool holds",
    "points": "data points: more within a second than the agent collects",
    "disk": "the disk took no batch",
    "refused": "the control plane refused a batch",
}
_OF_LOGS = "log_"


def lost_because(reason: str) -> str:
    """Why records were lost, as a node names it."""
    word = LOST.get(reason.removeprefix(_OF_LOGS), reason)
    return f"stored logs: {word}" if reason.startswith(_OF_LOGS) else word


@dataclass(frozen=True)
class NodeLine:
    """One node with what to say of it."""

    node: Node
    kind: str
    word: str
    behind: int
    """Changes of its desired state that it has not reported yet."""
    level: Level

    @property
    def away(self) -> bool:
        return self.node.away


def line(node: Node) -> NodeLine:
    behind = max(0, node.generation - node.reported_generation)
    kind, word = _state(node, behind)
    # Until its first report the row holds a default, which is no finding.
    level = LEVELS.get(node.sandbox, UNKNOWN) if node.seen_at else UNKNOWN
    return NodeLine(node, kind, word, behind, level)


def _state(node: Node, behind: int) -> tuple[str, str]:
    if node.away:
        return "failed", "Away"
    if node.seen_at is None:
        return "moving", "Joining"
    return ("moving", "Catching up") if behind else ("live", "Online")


def skew(nodes: Sequence[Node]) -> list[str]:
    """A sentence for each kind of program that is not the same version on all nodes."""
    reported = [node for node in nodes if node.seen_at]
    agents = _by_version([(node.agent_version, node.name) for node in reported])
    runtimes = _by_version([(node.runtime_version, node.name) for node in reported])
    sentences = []
    if len(agents) > 1:
        sentences.append(f"Agents: {_said(agents)}.")
    if len(runtimes) > 1:
        sentences.append(f"Runtimes: {_said(runtimes)}.")
    return sentences


def _by_version(found: list[tuple[str, str]]) -> dict[str, list[str]]:
    by_version: dict[str, list[str]] = defaultdict(list)
    for version, name in found:
        by_version[version].append(name)
    return dict(sorted(by_version.items()))


def _said(by_version: dict[str, list[str]]) -> str:
    return "; ".join(
        f"{version or 'unknown'} on {', '.join(names)}" for version, names in by_version.items()
    )
