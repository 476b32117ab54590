"""Questions about stored logs: which rows, how many over time, what they add up to."""

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    String,
    and_,
    cast,
    func,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.orm import Session

from api.errors import Refused
from api.logs import keys
from api.logs.keys import Key, Type
from api.logs.models import log_events

_of = log_events.c
EVENTS_MAX = 2000
VALUES_MAX = 1000
KEYS_READ = 10_000
# Who asks for more than this learns it, instead of everybody else.
QUERY_SECONDS = 15
_CURSOR = re.compile(r"(\d{1,17})\.(\d{1,9})\.([0-9a-z]{1,64})")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

OPERATIONS = {
    "=": "eq", "!=": "neq", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte",
    "does_not_include": "not_includes", "match_regex": "regex", "does_not_exist": "is_null",
}  # fmt: skip


@dataclass(frozen=True)
class Filter:
    """A condition on one field."""

    key: str
    operation: str
    value: Any = None
    type: Type | None = None


@dataclass(frozen=True)
class Needle:
    """Words that the message or any field of a row holds."""

    text: str
    regex: bool = False
    match_case: bool = False


@dataclass(frozen=True)
class Question:
    """Rows of one account within a time."""

    account_id: str
    begin: datetime
    end: datetime
    filters: Sequence[Filter] = ()
    any_filter: bool = False
    needle: Needle | None = None

    def conditions(self) -> ColumnElement[bool]:
        """Raises Refused for a filter that means nothing."""
        within = [_of.account_id == self.account_id, _of.at >= self.begin, _of.at < self.end]
        asked = [_condition(one) for one in self.filters]
        if asked:
            within.append(or_(*asked) if self.any_filter else and_(*asked))
        if self.needle:
            within.append(_has(self.needle))
        return and_(*within)


@contextmanager
def patiently(session: Session) -> Iterator[None]:
    """Ends a query that takes too long. Raises Refused for that, and for what Postgres cannot read."""
    session.execute(text(f"SET LOCAL statement_timeout = '{QUERY_SECONDS}s'"))
    try:
        with session.begin_nested():
            yield
    except DataError as error:
        raise Refused(f"The query cannot be read: {str(error.orig)[:300]}") from error
    except OperationalError as error:
        if "statement timeout" not in str(error.orig):
            raise
        raise Refused(
            f"The query took longer than {QUERY_SECONDS} s. Ask for a shorter time or fewer Workers."
        ) from error
    session.execute(text("SET LOCAL statement_timeout = DEFAULT"))


# Rows


def events(session: Session, question: Question, *, limit: int, cursor: str = "") -> list[Row[Any]]:
    """The newest rows, or those before the row of the cursor."""
    return list(session.execute(select_events(question, cursor).limit(limit)))


def select_events(question: Question, cursor: str = "") -> Select[Any]:
    query = select(log_events).where(question.conditions())
    if cursor:
        query = query.where(tuple_(_of.at, _of.invocation, _of.number) < tuple_(*_place(cursor)))
    return query.order_by(_of.at.desc(), _of.invocation.desc(), _of.number.desc())


def invocations(session: Session, question: Question, *, limit: int, cursor: str = "") -> list[str]:
    """The newest invocations that have a row that was asked for."""
    newest = func.max(_of.at).label("newest")
    query = select(_of.invocation, newest).where(question.conditions())
    if cursor:
        query = query.where(_of.at < _place(cursor)[0])
    query = query.group_by(_of.invocation).order_by(newest.desc(), _of.invocation).limit(limit)
    return [row.invocation for row in session.execute(query)]


def of_invocations(
    session: Session, question: Question, chosen: Sequence[str], *, limit: int
) -> list[Row[Any]]:
    """Every row of these invocations, in the order in which it happened."""
    query = select(log_events).where(
        replace(question, filters=(), needle=None).conditions(), _of.invocation.in_(chosen)
    )
    return list(session.execute(query.order_by(_of.at, _of.number).limit(limit)))


def cursor_of(row: Row[Any]) -> str:
    """What names a row in Cloudflare's `$metadata.id`, and where the next page begins."""
    microseconds = (row.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return f"{microseconds}.{row.number}.{row.invocation}"


def _place(cursor: str) -> tuple[datetime, str, int]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise Refused("`offset` is the `$metadata.id` of an event.")
    at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(found[1]))
    return at, found[3], int(found[2])


def count(session: Session, question: Question) -> int:
    """Rows that are stored."""
    query = select(func.count()).select_from(log_events).where(question.conditions())
    return session.scalar(query) or 0


