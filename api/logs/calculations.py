"""What rows add up to: Cloudflare's calculations, over all of the time and in steps of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, Row, cast, func, select, text
from sqlalchemy.orm import Session

from api.errors import Refused
from api.logs import keys
from api.logs.keys import Type
from api.logs.models import log_events
from api.logs.queries import Question

_of = log_events.c
GROUPS_MAX = 2000
_EPOCH = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
_PERCENTILE = re.compile(r"p(\d{2,3})")
_weight = 1 / _of.rate


@dataclass(frozen=True)
class Calculation:
    """A number over a group of rows."""

    operator: str
    key: str = ""
    alias: str = ""


@dataclass(frozen=True)
class Grouping:
    key: str
    type: Type | None = None


def expression(asked: Calculation) -> ColumnElement[Any]:
    """Sums and counts are of what happened: a row counts as often as its sampling says. The rest is
    of the rows that are stored. Raises Refused."""
    operator = asked.operator.lower()
    if operator == "count":
        return func.sum(_weight)
    if not asked.key:
        raise Refused(f"The calculation {asked.operator} needs a `key`.")
    if operator in ("uniq", "count_distinct"):
        return func.count(keys.find(asked.key).value.distinct())
    key = keys.find(asked.key, "number")
    if key.type != "number":
        raise Refused(f"{asked.operator} needs a number, and {asked.key} is none.")
    value = cast(key.value, Float)
    share = _share(operator)
    if share is not None:
        return func.percentile_cont(share).within_group(value)
    known: dict[str, ColumnElement[Any]] = {
        "sum": func.sum(value * _weight),
        "avg": func.sum(value * _weight) / func.sum(_weight).filter(value.is_not(None)),
        "min": func.min(value),
        "max": func.max(value),
        "stddev": func.stddev_pop(value),
        "variance": func.var_pop(value),
    }
    if operator not in known:
        raise Refused(f"There is no calculation {asked.operator[:50]!r}.")
    return known[operator]


def _share(operator: str) -> float | None:
    """`p99` and `p999` are shares of the digits after the point: 0.99, 0.999."""
    if operator == "median":
        return 0.5
    found = _PERCENTILE.fullmatch(operator)
    return float(f"0.{found[1]}") if found else None


def durations(session: Session, question: Question) -> dict[str, float | None]:
    """Milliseconds that 50, 95 and 99 % of the invocations with a row that was asked for did not
    exceed."""
    took = func.max(_of.duration_us) / 1000.0
    each = select(took.label("ms")).where(question.conditions()).group_by(_of.invocation).subquery()
    share = func.percentile_cont([0.5, 0.95, 0.99]).within_group(each.c.ms)
    found = session.scalar(select(share).where(each.c.ms.is_not(None))) or [None] * 3
    return dict(zip(("p50", "p95", "p99"), found, strict=True))


def calculate(
    session: Session,
    question: Question,
    asked: Calculation,
    groups: Sequence[Grouping],
    *,
    step: timedelta | None = None,
    descending: bool = True,
    limit: int = GROUPS_MAX,
) -> list[Row[Any]]:
    """Rows with `value`, `stored`, `happened`, `first` and `last`, the groups as `g0`, `g1` …, and
    `at` when there is a step."""
    columns: list[ColumnElement[Any]] = [
        keys.find(one.key, one.type).value.label(f"g{number}") for number, one in enumerate(groups)
    ]
    if step:
        columns.append(func.date_bin(step, _of.at, _EPOCH).label("at"))
    query = select(
        *columns,
        expression(asked).label("value"),
        func.count().label("stored"),
        func.sum(_weight).label("happened"),
        func.min(_of.at).label("first"),
        func.max(_of.at).label("last"),
    ).where(question.conditions())
    if columns:
        query = query.group_by(*(text(one.name) for one in columns if hasattr(one, "name")))
    if step:
        query = query.order_by(text("at"))
    else:
        query = query.order_by(text(f"value {'DESC' if descending else 'ASC'} NULLS LAST"))
    return list(session.execute(query.limit(limit)))
