"""Live tails: what scripts that somebody looks at do, sent to the control plane as it happens.

While a script is tailed its cell is exchanged for one that tells each invocation as `wrangler tail`
shows it (edge/cell/platform.js). Until then, and for what such a cell cannot tell (it was killed, or
never started), the front's record and the lines on the cell's output have to do. Events wait in a
list of a fixed length: what comes on top is dropped and counted, and no cell waits for anybody.
"""

import asyncio
import json
import time
from collections import Counter

import structlog

from edge.agent.cells.cell import Cell, StartError
from edge.agent.cells.fleet import Fleet
from edge.agent.deployer import Deployer
from edge.agent.desired import companion_of
from edge.agent.front.front import FrontRefusedError
from edge.agent.front.log import Line
from edge.agent.gateway import Gateway, GatewayError
from edge.agent.hearing import Event
from edge.agent.records.attribution import Outcome, Record, outcome, shown_status

SEND_SECONDS = 0.25
RETRY_SECONDS = 1.0
# Without the control plane nobody looks any more.
FORGOTTEN_SECONDS = 60.0
WAITING_MAX = 2000
# A script that does more shows a part of it.
EVENTS_PER_SECOND = 500
# What wrangler knows; the cell tells these itself.
TOLD = {Outcome.OK: "ok", Outcome.EXCEPTION: "exception", Outcome.CANCELED: "canceled"}
UNTOLD = {Outcome.EXCEEDED_CPU: "exceededCpu", Outcome.EXCEEDED_MEMORY: "exceededMemory"}

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Tails:
    def __init__(self, fleet: Fleet, deployer: Deployer) -> None:
        self._fleet = fleet
        self._deployer = deployer
        self._waiting: list[Event] = []
        self._dropped: Counter[str] = Counter()
        self._second = 0
        self._heard: Counter[str] = Counter()

    # What happens

    def wants(self, cell: Cell) -> bool:
        return cell.record.script_id in self._fleet.tailed

    def told(self, cell: Cell, event: Event | None) -> None:
        """Of Cloudflare's events, wrangler knows no subrequests."""
        shown = event and {name: value for name, value in event.items() if name != "subrequests"}
        self._add(cell.record.script_id, cell.record.version_id, shown)

    def printed(self, cell: Cell, line: bytes) -> None:
        if not cell.tells and self.wants(cell):
            self._add(cell.record.script_id, cell.record.version_id, _printed(line))

    follows = wants

    def visited(self, line: Line, entry: Record) -> None:
        if entry.script_id not in self._fleet.tailed:
            return
        cell = self._fleet.known(line.cell)
        went = outcome(line, cell)
        if cell and cell.tells and went in TOLD:
            return
        self._add(entry.script_id, entry.version_id, event_of_visit(line, went))

    def _add(self, script_id: str, version_id: str, event: Event | None) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._heard.clear()
        self._heard[script_id] += 1
        full = len(self._waiting) >= WAITING_MAX or self._heard[script_id] > EVENTS_PER_SECOND
        if event is None or full:
            self._dropped[script_id] += 1
            return
        self._waiting.append({"script_id": script_id, "version_id": version_id, "event": event})

    # Who looks

    async def follow(self, gateway: Gateway) -> None:
        """Ask the control plane for ever which scripts are tailed."""
        known: list[str] = []
        heard = time.monotonic()
        while True:
            try:
                found = await gateway.tailed(known)
                heard = time.monotonic()
            except GatewayError:
                await asyncio.sleep(RETRY_SECONDS)
                if time.monotonic() - heard < FORGOTTEN_SECONDS:
                    continue
                found = []
            await self._change(set(known) ^ set(found), set(found))
            known = found

    async def _change(self, changed: set[str], tailed: set[str]) -> None:
        self._fleet.tailed = tailed
        for slot_id in sorted(changed | {companion_of(one) for one in changed}):
            cells = self._fleet.serving(slot_id)
            if not cells or self._fleet.owns_storage(slot_id):
                continue
            if self._fleet.observed(slot_id):
                continue  # its cells tell everything already
            for cell in cells:
                cell.patient = True  # nobody's WebSocket ends because somebody looks
            try:
                await self._deployer.renew(slot_id)
            except (StartError, FrontRefusedError) as error:
                log.warning("tail_without_details", slot_id=slot_id, reason=str(error))

    # On their way

    async def send(self, gateway: Gateway) -> None:
        """Send what was heard, several times a second, for ever."""
        while True:
            await asyncio.sleep(SEND_SECONDS)
            events, self._waiting = self._waiting, []
            dropped, self._dropped = self._dropped, Counter()
            counts = [{"script_id": one, "dropped": count} for one, count in dropped.items()]
            if not events and not counts:
                continue
            try:
                await gateway.show([*events, *counts])
            except GatewayError:
                self._dropped += dropped + Counter(str(one["script_id"]) for one in events)


def _printed(line: bytes) -> Event:
    text = line.decode(errors="replace")
    level, at = "log", time.time_ns() // 1_000_000
    try:
        fields = json.loads(text)
        text, level, at = str(fields["message"]), str(fields["level"]), int(fields["timestamp"])
    except (ValueError, KeyError, TypeError):
        pass
    printed = {"message": [text], "level": level, "timestamp": at}
    return _event("ok", at, None, [printed])


def event_of_visit(line: Line, went: Outcome) -> Event:
    """What the front knows of a request, as a cell would have told it."""
    headers = {"host": line.host, "cf-connecting-ip": line.client, "cf-ray": line.ray}
    asked = {
        "url": f"{line.scheme}://{line.host}{line.path}",
        "method": line.method,
        "headers": headers,
        "cf": {},
    }
    event = {"request": asked, "response": {"status": shown_status(line)}}
    return _event((TOLD | UNTOLD).get(went, "unknown"), line.began_us // 1000, event, [])


def _event(went: str, at_ms: int, event: object, logs: list[object]) -> Event:
    return {
        "outcome": went,
        "eventTimestamp": at_ms,
        "event": event,
        "logs": logs,
        "exceptions": [],
    }
