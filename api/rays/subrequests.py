"""What a request asked of others, out of the invocations that it made: its own, and those of Durable Objects
and Workers that it was passed on to with its headers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from api.logs.subrequests import failed

INVOCATION = "invocation"
UNTRACED = 'Not recorded: the Worker\'s configuration has no `"observability": { "traces": { "enabled": true } }`.'
UNTOLD = (
    "Not recorded: the cell could not tell them, because it was killed or is one of an older release, or because "
    "another invocation began alike at the same moment."
)

UNTOLD_IN_PART = "Of another invocation of this request they are not recorded."


@dataclass(frozen=True)
class Subrequest:
    """One, beginning so many milliseconds after the request."""

    script: str
    entrypoint: str
    kind: str
    target: str
    method: str
    status: int | None
    offset_ms: float
    duration_ms: float

    @property
    def failed(self) -> bool:
        return failed(self.kind, self.status)

    def as_json(self) -> dict[str, Any]:
        return {
            "script": self.script,
            "entrypoint": self.entrypoint,
            "kind": self.kind,
            "target": self.target,
            "method": self.method or None,
            "status": self.status,
            "offset_ms": self.offset_ms,
            "duration_ms": self.duration_ms,
        }


@dataclass(frozen=True)
class Subrequests:
    count: int | None
    """None: not recorded."""
    listed: list[Subrequest] = field(default_factory=list)
    """The first of them, in the order in which they began."""
    why: str = ""
    """Why they are not all there; empty when they are."""

    @property
    def duration_ms(self) -> float | None:
        """Of those that are listed; they may have run at the same time."""
        if self.count is None or (self.count and not self.listed):
            return None
        return round(sum(one.duration_ms for one in self.listed), 1)

    @property
    def several(self) -> bool:
        """Whether more than one invocation made them."""
        return len({(one.script, one.entrypoint) for one in self.listed}) > 1

    @property
    def end_ms(self) -> float:
        """When the last one of the list had ended."""
        return max((one.offset_ms + one.duration_ms for one in self.listed), default=0)

    def as_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "duration_ms": self.duration_ms,
            "listed": [one.as_json() for one in self.listed],
            "why": self.why,
        }


def of_events(
    events: Sequence[Row[Any]], began: datetime, nothing_why: str, *, traced: bool
) -> Subrequests:
    """`events` are the stored ones of the request, `nothing_why` says why there are none; `traced`: whether
    the script asks for its subrequests now."""
    if not events:
        return Subrequests(None, why=f"Not recorded. {nothing_why}")
    invocations = [row for row in events if row.kind == INVOCATION]
    counts = _counts(invocations or events)
    known = [count for count in counts if count is not None]
    if not known:
        return Subrequests(None, why=UNTOLD if traced else UNTRACED)
    listed = sorted(_listed(invocations, began), key=lambda one: one.offset_ms)
    missing = [_unlisted(sum(known), len(listed), bool(invocations))]
    missing.append(UNTOLD_IN_PART if len(known) < len(counts) else "")
    return Subrequests(sum(known), listed, " ".join(filter(None, missing)))


def _counts(rows: Sequence[Row[Any]]) -> list[int | None]:
    """Of each invocation; what it printed and threw says the same as itself."""
    if rows[0].kind == INVOCATION:
        return [row.subrequests for row in rows]
    return list({(row.script_id, row.entrypoint): row.subrequests for row in rows}.values())


def _listed(invocations: list[Row[Any]], began: datetime) -> Iterator[Subrequest]:
    for row in invocations:
        ahead_ms = (row.at - began).total_seconds() * 1000
        for one in row.fields.get("subrequests", []):
            offset = round(max(ahead_ms + one["offset_ms"], 0), 1)
            yield Subrequest(row.script_name, row.entrypoint, **{**one, "offset_ms": offset})


def _unlisted(count: int, listed: int, kept: bool) -> str:
    if listed >= count:
        return ""
    if not kept:
        return "They are listed with the invocation, which `invocation_logs: false` leaves out."
    return f"{listed} of them are listed: of each invocation the first."
