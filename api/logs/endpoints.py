"""Cloudflare's telemetry API for stored logs: a query, and the keys and values to make one of."""

import time
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from sqlalchemy.orm import Session

from api import ids
from api.clock import iso, now
from api.db import DB
from api.envelope import Envelope, answer
from api.errors import NotSupported, Refused
from api.logs import calculations, keys, queries
from api.logs.calculations import Calculation, Grouping
from api.logs.keys import KNOWN
from api.logs.queries import Question, patiently
from api.logs.schemas import CalculationIn, KeyOut, KeysIn, QueryIn, ValueOut, ValuesIn, question
from api.logs.showing import DATASET, event, milliseconds
from api.security import CurrentAccount

EVENTS = 50
STEPS = 60
KEYS_OF_DAYS = 7
# Of the view "invocations": events of the invocations that have one among the newest.
EVENTS_OF_INVOCATIONS_MAX = 10_000
router = APIRouter(
    prefix="/accounts/{account_id}/workers/observability/telemetry", tags=["observability"]
)


@router.post("/query", response_model=Envelope[dict[str, Any]])
def run_query(session: DB, account: CurrentAccount, body: QueryIn) -> dict[str, Any]:
    """Ask for stored logs: single events, whole invocations, or what they add up to."""
    _refuse(body)
    asked = question(
        account.id,
        body.timeframe.begin,
        body.timeframe.to,
        body.parameters.filters,
        body.parameters.needle,
        body.parameters.filter_combination,
    )
    began = time.monotonic()
    with patiently(session):
        found = _VIEWS[body.view](session, asked, body)
    statistics = {"elapsed": time.monotonic() - began, "rows_read": 0, "bytes_read": 0}
    return answer({"run": _run(account.id, body, statistics), "statistics": statistics, **found})


def _refuse(body: QueryIn) -> None:
    """What Skerry does not answer, each with its sentence."""
    if body.view not in _VIEWS:
        raise NotSupported(
            f"Skerry answers the views events, invocations and calculations, not {body.view}."
        )
    if body.compare:
        raise NotSupported("Skerry compares no times (`compare`): ask twice.")
    if body.parameters.havings:
        raise NotSupported("Skerry knows no `havings`: it answers every group.")
    if body.offset_direction not in (None, "next"):
        raise NotSupported("Skerry pages to older events only (`offsetDirection: next`).")
    if body.view == "calculations" and not body.parameters.calculations:
        raise Refused("The view calculations needs `parameters.calculations`.")


def _limit(body: QueryIn) -> int:
    return int(body.limit or body.parameters.limit or EVENTS)


def _step(body: QueryIn) -> timedelta:
    """Of a chart: as asked, else a part of the time; never so many that they say nothing."""
    whole_ms = body.timeframe.to - body.timeframe.begin
    given = body.granularity or whole_ms / STEPS
    return timedelta(milliseconds=max(given, whole_ms / 1000, 1))


def _events(session: Session, asked: Question, body: QueryIn) -> dict[str, Any]:
    rows = queries.events(session, asked, limit=_limit(body), cursor=body.offset or "")
    fields = [{"key": name, "type": key.type} for name, key in KNOWN.items()]
    series = [] if body.ignore_series else _series(session, asked, _step(body))
    found = {
        "count": queries.count(session, asked),
        "events": [event(row) for row in rows],
        "fields": fields,
        "series": series,
    }
    return {"events": found}


def _series(session: Session, asked: Question, step: timedelta) -> list[dict[str, Any]]:
    length = step.total_seconds()
    return [
        {
            "time": iso(one.at),
            "data": [
                {
                    "aggregates": {
                        "_count": one.stored,
                        "_interval": length,
                        "_firstSeen": iso(one.at),
                        "_lastSeen": iso(one.at + step),
                    },
                    "count": one.happened,
                    "errors": one.errors,
                    "interval": length,
                    "sampleInterval": one.happened / one.stored,
                }
            ],
        }
        for one in queries.over_time(session, asked, step)
    ]


def _invocations(session: Session, asked: Question, body: QueryIn) -> dict[str, Any]:
    """Every event of the invocations that have one that was asked for."""
    cursor, limit = body.offset or "", _limit(body)
    chosen = queries.invocations(session, asked, limit=limit, cursor=cursor)
    found: dict[str, list[dict[str, Any]]] = {one: [] for one in chosen}
    rows = queries.of_invocations(session, asked, chosen, limit=EVENTS_OF_INVOCATIONS_MAX)
    for row in rows:
        found[row.invocation].append(event(row))
    return {"invocations": found}


def _calculations(session: Session, asked: Question, body: QueryIn) -> dict[str, Any]:
    return {
        "calculations": [
            _calculated(session, asked, body, one) for one in body.parameters.calculations
        ]
    }


