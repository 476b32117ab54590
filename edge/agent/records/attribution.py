"""Whose request a line of the front is about, and how it went."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from edge.agent.cells.cell import Cell
from edge.agent.cells.limits import Outcome as Exceeded
from edge.agent.front.log import Line
from edge.agent.state import Slot

METHOD_LENGTH = 32
PATH_LENGTH = 1024

Timing = list[int]
Found = Callable[[str], Cell | None]
SlotOf = Callable[[str], Slot | None]


class Outcome(StrEnum):
    OK = "ok"
    EXCEPTION = "exception"
    """The script threw: page 1101."""
    EXCEEDED_CPU = "exceeded_cpu"
    """Its cell was killed under the request: page 1102, or an answer that broke off."""
    EXCEEDED_MEMORY = "exceeded_memory"
    CANCELED = "canceled"
    """The visitor left before the answer was complete."""
    UNAVAILABLE = "unavailable"
    """The script could not be started, or the request waited too long for it: 503."""
    UNKNOWN = "unknown"
    """The cell ended, and no limit of ours did that."""


class Record(NamedTuple):
    """An entry of a batch's `requests`; the control plane reads them by these names."""

    at_us: int
    ray: str
    script_id: str
    account_id: str
    version_id: str
    host: str
    method: str
    path: str
    status: int
    outcome: Outcome
    duration_us: int
    bytes_in: int
    bytes_out: int
    cold: bool


def record(line: Line, cell_of: Found, slot_of: SlotOf) -> Record | None:
    """The entry of a batch; None for a request of no script that this node knows."""
    cell = cell_of(line.cell)
    slot = slot_of(line.slot)
    if cell is None and slot is None:
        return None
    script_id = cell.record.script_id if cell else slot.script_id if slot else ""
    account_id = slot.desired.account_id if slot else ""
    live = slot.live.version_id if slot and slot.live else ""
    return Record(
        line.began_us,
        line.ray,
        script_id,
        account_id,
        cell.record.version_id if cell else live,
        line.host,
        line.method[:METHOD_LENGTH],
        line.path.partition("?")[0][:PATH_LENGTH],
        shown_status(line),
        outcome(line, cell),
        max(line.ended_us - line.began_us, 0),
        line.bytes_in,
        line.bytes_out,
        cell is not None and cell.was_starting(line.began_us, line.ended_us),
    )


def timing(line: Line, cell: Cell | None) -> Timing:
    """How long the start took that the request waited for (0: none), how long it was in the front,
    and how long the cell took until it answered, the start included. A cell that threw, was killed
    or left by its visitor had all the rest of the time."""
    start_us = cell.start_us(line.began_us, line.ended_us) if cell else 0
    front_us = line.waited_ms * 1000
    if line.answered_ms is not None:
        return [start_us, front_us, line.answered_ms * 1000]
    rest_us = max(line.ended_us - line.began_us - front_us, 0)
    return [start_us, front_us, rest_us if line.cell else 0]


def shown_status(line: Line) -> int:
    """What the visitor got, 0 if nobody knows. HAProxy logs 502 for its page of a broken connection, which
    says 503, and -1 of an answer that it passed on unread, because the cell did not take the rest of a body."""
    return 503 if line.status == 502 and not line.said else max(line.status, 0)


def outcome(line: Line, cell: Cell | None) -> Outcome:
    """HAProxy's first letter says who ended the request: C the visitor, S the cell. A cell that
    answered without reading a body hangs up, too, so S alone does not say that it broke off."""
    who = line.termination[:1]
    if who in "Cc":
        return Outcome.CANCELED
    if who == "S" and cell and (end := cell.end_near(line.ended_us)):
        return _EXCEEDED[end[1]] if end[1] else Outcome.UNKNOWN
    if line.said:
        return Outcome.OK
    return _PAGES.get(line.status, Outcome.OK)


_EXCEEDED = {
    Exceeded.EXCEEDED_CPU: Outcome.EXCEEDED_CPU,
    Exceeded.EXCEEDED_MEMORY: Outcome.EXCEEDED_MEMORY,
}
# What the front answered in the script's place.
_PAGES = {
    500: Outcome.EXCEPTION,
    502: Outcome.UNKNOWN,
    503: Outcome.UNAVAILABLE,
    504: Outcome.UNAVAILABLE,
}