@dataclass(frozen=True)
class Step:
    """A part of the time: rows stored, how many happened, how many of those failed."""

    at: datetime
    stored: int
    happened: float
    errors: float


def over_time(session: Session, question: Question, step: timedelta) -> list[Step]:
    """Every step that has rows, in order. A row counts as often as its sampling says."""
    bin_ = func.date_bin(step, _of.at, _EPOCH)
    weight = 1 / _of.rate
    failed = func.sum(weight).filter(_of.level == "error")
    query = (
        select(bin_.label("at"), func.count(), func.sum(weight), func.coalesce(failed, 0))
        .where(question.conditions())
        .group_by("at")
        .order_by("at")
    )
    return [Step(*row) for row in session.execute(query)]


# Fields


def values(
    session: Session, question: Question, key: str, asked: Type | None, limit: int
) -> list[Any]:
    """The values of a field, the most frequent first."""
    found = keys.find(key, asked).value
    query = (
        select(found.label("value"))
        .where(question.conditions(), found.is_not(None))
        .group_by("value")
        .order_by(func.count().desc(), "value")
        .limit(limit)
    )
    return list(session.scalars(query))


def logged_keys(
    session: Session, question: Question, limit: int
) -> list[tuple[str, Type, datetime]]:
    """The fields of what was logged: first and second level, the most frequent first."""
    # The newest rows stand for all: reading the fields of a million takes a minute.
    newest = select_events(question).limit(KEYS_READ).subquery()
    found: dict[str, tuple[int, Type, datetime]] = {}
    for row in session.execute(select(newest.c.at, newest.c.fields)):
        for path, value in _paths(row.fields):
            kind = _type_of(value)
            if kind:
                seen = found.get(path)
                found[path] = (seen[0] + 1 if seen else 1, kind, seen[2] if seen else row.at)
    listed = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return [(path, kind, at) for path, (_, kind, at) in listed[:limit]]


def _paths(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def _type_of(value: Any) -> Type | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else None


# Conditions


def _condition(asked: Filter) -> ColumnElement[bool]:
    operation = OPERATIONS.get(asked.operation.lower(), asked.operation.lower())
    key = keys.find(asked.key, asked.type)
    if operation == "exists":
        return key.value.is_not(None)
    if operation == "is_null":
        return key.value.is_(None)
    if operation in ("in", "not_in"):
        listed = asked.value if isinstance(asked.value, list) else str(asked.value).split(",")
        found = [_value(asked, key, one) for one in listed]
        return key.value.in_(found) if operation == "in" else _not(key, key.value.in_(found))
    return _compared(key, operation, asked)


def _not(key: Key, condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """A row without the field is not what was named."""
    return or_(key.value.is_(None), ~condition)


def _compared(key: Key, operation: str, asked: Filter) -> ColumnElement[bool]:
    if operation in _OF_WORDS:
        return _OF_WORDS[operation](_text(key), str(asked.value))
    if operation == "not_includes":
        return _not(key, _text(key).contains(str(asked.value), autoescape=True))
    if operation not in _OF_VALUES:
        raise Refused(f"There is no operation {asked.operation[:50]!r} for filters.")
    found: ColumnElement[bool] = _OF_VALUES[operation](key.value, _value(asked, key, asked.value))
    return _not(key, key.value == _value(asked, key, asked.value)) if operation == "neq" else found


_OF_WORDS: dict[str, Callable[[ColumnElement[str], str], ColumnElement[bool]]] = {
    "includes": lambda text_, words: text_.contains(words, autoescape=True),
    "starts_with": lambda text_, words: text_.startswith(words, autoescape=True),
    "regex": lambda text_, words: text_.regexp_match(words),
}
_OF_VALUES: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _text(key: Key) -> ColumnElement[str]:
    return cast(key.value, String)


def _value(asked: Filter, key: Key, value: Any) -> Any:
    """The value in the type of the field."""
    match key.type:
        case "number":
            try:
                return float(value)
            except (TypeError, ValueError) as error:
                raise Refused(f"{asked.key} is a number; {str(value)[:50]!r} is none.") from error
        case "boolean":
            return str(value).lower() == "true"
    return str(value).strip() if asked.operation.lower() in ("in", "not_in") else str(value)


def _has(needle: Needle) -> ColumnElement[bool]:
    places = (_of.message, cast(_of.fields, String), _of.url)
    if needle.regex:
        flags = None if needle.match_case else "i"
        return or_(*(place.regexp_match(needle.text, flags=flags) for place in places))
    if needle.match_case:
        return or_(*(place.contains(needle.text, autoescape=True) for place in places))
    return or_(*(place.icontains(needle.text, autoescape=True) for place in places))
