"""Data points of Analytics Engine, as cells tell them on their output (edge/cell/points.js)."""

import json
from collections.abc import Callable

from edge.agent.cells.cell import Cell
from edge.agent.state import Slot
from edge.runtime.points import PREFIX

MARK = f'"{PREFIX}'.encode()
# Of one second: beyond it they are dropped and counted. Of the runtime, a point has at most 16 kB.
MOST_POINTS = 10_000
MOST_BYTES = 32 * 1024 * 1024

Point = list[object]
"""Microseconds since 1970, account id, script id, dataset, index, blobs, doubles."""


class Points:
    """What was heard since it was last asked."""

    def __init__(self, slot_of: Callable[[str], Slot | None]) -> None:
        self._slot_of = slot_of
        self._lines: list[tuple[str, bytes]] = []
        self._bytes = 0
        self._dropped = 0

    def hear_line(self, cell: Cell, line: bytes) -> bool:
        """A line that a cell printed; whether it was a data point."""
        if MARK not in line[:100]:
            return False
        if len(self._lines) >= MOST_POINTS or self._bytes + len(line) > MOST_BYTES:
            self._dropped += 1
        else:
            self._lines.append((cell.record.script_id, line))
            self._bytes += len(line)
        return True

    def take(self) -> tuple[list[Point], int]:
        """The points, and how many more there were. A script that prints what looks like one writes
        a point of its own account, which it may do."""
        lines, self._lines, self._bytes = self._lines, [], 0
        dropped, self._dropped = self._dropped, 0
        found: list[Point] = []
        for script_id, line in lines:
            slot = self._slot_of(script_id)
            point = _read(line)
            if slot is None or point is None:
                dropped += 1
                continue
            at, dataset, index, blobs, doubles = point
            found.append([at, slot.desired.account_id, script_id, dataset, index, blobs, doubles])
        return found, dropped


def _read(line: bytes) -> list[object] | None:
    """None when it is cut off, or no point: a script may print anything."""
    try:
        found = json.loads(json.loads(line)["message"].removeprefix(PREFIX))
        at, dataset, index, blobs, doubles = found
        texts = [dataset, index, *blobs]
        numbers = [at, *doubles]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    good = all(isinstance(text, str) for text in texts) and len(blobs) <= 20 >= len(doubles)
    good = good and all(type(number) in (int, float) for number in numbers)
    # No letter that Postgres' text cannot hold.
    clean = [str(text).replace("\0", "�") for text in texts]
    return [int(at), clean[0], clean[1], clean[2:], doubles] if good else None
