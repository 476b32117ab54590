"""Which of the front's slots are free."""

import heapq
from collections.abc import Collection


class SlotNumbers:
    """Numbers from 0 up to a limit, the lowest free one first."""

    def __init__(self, limit: int, taken: Collection[int]) -> None:
        self._free = [number for number in range(limit) if number not in taken]

    def take(self) -> int | None:
        """A number nobody has, None when there is none."""
        return heapq.heappop(self._free) if self._free else None

    def give_back(self, number: int) -> None:
        heapq.heappush(self._free, number)
