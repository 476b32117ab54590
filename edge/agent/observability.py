"""What of a version's invocations is stored, as the control plane says it in the spec."""

from dataclasses import dataclass

from edge.agent.desired import Version
from edge.agent.state import Slot

KEY = "observability"


@dataclass(frozen=True)
class Observed:
    rate: float
    """The share of the invocations that is stored."""
    invocations: bool
    """Whether the invocation itself is stored, or only what it printed and threw."""
    subrequests: bool = False
    """Whether what it asked of others is."""


def observed(version: Version) -> Observed | None:
    """None when nothing is stored, or when this is not readable."""
    spec = version.spec if isinstance(version.spec, dict) else {}
    said = spec.get(KEY)
    if not isinstance(said, dict):
        return None
    rate = said.get("rate")
    if not isinstance(rate, int | float) or not 0 < rate <= 1:
        return None
    return Observed(
        float(rate), said.get("invocations") is not False, said.get("subrequests") is True
    )


def observed_of(slot: Slot | None, version_id: str) -> Observed | None:
    """Of a version of a script, as it was decided last: a change of the rate exchanges no cell."""
    if slot is None:
        return None
    listed = (*slot.desired.versions, slot.live)
    found = next((one for one in listed if one and one.version_id == version_id), None)
    return observed(found) if found else None


def without(spec: object) -> object:
    """The spec as far as a cell is built from it."""
    if not isinstance(spec, dict):
        return spec
    return {key: value for key, value in spec.items() if key != KEY}
