"""Collects what the front said in a second, writes it to the spool and ships it.

Lines wait in a journal until then, so an agent that dies loses none that it had read. From the spool on
nothing is lost or counted twice: a batch keeps its id however often it is sent.
"""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from edge.agent.cells.fleet import Fleet
from edge.agent.front.front import Front
from edge.agent.front.log import Line, LineError, read_line
from edge.agent.records.attribution import Record, Timing, record, timing
from edge.agent.records.journal import Journal
from edge.agent.records.meters import Measure, Meters
from edge.agent.records.operations import Operations
from edge.agent.records.points import Points
from edge.agent.records.shipping import Shipping
from edge.agent.records.spool import Spool
from edge.agent.records.totals import Totals
from edge.agent.state import Slot, State

COLLECT_SECONDS = 1.0
# More than the front can say in that time; beyond it the agent would grow without limit.
MOST_LINES = 50_000
# The front's own count of lines it could not write, asked this rarely. It goes with the front's process.
DROPS_SECONDS = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Listener = Callable[[Line, Record], None]


class Recorder:
    def __init__(
        self,
        *,
        spool: Spool,
        journal: Journal,
        state: State,
        fleet: Fleet,
        front: Front,
        meters: Meters,
        points: Points,
        operations: Operations,
    ) -> None:
        self.points = points
        self.operations = operations
        self._spool = spool
        self._journal = journal
        self._state = state
        self._fleet = fleet
        self._front = front
        self.meters = meters
        self._lines: list[str] = []
        self._measures: list[Measure] = []
        self._lost: Counter[str] = Counter()
        self.total_lost: Counter[str] = Counter()
        """Since the agent started, by reason."""
        self.total = 0
        self.shipping = Shipping(spool, self._lose)
        self.totals = Totals()
        self.listener: Listener | None = None
        """Hears of every request as it is recorded."""

    @property
    def spooled_bytes(self) -> int:
        return self._spool.size_bytes

    def take(self, lines: list[str]) -> None:
        """What the front said just now."""
        room = MOST_LINES - len(self._lines)
        if len(lines) > room:
            self._lose("agent", len(lines) - room)
        taken = lines[:room]
        if taken:
            self._journal.add(taken)
            self._lines += taken

    async def recover(self) -> None:
        """Take up what an agent had read that was killed. Before the front is read again."""
        for identity, lines in self._journal.left():
            if self._spool.holds(identity):
                self._journal.done(identity)
                continue
            log.info("lines_recovered", lines=len(lines))
            self._lines = lines
            try:
                await self._flush(identity)
            except OSError as error:
                log.error("records_not_spooled", reason=str(error))
            except Exception:  # what cannot be read must not keep a node from starting
                log.exception("lines_not_recovered")
                self._journal.done(identity)

    def _lose(self, reason: str, count: int) -> None:
        if count:
            self._lost[reason] += count
            self.total_lost[reason] += count
            log.warning("records_lost", reason=reason, count=count)

    async def collect(self) -> None:
        """Write what was said to the spool, once a second."""
        waited = DROPS_SECONDS
        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            waited += COLLECT_SECONDS
            if waited >= DROPS_SECONDS:
                waited = 0
                self._lose("front", await self._front.dropped_lines())
            try:
                await self.flush()
            except OSError as error:
                log.error("records_not_spooled", reason=str(error))
            except Exception:  # a node that stops recording would never tell anybody
                log.exception("records_not_collected")

    async def flush(self) -> None:
        """Raises OSError when the disk does not take them; then they are lost, and counted."""
        await self._flush(self._journal.turn())

    async def _flush(self, identity: str) -> None:
        lines, self._lines = self._lines, []
        if self.meters.due():
            self._measures += self.meters.sample()
        requests, timings = self._attributed(lines)
        measures, self._measures = self._measures, []
        points, dropped = self.points.take()
        operations = self.operations.take()
        self._lose("points", dropped)
        lost, self._lost = self._lost, Counter()
        if not (requests or measures or points or operations or lost):
            self._journal.done(identity)
            return
        batch = {
            "columns": Record._fields,
            "requests": requests,
            "timings": timings,
            "measures": measures,
            "points": points,
            "operations": operations,
            "lost": lost,
        }
        count = len(requests) + len(points)
        try:
            dropped = await asyncio.to_thread(self._write, batch, count, identity)
        except OSError:
            self._journal.done(identity)
            self._lost.update(lost)
            self._lose("disk", count)
            raise
        self._lose("spool", dropped)
        self.shipping.wake()

    def _write(self, batch: Mapping[str, object], requests: int, identity: str) -> int:
        text = json.dumps(batch, separators=(",", ":")).encode()
        dropped = self._spool.put(gzip.compress(text, 1), requests, identity)
        self._journal.done(identity)
        return dropped

    def _attributed(self, lines: list[str]) -> tuple[list[Record], list[Timing]]:
        slots = {slot.number: slot for slot in self._state.slots() if slot.number is not None}

        def slot_of(name: str) -> Slot | None:
            return slots.get(int(name[1:])) if name[1:].isdigit() else None

        found: list[Record] = []
        timings: list[Timing] = []
        unreadable = 0
        for text in lines:
            try:
                line = read_line(text)
            except LineError:
                unreadable += 1
                continue
            entry = record(line, self._fleet.known, slot_of) if line else None
            if line is None or entry is None:
                continue
            found.append(entry)
            self.totals.add(entry)
            timings.append(timing(line, self._fleet.known(line.cell)))
            if self.listener:
                self.listener(line, entry)
        self._lose("unreadable", unreadable)
        self.total += len(found)
        return found, timings
