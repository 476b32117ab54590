"""Requests of a busy script that are added up on the node instead of being recorded one by one.

A record of each would take more of a busy machine than the front does, and fill the control plane's disk;
sums lose nothing that is counted: requests, outcomes, statuses, bytes, cold starts, durations as a histogram.
Those for which the front says no line at all come in by sampling.py.
"""

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from edge.agent.cells.cell import Cell
from edge.agent.front.template import LOG_FIELDS
from edge.agent.records.attribution import Outcome, Record

MINUTE_US = 60_000_000
# A duration is said by its highest six bits, which is off by 1.6 % at most.
DURATION_BITS = 6

_NAMES = list(LOG_FIELDS)
_BEGAN, _ENDED = _NAMES.index("began_us"), _NAMES.index("ended_us")
_SLOT, _CELL, _STATUS = (_NAMES.index(name) for name in ("slot", "cell", "status"))
_TERMINATION, _SAID = _NAMES.index("termination"), _NAMES.index("said")
_IN, _OUT = _NAMES.index("bytes_in"), _NAMES.index("bytes_out")
# Nobody broke anything off, and the script answered.
_ORDINARY, _NOTHING = "--", "-"
# What is asked of each line is asked of many at once: this is done for every request of a busy script.
_kind = itemgetter(_SLOT, _CELL, _STATUS, _TERMINATION, _SAID)


class Key(NamedTuple):
    """What requests that are added up have in common."""

    minute_us: int
    """When the minute began, in microseconds since 1970."""
    script_id: str
    version_id: str
    status: int
    outcome: Outcome
    cold: bool


@dataclass
class Sum:
    bytes_in: int = 0
    bytes_out: int = 0
    durations_us: Counter[int] = field(default_factory=Counter)
    """How many requests took so long."""

    @property
    def requests(self) -> int:
        return self.durations_us.total()

    @property
    def total_us(self) -> int:
        return sum(took * count for took, count in self.durations_us.items())

    def add(self, duration_us: int, bytes_in: int, bytes_out: int, times: int = 1) -> None:
        self.durations_us[duration_us] += times
        self.bytes_in += bytes_in * times
        self.bytes_out += bytes_out * times


class Sums:
    """Of one batch."""

    def __init__(self) -> None:
        self._sums: defaultdict[Key, Sum] = defaultdict(Sum)

    def __iter__(self) -> Iterator[tuple[Key, Sum]]:
        return iter(self._sums.items())

    @property
    def requests(self) -> int:
        return sum(one.requests for one in self._sums.values())

    def of(self, key: Key) -> Sum:
        return self._sums[key]

    def add(self, entry: Record) -> None:
        minute_us = entry.at_us // MINUTE_US * MINUTE_US
        key = Key(
            minute_us, entry.script_id, entry.version_id, entry.status, entry.outcome, entry.cold
        )
        self.of(key).add(entry.duration_us, entry.bytes_in, entry.bytes_out)

    def as_json(self) -> list[list[object]]:
        """Entries of a batch's `sums`: the key, bytes in and out, the microseconds of all together, and
        pairs of a duration and how many took about so long."""
        return [
            [
                *key,
                one.bytes_in,
                one.bytes_out,
                one.total_us,
                _rounded(one.durations_us),
            ]
            for key, one in self._sums.items()
        ]


def rounded(duration_us: int) -> int:
    """The middle of all durations that have the same highest bits."""
    shift = max(duration_us.bit_length() - DURATION_BITS, 0)
    return (duration_us >> shift << shift) + (1 << shift >> 1)


def _rounded(durations_us: Mapping[int, int]) -> list[tuple[int, int]]:
    counts: Counter[int] = Counter()
    for took, count in durations_us.items():
        counts[rounded(took)] += count
    return sorted(counts.items())