def _calculated(
    session: Session, asked: Question, body: QueryIn, wanted: CalculationIn
) -> dict[str, Any]:
    calculation = Calculation(wanted.operator, wanted.key or "", wanted.alias or "")
    groups = [Grouping(one.value, one.type) for one in body.parameters.group_bys]
    order = body.parameters.order_by
    ascending = order is not None and order.order == "asc"
    rows = calculations.calculate(
        session,
        asked,
        calculation,
        groups,
        descending=not ascending,
        limit=body.parameters.limit or calculations.GROUPS_MAX,
    )
    whole = (body.timeframe.to - body.timeframe.begin) / 1000
    found: dict[str, Any] = {
        "calculation": calculation.operator,
        "aggregates": [_aggregate(row, groups, whole) for row in rows if row.stored],
        "series": [] if body.ignore_series else _steps(session, asked, body, calculation, groups),
    }
    return {**found, "alias": calculation.alias} if calculation.alias else found


def _steps(
    session: Session,
    asked: Question,
    body: QueryIn,
    calculation: Calculation,
    groups: list[Grouping],
) -> list[dict[str, Any]]:
    step = _step(body)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in calculations.calculate(session, asked, calculation, groups, step=step):
        times = {"firstSeen": iso(row.first), "lastSeen": iso(row.last)}
        one = {**_aggregate(row, groups, step.total_seconds()), **times}
        found.setdefault(iso(row.at), []).append(one)
    return [{"time": at, "data": data} for at, data in found.items()]


def _aggregate(row: Any, groups: list[Grouping], seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "count": row.stored,
        "interval": seconds,
        "sampleInterval": row.happened / row.stored,
        "value": float(row.value) if row.value is not None else 0,
    }
    if groups:
        found["groups"] = [
            {"key": one.key, "value": _plain(getattr(row, f"g{number}"))}
            for number, one in enumerate(groups)
        ]
    return found


def _plain(value: Any) -> Any:
    return "" if value is None else value if isinstance(value, str | bool) else float(value)


_VIEWS = {"events": _events, "invocations": _invocations, "calculations": _calculations}


def _run(account_id: str, body: QueryIn, statistics: dict[str, Any]) -> dict[str, Any]:
    """What Cloudflare tells of the query itself; nothing of it is kept."""
    moment = iso(now())
    id_ = body.query_id or ids.uuid4()
    parameters = body.parameters.model_dump(mode="json", by_alias=True, exclude_none=True)
    owner = {"environmentId": "production", "workspaceId": account_id, "userId": account_id}
    query = {"id": id_, "created": moment, "updated": moment, "adhoc": True, **owner}
    return {
        "id": ids.uuid4(),
        "accountId": account_id,
        "dry": body.dry,
        "granularity": _step(body).total_seconds() * 1000,
        "status": "COMPLETED",
        "timeframe": {"from": body.timeframe.begin, "to": body.timeframe.to},
        "query": {**query, "parameters": parameters},
        "statistics": statistics,
        "created": moment,
        "updated": moment,
        **owner,
    }


@router.post("/keys", response_model=Envelope[list[KeyOut]])
def list_keys(session: DB, account: CurrentAccount, body: KeysIn) -> dict[str, Any]:
    """The fields that stored logs have: those of every event, and those of what was logged lately."""
    end = body.to if body.to is not None else milliseconds(now())
    begin = body.begin if body.begin is not None else end - KEYS_OF_DAYS * 86_400_000
    asked = question(account.id, max(begin, 0), end, body.filters, body.needle)
    with patiently(session):
        logged = queries.logged_keys(session, asked, int(body.limit))
    found = [{"key": name, "type": key.type, "lastSeenAt": end} for name, key in KNOWN.items()]
    found += [
        {"key": name, "type": kind, "lastSeenAt": milliseconds(at)} for name, kind, at in logged
    ]
    if body.key_needle:
        words = str(body.key_needle.value).lower()
        found = [one for one in found if words in str(one["key"]).lower()]
    return answer(found[: int(body.limit)])


@router.post("/values", response_model=Envelope[list[ValueOut]])
def list_values(session: DB, account: CurrentAccount, body: ValuesIn) -> dict[str, Any]:
    """The values that a field has, the most frequent first."""
    time_ = body.timeframe
    asked = question(account.id, time_.begin, time_.to, body.filters, body.needle)
    kind = keys.find(body.key, body.type).type
    with patiently(session):
        values = queries.values(session, asked, body.key, body.type, int(body.limit))
    shape = {"dataset": DATASET, "key": body.key, "type": kind}
    return answer([{**shape, "value": _plain(value)} for value in values])
