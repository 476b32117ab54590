"""How many cells of a script a node runs, and for how long without visitors."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, ValidationError

# `waitUntil` may go on for 30 s after an answer (Cloudflare's limit), and while it only waits on a
# timer a node cannot see it.
IDLE_SECONDS_MIN, IDLE_SECONDS_MAX = 30, 24 * 3600
CELLS_MAX = 32


def check_idle_seconds(value: int) -> int:
    """The value if a script can be stopped after so many seconds; else ValueError with a sentence."""
    if value != 0 and not IDLE_SECONDS_MIN <= value <= IDLE_SECONDS_MAX:
        raise ValueError(
            f"use {IDLE_SECONDS_MIN} to {IDLE_SECONDS_MAX:,} seconds, or 0 for a Worker that is "
            "never stopped while idle"
        )
    return value


def check_max_cells(value: int) -> int:
    """The value if a node may run so many cells of one script; else ValueError with a sentence."""
    if not 1 <= value <= CELLS_MAX:
        raise ValueError(f"use 1 to {CELLS_MAX} processes")
    return value


class Scaling(BaseModel):
    """What a node is told of a script's cells; null is the node's own default."""

    # A misspelt field would otherwise be stored without effect.
    model_config = ConfigDict(extra="forbid")

    idle_seconds: Annotated[
        Annotated[StrictInt, AfterValidator(check_idle_seconds)] | None,
        Field(
            description="Stop its cells after so many seconds without a visitor: "
            f"{IDLE_SECONDS_MIN} to {IDLE_SECONDS_MAX}, or 0 for never.",
            examples=[300],
        ),
    ] = None
    max_cells: Annotated[
        Annotated[StrictInt, AfterValidator(check_max_cells)] | None,
        Field(description=f"Cells on one node at most: 1 to {CELLS_MAX}.", examples=[4]),
    ] = None


def stored(settings: dict[str, Any]) -> Scaling:
    """The scaling in a script's settings. One that is not allowed (any more) counts as none: a node's
    whole desired state must not fail for it."""
    try:
        return Scaling.model_validate(settings.get("scaling") or {})
    except ValidationError:
        return Scaling()


def merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A script's settings after a change of those that are named; null for `scaling` resets it."""
    after = {**settings, **changes}
    if changes.get("scaling") is not None:
        after["scaling"] = {**stored(settings).model_dump(), **changes["scaling"]}
    return after
