"""What can be watched. A kind that needs what an installation does not have yet is not among them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A figure, in words, with the bounds of its threshold."""

    label: str
    unit: str
    meaning: str
    usual: float
    most: float
    of_scripts: bool = False
    """It is about requests of the last minutes, of one script or of each."""
    of_queues: bool = False
    """It is about what waits, in one queue or in each."""


KINDS = {
    "error_rate": Kind("Error rate", "%", "Share of requests that failed, at least", 5, 100, True),
    "p95": Kind("Slow (p95)", "ms", "What 95 % of the requests stay below, more than", 500, 1e7, True),
    "node_silent": Kind("Node silent", "min", "A node has not reported for", 2, 1e5),
    "rollout_stuck": Kind("Rollout stuck", "min", "A change has not reached a node for", 5, 1e5),
    "certificate": Kind("Certificate ends", "days", "A certificate ends within", 14, 3650),
    "disk": Kind("Disk nearly full", "%", "Of a disk is in use, at least", 90, 100),
    "queue_backlog": Kind("Queue fills up", "messages", "Waiting in a queue, at least", 1000, 1e9, of_queues=True),
    "queue_age": Kind("Queue is late", "min", "The oldest message of a queue was sent more than", 15, 1e5, of_queues=True),
}  # fmt: skip
