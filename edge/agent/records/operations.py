"""What scripts did to stored data, as the stores tell it on their output (edge/store/counting.js), and cells
of their Durable Objects (edge/cell/operations.js)."""

import json
import time
from collections import defaultdict
from collections.abc import Callable

from edge.agent.cells.cell import Cell
from edge.agent.state import Slot
from edge.agent.stores.stores import StoreRecord

PREFIX = "skerry-operations "
MARK = f'"{PREFIX}'.encode()
OBJECTS = "durable_objects"
# Of one line of a cell, which tells about a second. A script may print anything.
MOST = 10**9

Operation = list[object]
"""Microseconds since 1970, script id, kind of store, reads, writes."""


class Operations:
    """What was heard since it was last asked."""

    def __init__(self, slot_of: Callable[[str], Slot | None]) -> None:
        self._slot_of = slot_of
        self._sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

    def hear_line(self, store: StoreRecord, line: bytes) -> bool:
        """A line that a store printed; whether it was of this kind."""
        if MARK not in line[:100]:
            return False
        for script_id, reads, writes in _read(line):
            slot = self._slot_of(script_id)
            if slot and slot.desired.account_id == store.account_id:
                found = self._sums[script_id, store.kind]
                found[0] += reads
                found[1] += writes
        return True

    def hear_cell(self, cell: Cell, line: bytes) -> bool:
        """The same of a cell's line. A script that prints what looks like one counts for itself."""
        if MARK not in line[:100]:
            return False
        script_id = cell.record.script_id
        counts = _read_counts(line)
        if counts and self._slot_of(script_id):
            found = self._sums[script_id, OBJECTS]
            found[0] += counts[0]
            found[1] += counts[1]
        return True

    def take(self) -> list[Operation]:
        now = time.time_ns() // 1000
        sums, self._sums = self._sums, defaultdict(lambda: [0, 0])
        return [[now, *key, *counts] for key, counts in sorted(sums.items())]


def _read_counts(line: bytes) -> list[int] | None:
    """Reads and writes; None of what is cut off or cannot be meant."""
    try:
        told = json.loads(json.loads(line)["message"].removeprefix(PREFIX))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    good = isinstance(told, list) and len(told) == 2
    return told if good and all(type(one) is int and 0 <= one <= MOST for one in told) else None


def _read(line: bytes) -> list[tuple[str, int, int]]:
    """None of it when it is cut off: the pipe drops what does not fit."""
    try:
        told = json.loads(json.loads(line)["message"].removeprefix(PREFIX))
        return [(str(script_id), int(reads), int(writes)) for script_id, reads, writes in told]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
