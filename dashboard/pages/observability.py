"""Stored logs: found by time, words and any field; counted, and taken along as lines of JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import Row
from sqlalchemy.orm import Session
from starlette.datastructures import QueryParams

from api.clock import now
from api.db import DB, transaction
from api.errors import Refused
from api.logs import calculations, queries
from api.logs.keys import KNOWN
from api.logs.queries import Filter, Needle, Question, Step, patiently
from api.logs.showing import event
from dashboard.session import CurrentMember
from dashboard.templating import render

PER_PAGE = 50
STEPS = 60
EXPORT_MAX = 100_000
EXPORT_AT_ONCE = 1000
FILTERS_MAX = 10
LETTERS_MAX = 1000
# Of the message in the list; the rest is in what unfolds.
SHOWN_LETTERS = 300
TIMES = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last day", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
}
OPERATIONS = {
    "eq": "is",
    "neq": "is not",
    "includes": "has",
    "not_includes": "has not",
    "starts_with": "begins with",
    "regex": "matches",
    "gt": "is more than",
    "gte": "is at least",
    "lt": "is less than",
    "lte": "is at most",
    "exists": "is there",
    "is_null": "is not there",
}
_NUMBERS = frozenset({"gt", "gte", "lt", "lte"})
LEVELS = {"error": "failed", "warn": "alert"}
router = APIRouter()
Words = Annotated[str, Query(max_length=1000)]


@dataclass(frozen=True)
class Asked:
    """The page's query, as its address has it."""

    time: str
    begin: str
    end: str
    worker: str
    search: str
    filters: list[tuple[str, str, str]]

    def pairs(self, **more: str) -> list[tuple[str, str]]:
        named = {"time": self.time, "from": self.begin, "to": self.end, "worker": self.worker}
        named |= {"search": self.search, **more}
        found = [(name, text) for name, text in named.items() if text]
        for one in self.filters:
            found += zip(("key", "is", "value"), one, strict=True)
        return found

    def address(self, path: str, **more: str) -> str:
        """The same query as somebody else may open it."""
        return f"{path}?{urlencode(self.pairs(**more))}"

    def question(self, account_id: str) -> Question:
        """Raises Refused for a time that cannot be read, or that ends before it begins."""
        end = _moment(self.end) or now()
        begin = _moment(self.begin) or end - TIMES[self.time][1]
        if begin >= end:
            raise Refused("The time ends before it begins.")
        filters = [_filter(*one) for one in self.filters]
        if self.worker:
            filters.append(Filter("$metadata.service", "eq", self.worker))
        needle = Needle(self.search) if self.search else None
        return Question(account_id, begin, end, filters, needle=needle)


def _filter(key: str, operation: str, value: str) -> Filter:
    return Filter(key, operation, value, "number" if operation in _NUMBERS else None)


