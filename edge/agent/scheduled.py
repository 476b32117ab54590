"""Scheduled events: delivered into a cell through its control socket, their ends told to the control plane."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import structlog

from edge.agent.background import Background
from edge.agent.cells.calling import answering, ended, post, visiting
from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.state import State
from edge.wire import Fields

# As long as Cloudflare lets a handler run.
LONGEST_SECONDS = 15 * 60.0
LOG_LINES = 200
LINE_LENGTH = 1000
# Runs that were taken lately, so that one that is sent twice runs once.
REMEMBERED = 10_000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class NoScriptError(ValueError):
    """The node does not run this script."""


@dataclass(frozen=True)
class Event:
    run_id: str
    script_id: str
    cron: str
    scheduled_ms: int


@dataclass(frozen=True)
class Run:
    """How an event ended, as it is reported."""

    run_id: str
    outcome: str
    duration_ms: int
    reason: str
    logs: list[str]


def read_event(source: object) -> Event:
    """Raises WireError."""
    fields = Fields(source, "scheduled")
    return Event(
        run_id=fields.text("run_id"),
        script_id=fields.text("script_id"),
        cron=fields.text("cron"),
        scheduled_ms=fields.whole_number("scheduled_ms"),
    )


class Scheduled:
    def __init__(self, state: State, fleet: Fleet, background: Background) -> None:
        self._state = state
        self._fleet = fleet
        self._background = background
        self._taken: dict[str, None] = {}
        self._finished: dict[str, Run] = {}
        self.on_finish: Callable[[], None] = lambda: None

    def take(self, event: Event) -> None:
        """Run it, soon and once. Raises NoScriptError."""
        if event.run_id in self._taken:
            return
        if not self._fleet.serving(event.script_id):
            raise NoScriptError(f"This node does not run the script {event.script_id}.")
        self._taken[event.run_id] = None
        while len(self._taken) > REMEMBERED:
            del self._taken[next(iter(self._taken))]
        self._background.run(self._run(event), f"scheduled {event.run_id}")

    def finished(self) -> list[dict[str, object]]:
        """What the control plane has not heard."""
        return [asdict(run) for run in self._finished.values()]

    def mark_reported(self, runs: list[dict[str, object]]) -> None:
        for run in runs:
            self._finished.pop(str(run["run_id"]), None)

    async def _run(self, event: Event) -> None:
        began = time.monotonic()
        logs: list[str] = []
        outcome, reason = "canceled", "The Worker was withdrawn."
        cell = next(iter(self._fleet.serving(event.script_id)), None)
        if cell:
            with cell.output.heard(lambda line: _note(logs, line)), visiting(cell.paths.main):
                outcome, reason = await self._deliver(cell, event)
        run = Run(
            run_id=event.run_id,
            outcome=outcome,
            duration_ms=round((time.monotonic() - began) * 1000),
            reason=reason,
            logs=logs,
        )
        self._finished[event.run_id] = run
        log.info("scheduled_event_ended", script_id=event.script_id, outcome=outcome, reason=reason)
        self.on_finish()

    async def _deliver(self, cell: Cell, event: Event) -> tuple[str, str]:
        """Outcome and reason, in Cloudflare's words."""
        if not await answering(cell):
            return "exception", cell.failing or "The Worker does not start."
        body = {"cron": event.cron, "scheduledTime": event.scheduled_ms}
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                answer = await post(cell.paths.control, "/scheduled", json.dumps(body).encode())
            if answer.status != 200:
                return ended(cell, f"it answered {answer.status}")
            return str(json.loads(answer.body)["outcome"]), ""
        except TimeoutError:
            return "canceled", f"It ran for longer than {LONGEST_SECONDS / 60:.0f} minutes."
        except (OSError, EOFError, ValueError, KeyError) as error:
            return ended(cell, str(error))


def _note(logs: list[str], line: str) -> None:
    if len(logs) < LOG_LINES:
        logs.append(line[:LINE_LENGTH])
