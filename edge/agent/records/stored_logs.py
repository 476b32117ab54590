"""Stored logs: what the invocations of scripts with `observability` printed and threw, on its way.

An invocation waits a moment for the front's record of the same request, which knows its status and
how long it took. Then it goes into a batch, the batch into a spool of its own, and from there to the
control plane as request records do (recorder.py).
"""

import asyncio
import gzip
import json
import random
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass

import structlog

from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.front.log import Line
from edge.agent.hearing import Event
from edge.agent.observability import Observed, observed_of
from edge.agent.records.attribution import Record, outcome
from edge.agent.records.shipping import Shipping
from edge.agent.records.spool import Spool
from edge.agent.state import State
from edge.agent.tails import TOLD, event_of_visit

COLLECT_SECONDS = 1.0
# How long an invocation waits for the front's line, and the line for it: the recorder reads the
# lines of a second at once.
PATIENCE_SECONDS = 3.0
# What waits at one time; beyond it the agent would grow without limit.
WAITING_MAX = 20_000
WAITING_LETTERS = 64 * 1024 * 1024
# Of one batch, before it is packed.
BATCH_LETTERS = 16 * 1024 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Told = dict[str, object]


@dataclass
class _Waiting:
    told: Told
    ray: str
    heard: float
    letters: int


class StoredLogs:
    def __init__(self, *, state: State, fleet: Fleet, spool: Spool) -> None:
        self._state = state
        self._fleet = fleet
        self._waiting: list[_Waiting] = []
        self._letters = 0
        self._front: OrderedDict[str, tuple[float, Told]] = OrderedDict()
        self._lost: Counter[str] = Counter()
        self._sampled: Observed | None = None
        self._spool = spool
        self.shipping = Shipping(spool, self._lose)

    # What happens

    def wants(self, cell: Cell) -> bool:
        """The dice of the head sampling are thrown here, before anything is read."""
        self._sampled = self._chosen(cell.record.script_id, cell.record.version_id)
        return self._sampled is not None

    def told(self, cell: Cell, event: Event | None) -> None:
        if event is None:
            self._lose("unreadable", 1)
        elif self._sampled:
            record = cell.record
            self._add(record.script_id, record.version_id, self._sampled, event)

    def printed(self, cell: Cell, line: bytes) -> None:
        """A cell that tells its invocations tells their lines, too."""

    def follows(self, cell: Cell) -> bool:
        slot = self._state.slot(cell.record.script_id)
        return observed_of(slot, cell.record.version_id) is not None

    def visited(self, line: Line, entry: Record) -> None:
        script_id, version_id = entry.script_id, entry.version_id
        if observed_of(self._state.slot(script_id), version_id) is None:
            return
        self._front[line.ray] = (
            time.monotonic(),
            {"status": entry.status, "duration_us": entry.duration_us, "cold": entry.cold},
        )
        cell = self._fleet.known(line.cell)
        went = outcome(line, cell)
        if went in TOLD:
            return  # its cell tells it
        if chosen := self._chosen(script_id, version_id):
            self._add(script_id, version_id, chosen, event_of_visit(line, went))

    def _chosen(self, script_id: str, version_id: str) -> Observed | None:
        found = observed_of(self._state.slot(script_id), version_id)
        return found if found and (found.rate >= 1 or random.random() < found.rate) else None

    def _add(self, script_id: str, version_id: str, chosen: Observed, event: Event) -> None:
        letters = len(json.dumps(event))
        if len(self._waiting) >= WAITING_MAX or self._letters + letters > WAITING_LETTERS:
            self._lose("agent", 1)
            return
        told: Told = {
            "script_id": script_id,
            "version_id": version_id,
            "rate": chosen.rate,
            "invocation": chosen.invocations,
            "heard_ms": time.time_ns() // 1_000_000,
            "event": event,
        }
        self._waiting.append(_Waiting(told, _ray(event), time.monotonic(), letters))
        self._letters += letters

    def _lose(self, reason: str, count: int) -> None:
        if count:
            log.warning("logs_lost", reason=reason, invocations=count)
            self._lost[f"log_{reason}"] += count

    # On their way

    async def collect(self) -> None:
        """Put what was heard into batches, every second, for ever."""
        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            try:
                await self.flush()
            except OSError as error:
                log.error("logs_not_spooled", reason=str(error))
            except Exception:  # a node that stops storing would never tell anybody
                log.exception("logs_not_collected")

    async def flush(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Raises OSError when the disk does not take them; then they are lost, and counted."""
        before = time.monotonic() - patience_seconds
        ready: list[_Waiting] = []
        waiting: list[_Waiting] = []
        for one in self._waiting:
            found = self._front.get(one.ray) if one.ray else None
            if found:
                one.told["front"] = found[1]
            (ready if found or not one.ray or one.heard <= before else waiting).append(one)
        self._waiting = waiting
        self._letters = sum(one.letters for one in waiting)
        while self._front and next(iter(self._front.values()))[0] < before - PATIENCE_SECONDS:
            self._front.popitem(last=False)
        for part in _parts(ready):
            await self._write(part)
        if self._lost:
            await self._write([])

    async def _write(self, events: list[Told]) -> None:
        lost, self._lost = self._lost, Counter()
        batch: dict[str, object] = {"events": events, "lost": lost}
        try:
            dropped = await asyncio.to_thread(self._put, batch, len(events))
        except OSError:
            self._lost.update(lost)
            self._lose("disk", len(events))
            raise
        self._lose("spool", dropped)
        self.shipping.wake()

    def _put(self, batch: dict[str, object], events: int) -> int:
        text = json.dumps(batch, separators=(",", ":")).encode()
        return self._spool.put(gzip.compress(text, 1), events)


def _parts(ready: list[_Waiting]) -> list[list[Told]]:
    """Batches of a bounded size."""
    parts: list[list[Told]] = []
    room = 0
    for one in ready:
        if one.letters > room:
            parts.append([])
            room = BATCH_LETTERS
        parts[-1].append(one.told)
        room -= one.letters
    return parts


def _ray(event: Event) -> str:
    """The Ray id of a visitor's request."""
    about = event.get("event")
    request = about.get("request") if isinstance(about, dict) else None
    headers = request.get("headers") if isinstance(request, dict) else None
    ray = headers.get("cf-ray", "") if isinstance(headers, dict) else ""
    return str(ray).partition("-")[0]