def counts_up_to(bounds: tuple[float, ...], durations_us: Mapping[int, int]) -> list[int]:
    """How many durations are at most each bound (in seconds) and more than the one before it; the last
    is how many are longer than all."""
    counts = [0] * (len(bounds) + 1)
    for took, count in durations_us.items():
        counts[bisect_left(bounds, took / 1e6)] += count
    return counts


@dataclass(frozen=True)
class Thinning:
    """Divides what the front said."""

    limit: int
    """Of each slot so many ordinary requests of a second are recorded one by one, and at least one of each
    status; 0: all."""
    cell_of: Callable[[str], Cell | None]
    """A cell by its name; None for one that is not known, or whose requests are all wanted."""

    def most(self, lines: list[str]) -> float:
        """How many requests of a script are recorded one by one, whatever became of them."""
        return 2 * self.limit * _seconds(lines) if self.limit else math.inf

    def divide(self, lines: list[str], sums: Sums) -> list[str]:
        """The lines that are to be read one by one; the others are in the sums. What is left is spread
        over the time evenly, and everything that did not go as usual is in it."""
        if not self.limit or len(lines) <= self.limit:
            return lines
        limit = self.limit * _seconds(lines)
        rows = [line.split(" ", _OUT + 1) for line in lines]
        groups, single = _grouped(rows)
        counts: Counter[str] = Counter()
        for (slot, *_), numbers in groups.items():
            counts[slot] += len(numbers)
        if max(counts.values(), default=0) <= limit:
            return lines
        for (slot, cell, status, termination, said), numbers in groups.items():
            if counts[slot] > limit and termination == _ORDINARY and said != _NOTHING:
                # At least one of each status: rare ones are looked for.
                share = math.ceil(len(numbers) * limit / counts[slot])
                left = {numbers[turn * len(numbers) // share] for turn in range(share)}
                others = [rows[number] for number in numbers if number not in left]
                if self._add_up(cell, status, others, sums):
                    single += left
                    continue
            single += numbers
        return [lines[number] for number in sorted(single)]

    def _add_up(self, name: str, status: str, group: list[list[str]], sums: Sums) -> bool:
        """Whether the ordinary requests that a cell answered with a status are in the sums now."""
        cell = self.cell_of(name)
        if cell is None or not group:
            return False
        try:
            code = int(status)
            began = [int(fields[_BEGAN]) for fields in group]
            ended = [int(fields[_ENDED]) for fields in group]
            bytes_in = [int(fields[_IN]) for fields in group]
            bytes_out = [int(fields[_OUT]) for fields in group]
        except ValueError:  # no line of the front: read alone, it is counted as such
            return False
        if cell.was_starting(min(began), max(ended)):
            return False
        durations = [max(end - start, 0) for start, end in zip(began, ended, strict=True)]
        script_id, version_id = cell.record.script_id, cell.record.version_id
        minutes = [start // MINUTE_US * MINUTE_US for start in began]
        of = {
            minute_us: sums.of(Key(minute_us, script_id, version_id, code, Outcome.OK, cold=False))
            for minute_us in set(minutes)
        }
        for minute_us, *request in zip(minutes, durations, bytes_in, bytes_out, strict=True):
            of[minute_us].add(*request)
        return True


def _seconds(lines: list[str]) -> int:
    """In how many seconds the requests ended, at least 1: an agent that was away finds many."""
    try:
        first, last = (int(line.split(" ", _ENDED + 1)[_ENDED]) for line in (lines[0], lines[-1]))
    except (ValueError, IndexError):
        return 1
    return max(round((last - first) / 1e6), 1)


def _grouped(rows: list[list[str]]) -> tuple[dict[tuple[str, ...], list[int]], list[int]]:
    """Which rows are of one kind, and which are no line of the front, by their numbers."""
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    broken: list[int] = []
    for number, row in enumerate(rows):
        if len(row) > _OUT + 1:
            groups[_kind(row)].append(number)
        else:
            broken.append(number)
    return groups, broken
