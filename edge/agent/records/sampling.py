"""For which cells the front says one line of several, of how many, and what is known of the others.

To say, to read and to add up a line of each request took a tenth of a busy node's CPU. Each line of a sampled
cell says how many requests of the cell had none so far, so all of them are counted; how they went is what
the lines say of those that had one.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from edge.agent.cells.cell import Cell
from edge.agent.front.template import LOG_FIELDS
from edge.agent.records.attribution import Outcome
from edge.agent.records.sums import MINUTE_US, Key, Sums

# Of a busy script so many lines of a second are said at least, and fewer than twice as many; or as many as are recorded
# one by one, if that is more. A share of one percent of a minute's requests is then known to 9 % of itself.
LINES = 200
# It is not worth it for less.
FEWEST = 4
# A rate that goes up and down by less than this changes nothing.
SLACK = 1.5
STATUS = 200
# HAProxy's counter has 32 bits.
_WRAPS = 1 << 32
# Of how many processes of the front counts are remembered: one that ends may say lines while the next one serves.
_FRONTS = 3
_HEARD = "heard"
_NOTHING, _ORDINARY = "-", "--"

_NAMES = list(LOG_FIELDS)
_BEGAN, _ENDED, _SLOT, _CELL, _STATUS, _TERMINATION, _IN, _OUT, _SILENT = (
    _NAMES.index(name)
    for name in (
        "began_us", "ended_us", "slot", "cell", "status", "termination", "bytes_in", "bytes_out",
        "silent",
    )
)  # fmt: skip

Sampled = dict[str, int]
"""Of how many requests one has a line, by the cell's name; a power of two."""


class Request(NamedTuple):
    """One that had a line, as an example of those that had none."""

    began_us: int
    duration_us: int
    bytes_in: int
    bytes_out: int


UNKNOWN = Request(0, 0, 0, 0)


class Sampling:
    def __init__(self, limit: int, cell_of: Callable[[str], Cell | None]) -> None:
        """`limit` is that of Thinning: 0 samples nothing."""
        self._lines = max(limit, LINES) if limit else 0
        self._cell_of = cell_of
        self._counts: Counter[str] = Counter()
        self._since = time.monotonic()
        self._heard: dict[tuple[str, str], int] = {}
        """The front's count by its pid and cell, as far as it is in a batch."""
        self._fronts: list[str] = []
        self._inherited: frozenset[str] = frozenset()
        self._last: dict[str, Request] = {}

    def take(self, lines: Iterable[str], sums: Sums) -> int:
        """Add up what had no line; how many there were of cells that nobody knows any more."""
        silent: Counter[str] = Counter()
        said: defaultdict[str, list[Request]] = defaultdict(list)
        at_us: dict[str, int] = {}
        for line in lines:
            row = line.split(" ", _SILENT + 1)
            if len(row) <= _SILENT + 1:
                continue
            cell, field = row[_CELL], row[_SILENT]
            try:
                if field != _NOTHING:
                    silent[cell] += self._others(cell, field)
                    example = _request(row)
                    at_us[cell] = example.began_us
                    # Not one that was broken off, nor the front's own word.
                    if row[_TERMINATION] == _ORDINARY and row[_SLOT] != _NOTHING:
                        said[cell].append(example)
            except ValueError:  # no line of the front: who reads it counts it as such
                continue
            self._counts[cell] += row[_STATUS] == str(STATUS)
        self._counts += silent
        for cell, examples in said.items():
            self._last[cell] = examples[-1]
        usual = {
            cell: said.get(cell) or [self._last.get(cell, UNKNOWN)._replace(began_us=at)]
            for cell, at in at_us.items()
        }
        return sum(
            self._spread(cell, count, usual[cell], sums) for cell, count in silent.items() if count
        )

    def _others(self, name: str, field: str) -> int:
        """How many more requests of a cell had no line than was known. A line that was overtaken by a later
        one says nothing new. Raises ValueError."""
        front, _, text = field.partition(":")
        count = int(text)
        key = front, name
        if key not in self._heard:
            # How much of it is known already nobody wrote down, if it was sampled under another agent.
            self._heard[key] = count if name in self._inherited else 0
        more = (count - self._heard[key]) % _WRAPS
        if more >= _WRAPS // 2:
            return 0
        self._heard[key] = count
        if front not in self._fronts:
            self._fronts = [*self._fronts, front][-_FRONTS:]
        return more

    def _spread(self, name: str, count: int, examples: list[Request], sums: Sums) -> int:
        """Let requests that had no line be like those that had one, each as often as any other."""
        cell = self._cell_of(name)
        if cell is None:
            return count
        each, rest = divmod(count, len(examples))
        for number, example in enumerate(examples):
            minute_us = example.began_us // MINUTE_US * MINUTE_US
            script_id, version_id = cell.record.script_id, cell.record.version_id
            key = Key(minute_us, script_id, version_id, STATUS, Outcome.OK, cold=False)
            if times := each + (number < rest):
                sums.of(key).add(*example[1:], times)
        return 0

    def decide(self, before: Mapping[str, int]) -> Sampled:
        """Which cells are to be sampled, by what was taken since the last decision."""
        now = time.monotonic()
        seconds = max(now - self._since, 0.5)
        counts, self._counts, self._since = self._counts, Counter(), now
        if not self._lines:
            return {}
        self._forget()
        scripts = {name: cell.record.script_id for name in counts if (cell := self._cell_of(name))}
        rates: Counter[str] = Counter()
        for name, script_id in scripts.items():
            rates[script_id] += counts[name]
        chosen = {
            name: one_of(rates[script_id] / seconds, before.get(name, 1), self._lines)
            for name, script_id in scripts.items()
        }
        return {name: of for name, of in chosen.items() if of > 1}

    def _forget(self) -> None:
        self._heard = {
            (front, cell): count
            for (front, cell), count in self._heard.items()
            if front in self._fronts and self._cell_of(cell)
        }
        self._last = {cell: one for cell, one in self._last.items() if self._cell_of(cell)}

    # Of an agent that was killed

    def known(self, sampled: Collection[str]) -> list[str]:
        """What `recall` needs of these cells, as lines of the journal."""
        return [
            f"{_HEARD} {front} {cell} {count}"
            for (front, cell), count in self._heard.items()
            if cell in sampled
        ]

    def recall(self, lines: list[str]) -> list[str]:
        """Take up what a journal knows; the lines that are the front's."""
        for line in lines:
            match line.split(" "):
                case [word, front, cell, count] if word == _HEARD and count.isdigit():
                    self._heard[front, cell] = int(count)
                    self._fronts = [one for one in self._fronts if one != front] + [front]
        return [line for line in lines if not line.startswith(f"{_HEARD} ")]

    def inherit(self, cells: Iterable[str]) -> None:
        """These are from before this agent."""
        self._inherited = frozenset(cells)


def one_of(rate: float, before: int, lines: int) -> int:
    """Of how many requests one has a line at this rate (1/s), so that there are `lines` a second at least
    and fewer than twice as many; `before` stays if that is almost so. 1 is all."""
    if before > 1 and lines / SLACK <= rate / before <= 2 * lines * SLACK:
        return before
    times = int(rate / lines)
    return 1 << (times.bit_length() - 1) if times >= FEWEST else 1


def _request(row: list[str]) -> Request:
    """Raises ValueError."""
    began_us, ended_us = int(row[_BEGAN]), int(row[_ENDED])
    return Request(began_us, max(ended_us - began_us, 0), int(row[_IN]), int(row[_OUT]))
