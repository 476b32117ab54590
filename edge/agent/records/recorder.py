"""Collects what the front said in a second, writes it to the spool and ships it.

Lines wait in a journal until then, so an agent that dies loses none that it had read. From the spool on
nothing is lost or counted twice: a batch keeps its id however often it is sent.
"""

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Mapping

import structlog

from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.front.front import Front
from edge.agent.front.log import LineError, read_line
from edge.agent.hearing import Hearing
from edge.agent.records.attribution import Record, Timing, record, timing
from edge.agent.records.journal import Journal
from edge.agent.records.meters import Measure, Meters
from edge.agent.records.operations import Operations
from edge.agent.records.points import Points
from edge.agent.records.sampling import Sampling
from edge.agent.records.shipping import Shipping
from edge.agent.records.spool import Spool
from edge.agent.records.sums import Sums, Thinning
from edge.agent.records.totals import Totals
from edge.agent.state import Slot, State

COLLECT_SECONDS = 1.0
# More than the front can say in that time; beyond it the agent would grow without limit.
MOST_LINES = 50_000
# The front's own count of lines it could not write, asked this rarely. It goes with the front's process.
DROPS_SECONDS = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


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
        limit: int,
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
        self.hearing: Hearing | None = None
        """Hears of every request as it is recorded."""
        self._thinning = Thinning(limit, self._unheard)
        self._sampling = Sampling(limit, fleet.known)

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
        self._sampling.inherit(cell.name for cell in self._fleet.all())
        for identity, written in self._journal.left():
            lines = self._sampling.recall(written)
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
                await self._sample()
            except OSError as error:
                log.error("records_not_spooled", reason=str(error))
            except Exception:  # a node that stops recording would never tell anybody
                log.exception("records_not_collected")

    async def _sample(self) -> None:
        """Have the front say less of cells that are busy now, and all of those that somebody looks at. Raises
        OSError when the disk does not take which they are."""
        chosen = self._sampling.decide(self._front.sampled)
        await self._front.sample({name: of for name, of in chosen.items() if self._unheard(name)})

    async def flush(self) -> None:
        """Raises OSError when the disk does not take them; then they are lost, and counted."""
        await self._flush(self._journal.turn())

    async def _flush(self, identity: str) -> None:
        lines, self._lines = self._lines, []
        if self.meters.due():
            self._measures += self.meters.sample()
        sums = Sums()
        requests, timings = self._attributed(lines, sums)
        if known := self._sampling.known(self._front.sampled):
            self._journal.add(known)  # before any line of the next batch
        measures, self._measures = self._measures, []
        points, dropped = self.points.take()
        operations = self.operations.take()
        self._lose("points", dropped)
        lost, self._lost = self._lost, Counter()
        added_up = sums.as_json()
        if not (requests or added_up or measures or points or operations or lost):
            self._journal.done(identity)
            return
        batch = {
            "columns": Record._fields,
            "requests": requests,
            "timings": timings,
            "sums": added_up,
            "measures": measures,
            "points": points,
            "operations": operations,
            "lost": lost,
        }
        count = len(requests) + sums.requests + len(points)
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

    def _attributed(self, lines: list[str], sums: Sums) -> tuple[list[Record], list[Timing]]:
        slots = {slot.number: slot for slot in self._state.slots() if slot.number is not None}

        def slot_of(name: str) -> Slot | None:
            return slots.get(int(name[1:])) if name[1:].isdigit() else None

        found: list[Record] = []
        timings: list[Timing] = []
        unreadable = 0
        kept: Counter[str] = Counter()
        self._lose("agent", self._sampling.take(lines, sums))
        most = self._thinning.most(lines)
        for text in self._thinning.divide(lines, sums):
            try:
                line = read_line(text)
            except LineError:
                unreadable += 1
                continue
            entry = record(line, self._fleet.known, slot_of) if line else None
            if line is None or entry is None:
                continue
            cell = self._fleet.known(line.cell)
            kept[entry.script_id] += 1
            # What did not go as usual is more telling, but may be just as much.
            if kept[entry.script_id] > most and not self._heard(cell):
                sums.add(entry)
                continue
            found.append(entry)
            self.totals.add(entry)
            timings.append(timing(line, cell))
            if self.hearing:
                self.hearing.hear_request(line, entry)
        self._lose("unreadable", unreadable)
        self.totals.add_sums(sums)
        self.total += len(found) + sums.requests
        return found, timings

    def _heard(self, cell: Cell | None) -> bool:
        """Whether somebody wants to hear of each of its requests."""
        return cell is not None and self.hearing is not None and self.hearing.follows(cell)

    def _unheard(self, name: str) -> Cell | None:
        cell = self._fleet.known(name)
        return None if self._heard(cell) else cell