def _moment(text: str) -> datetime | None:
    """Of a field for date and time, in UTC."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
    except ValueError as error:
        raise Refused(f"{text[:40]!r} is no time: write 2026-01-31T13:45 (UTC).") from error


def read(given: QueryParams) -> Asked:
    """What an address asks for; a form without JavaScript sends its filters as rows of three."""
    rows = zip(given.getlist("key"), given.getlist("is"), given.getlist("value"), strict=False)
    filters = [
        (_words(key), operation, _words(value))
        for key, operation, value in rows
        if key.strip() and operation in OPERATIONS
    ]
    time = given.get("time", "")
    return Asked(
        time=time if time in TIMES else "1h",
        begin=_words(given.get("from", "")),
        end=_words(given.get("to", "")),
        worker=_words(given.get("worker", "")),
        search=_words(given.get("search", "")),
        filters=filters[:FILTERS_MAX],
    )


def _words(text: str) -> str:
    return text.strip().replace("\0", "")[:LETTERS_MAX]


@dataclass(frozen=True)
class Bar:
    """A step of the chart, in the units of its drawing."""

    x: float
    height: float
    failed: float


@dataclass(frozen=True)
class Found:
    """Everything that the page shows of an answer."""

    rows: list[dict[str, Any]]
    older: str
    steps: list[Step]
    bars: list[Bar]
    begin: datetime
    end: datetime
    happened: float
    errors: float
    stored: int
    durations: dict[str, float | None]


@router.get("/logs")
def show(request: Request, session: DB, member: CurrentMember, before: Words = "") -> Response:
    query = read(request.query_params)
    problem, found = "", None
    try:
        with patiently(session):
            found = _found(session, query, query.question(member.account.id), before)
    except Refused as refusal:
        problem = refusal.message
    return render(
        request,
        "observability/index.html",
        status_code=400 if problem else 200,
        asked=query,
        problem=problem,
        found=found,
        times={name: words for name, (words, _) in TIMES.items()},
        operations=OPERATIONS,
        keys=[(name, key.label) for name, key in KNOWN.items() if key.label],
        export=query.address("/logs/export"),
        newest=query.address("/logs") if before else "",
        kept=_fixed(query, found) if found else "",
    )


def _fixed(query: Asked, found: Found) -> str:
    """An address that shows the same tomorrow: whole seconds around this time."""
    end = found.end.replace(microsecond=0) + timedelta(seconds=1)
    times = {"from": f"{found.begin:%Y-%m-%dT%H:%M:%S}", "to": f"{end:%Y-%m-%dT%H:%M:%S}"}
    return query.address("/logs", **times)


def _found(session: Session, query: Asked, question: Question, before: str) -> Found:
    rows = queries.events(session, question, limit=PER_PAGE + 1, cursor=before)
    shown = rows[:PER_PAGE]
    older = queries.cursor_of(shown[-1]) if len(rows) > PER_PAGE else ""
    step = max((question.end - question.begin) / STEPS, timedelta(seconds=1))
    steps = queries.over_time(session, question, step)
    return Found(
        rows=[shown_row(row) for row in shown],
        older=query.address("/logs", before=older) if older else "",
        steps=steps,
        bars=_bars(steps, question, step),
        begin=question.begin,
        end=question.end,
        happened=sum(one.happened for one in steps),
        errors=sum(one.errors for one in steps),
        stored=sum(one.stored for one in steps),
        durations=calculations.durations(session, question),
    )


def _bars(steps: list[Step], question: Question, step: timedelta) -> list[Bar]:
    """In a drawing of STEPS by 40."""
    most = max((one.happened for one in steps), default=1)
    return [
        Bar(
            x=max((one.at - question.begin) / step, 0),
            height=max(38 * one.happened / most, 0.5),
            failed=38 * one.errors / most,
        )
        for one in steps
    ]


def shown_row(row: Row[Any]) -> dict[str, Any]:
    """A stored event as both pages have it: what stands in the list, and what unfolds."""
    stack = row.fields.get("stack", "") if row.kind == "exception" else ""
    fields = {name: value for name, value in row.fields.items() if name != "stack" or not stack}
    return {
        "row": row,
        "kind": LEVELS.get(row.level, "idle"),
        "message": row.message[:SHOWN_LETTERS],
        "rest": row.message if len(row.message) > SHOWN_LETTERS else "",
        "stack": stack,
        "fields": json.dumps(fields, indent=2, ensure_ascii=False) if fields else "",
        "duration_ms": None if row.duration_us is None else row.duration_us / 1000,
    }


@router.get("/logs/export")
def export(request: Request, session: DB, member: CurrentMember) -> Response:
    """The newest of the answer, a line of JSON each, as Cloudflare's telemetry tells an event."""
    question = read(request.query_params).question(member.account.id)
    with patiently(session):
        queries.events(session, question, limit=1)  # refused now, while that can be said
    name = f"logs-{question.end:%Y%m%d-%H%M%S}.jsonl"
    return StreamingResponse(
        _lines(question),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _lines(question: Question) -> Iterator[str]:
    """In pages with a transaction each, so that a slow reader holds none."""
    cursor = ""
    for _ in range(EXPORT_MAX // EXPORT_AT_ONCE):
        with transaction() as session, patiently(session):
            rows = queries.events(session, question, limit=EXPORT_AT_ONCE, cursor=cursor)
        yield "".join(json.dumps(event(row), ensure_ascii=False) + "\n" for row in rows)
        if len(rows) < EXPORT_AT_ONCE:
            return
        cursor = queries.cursor_of(rows[-1])
