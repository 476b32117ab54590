"""What an expression of Analytics Engine's SQL becomes in ours, and of which of ClickHouse's types it is."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Float, Numeric, cast, literal_column

from api.errors import Refused


class Kind(StrEnum):
    """Called as ClickHouse calls them."""

    TEXT = "String"
    NUMBER = "Float64"
    WHOLE = "UInt64"
    TIME = "DateTime"
    TRUTH = "UInt8"
    SPAN = "Interval"


NUMBERS = frozenset({Kind.NUMBER, Kind.WHOLE, Kind.TRUTH})


@dataclass(frozen=True)
class Value:
    sql: ColumnElement[Any]
    kind: Kind


def number(text: str) -> Value:
    """Written out and not bound: two parameters of the same number are two expressions to Postgres,
    which then misses the one that is grouped by."""
    try:
        found = Decimal(text)
    except ArithmeticError as error:
        raise Refused(f"{text[:50]} is no number.") from error
    if not found.is_finite() or abs(found) > Decimal("1e300") or len(text) > 50:
        raise Refused(f"{text[:50]} is no number that can be used here.")
    whole = found == found.to_integral_value() and "." not in text and "e" not in text.lower()
    if whole and abs(found) < 2**63:
        return Value(literal_column(f"({int(found)}::bigint)"), Kind.WHOLE)
    return Value(literal_column(f"({float(found)!r}::double precision)"), Kind.NUMBER)


def as_float(value: Value) -> ColumnElement[Any]:
    return cast(value.sql, Float)


def as_exact(value: Value) -> ColumnElement[Any]:
    """For sums and remainders of whole numbers, which must not run over."""
    return cast(value.sql, Numeric)


def read_time(text: str) -> datetime:
    """`YYYY-MM-DD`, with a time or without. Raises Refused."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise Refused(f"'{text[:50]}' is no time. Write it as '2026-11-17 08:00:00'.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def shown(value: Any, kind: Kind) -> Any:
    """As ClickHouse writes it into JSON, where integers of 64 bits are text."""
    if value is None:
        return None
    if kind is Kind.TIME:
        moment: datetime = value
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    if kind is Kind.WHOLE:
        return str(int(value))
    if kind is Kind.TRUTH:
        return int(value)
    return float(value) if kind is Kind.NUMBER else str(value)
