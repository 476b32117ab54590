"""Which of two versions of a script is in which of its two slots."""

from edge.agent.cells.cell import StartError
from edge.agent.desired import Version
from edge.agent.state import Slot

MOST_VERSIONS = 2


def placed(slot: Slot, companion: Slot | None) -> tuple[Version, Version | None]:
    """The desired versions of the script's slot and of its companion: what runs stays where it runs,
    otherwise the larger share is the script's. Raises StartError for what a node cannot split."""
    versions = sorted(slot.desired.versions, key=lambda one: -one.percentage)
    if len(versions) == 1:
        return versions[0], None
    if len(versions) > MOST_VERSIONS:
        raise StartError("This node cannot split traffic between more than two versions.")
    if any(version.owned for version in versions):
        raise StartError(
            "A script with Durable Objects or Workflows cannot be split between two versions: "
            "only one process may have its storage open."
        )
    larger, smaller = versions
    runs = companion.live.version_id if companion and companion.live else None
    owns = slot.live.version_id if slot.live else None
    if runs == larger.version_id or owns == smaller.version_id:
        return smaller, larger
    return larger, smaller
