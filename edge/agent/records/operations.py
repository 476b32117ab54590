"""What scripts did to stored data, as the stores tell it on their output (edge/store/counting.js)."""

import json
import time
from collections import defaultdict
from collections.abc import Callable

from edge.agent.state import Slot
from edge.agent.stores.stores import StoreRecord

PREFIX = "skerry-operations "
MARK = f'"{PREFIX}'.encode()

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

    def take(self) -> list[Operation]:
        now = time.time_ns() // 1000
        sums, self._sums = self._sums, defaultdict(lambda: [0, 0])
        return [[now, *key, *counts] for key, counts in sorted(sums.items())]


def _read(line: bytes) -> list[tuple[str, int, int]]:
    """None of it when it is cut off: the pipe drops what does not fit."""
    try:
        told = json.loads(json.loads(line)["message"].removeprefix(PREFIX))
        return [(str(script_id), int(reads), int(writes)) for script_id, reads, writes in told]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
