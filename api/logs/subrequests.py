"""What an invocation asked of others, as its cell told it (edge/cell/subrequests.js): how often, and the
first of it. No query, header or body is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.logs.words import mapping, objects, text

# As many as a cell tells.
LISTED_MAX = 50
FETCH = "fetch"
LETTERS_MAX = 300
_COUNT_MAX = 2**31 - 1
_MS_MAX = 86_400_000


@dataclass(frozen=True)
class Asked:
    """All of one invocation, and the first of them."""

    count: int
    listed: list[dict[str, Any]]


def read(event: Mapping[str, Any]) -> Asked | None:
    """None when it is not known: the cell was killed, or told something else."""
    found = mapping(event.get("subrequests"))
    count = found.get("count")
    if type(count) is not int or count < 0:
        return None
    listed = [_one(said) for said in objects(found.get("listed"))[:LISTED_MAX]]
    return Asked(min(max(count, len(listed)), _COUNT_MAX), listed)


def failed(kind: str, status: int | None) -> bool:
    """A fetch without an answer, or with one that says so. The Cache API's 504 is a miss."""
    return kind == FETCH and (status is None or status >= 500)


def _one(said: Mapping[str, Any]) -> dict[str, Any]:
    status = said.get("status")
    known = type(status) is int and 100 <= status <= 999
    return {
        "kind": text(said.get("kind"))[:LETTERS_MAX],
        "target": text(said.get("target")).partition("?")[0][:LETTERS_MAX],
        "method": text(said.get("method"))[:LETTERS_MAX],
        "status": status if known else None,
        "offset_ms": _milliseconds(said.get("offset_ms")),
        "duration_ms": _milliseconds(said.get("duration_ms")),
    }


def _milliseconds(value: Any) -> float:
    return min(max(value, 0), _MS_MAX) if type(value) in (int, float) else 0
