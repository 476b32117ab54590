"""What cells print: the platform worker's account of invocations put together, and everything else.

The platform worker (edge/cell/platform.js) tells an invocation as one line of the cell's output, or
as several when it is long: workerd writes a line into a pipe that nobody may wait for.
"""

import json
from typing import Protocol

import structlog

from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.front.log import Line
from edge.agent.records.attribution import Record

MARK = b'"skerry-tail '
_PREFIX = "skerry-tail "
# Of one event, twice of what the platform worker makes.
PARTS_MAX = 40

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Event = dict[str, object]


class Listener(Protocol):
    def wants(self, cell: Cell) -> bool:
        """Whether it is to be told of an invocation of this cell."""

    def told(self, cell: Cell, event: Event | None) -> None:
        """An invocation; None when it came cut off."""

    def printed(self, cell: Cell, line: bytes) -> None:
        """A line of the script's."""

    def follows(self, cell: Cell) -> bool:
        """Whether it wants to hear of each request of this cell that the front has recorded."""

    def visited(self, line: Line, entry: Record) -> None:
        """A request that the front has recorded; of cells that nobody follows it may hear of some only."""


class Hearing:
    def __init__(self, fleet: Fleet, listeners: tuple[Listener, ...]) -> None:
        self._listeners = listeners
        self._partial: dict[str, tuple[str, list[str]]] = {}
        """Of each cell the id and the first parts of what it is telling."""
        fleet.hear = self.hear_line

    def hear_line(self, cell: Cell, line: bytes) -> bool:
        """Whether it was one of the platform's own."""
        if MARK not in line[:100]:
            for listener in self._listeners:
                listener.printed(cell, line)
            return False
        cell.tells = True
        wanting = [listener for listener in self._listeners if listener.wants(cell)]
        if not wanting and not _has_parts(line):
            return True
        text, lost = self._put_together(cell, line)
        for listener in wanting:
            if lost:
                listener.told(cell, None)
            if text is not None:
                listener.told(cell, _event(text))
        return True

    def follows(self, cell: Cell) -> bool:
        """Whether each of its requests is wanted, with everything that the front says of it."""
        return any(listener.follows(cell) for listener in self._listeners)

    def hear_request(self, line: Line, entry: Record) -> None:
        for listener in self._listeners:
            listener.visited(line, entry)

    def _put_together(self, cell: Cell, line: bytes) -> tuple[str | None, bool]:
        """The event's JSON, empty when the line is broken, None while parts are missing; and whether
        the one before it will never be whole: a cell tells one event after the other."""
        try:
            id_, number, count, text = _read(line)
        except (ValueError, KeyError, TypeError, AttributeError):
            return "", False
        before, parts = self._partial.pop(cell.name, (id_, []))
        lost = before != id_ and bool(parts)
        parts = [text] if before != id_ else [*parts, text]
        if count == 1 or number == count - 1:
            whole = len(parts) == count
            return ("".join(parts), lost) if whole else (None, True)
        self._partial[cell.name] = (id_, parts)
        return None, lost


def _has_parts(line: bytes) -> bool:
    start = line.find(MARK) + len(MARK)
    return not line[start : start + 4].startswith(b"1/1 ")


def _read(line: bytes) -> tuple[str, int, int, str]:
    """`skerry-tail 2/3 ID TEXT`: the second of three parts. Raises ValueError or KeyError."""
    message = json.loads(line)["message"].removeprefix(_PREFIX)
    place, id_, text = message.split(" ", 2)
    number, count = (int(one) for one in place.split("/"))
    if not 1 <= number <= count <= PARTS_MAX:
        raise ValueError(place)
    return id_, number - 1, count, text


def _event(text: str) -> Event | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
