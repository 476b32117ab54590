"""The functions of Analytics Engine's SQL that are there, by their names in lower case."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Float, Text, cast, extract, func, literal_column

from api.analytics.values import NUMBERS, Kind, Value, as_exact, as_float
from api.errors import NotSupported, Refused

Function = Callable[[Sequence[Value]], Value]
# What an INTERVAL may be counted in, and the seconds of one; months have none.
UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}


def need(values: Sequence[Value], name: str, *kinds: frozenset[Kind]) -> None:
    """Raises Refused when a function is given something else."""
    if len(values) != len(kinds):
        raise Refused(f"{name} takes {len(kinds)} arguments, not {len(values)}.")
    for value, allowed in zip(values, kinds, strict=True):
        if value.kind not in allowed:
            raise Refused(f"{name} cannot be used with a value of type {value.kind}.")


_TEXT, _TIME = frozenset({Kind.TEXT}), frozenset({Kind.TIME})


def _start_of(unit: str) -> Function:
    def start(values: Sequence[Value]) -> Value:
        need(values, f"toStartOf{unit.title()}", _TIME)
        zone: ColumnElement[str] = literal_column("'UTC'")
        return Value(func.date_trunc(literal_column(f"'{unit}'"), values[0].sql, zone), Kind.TIME)

    return start


def _now(values: Sequence[Value]) -> Value:
    need(values, "now")
    return Value(func.now(), Kind.TIME)


def _start_of_interval(values: Sequence[Value]) -> Value:
    need(values, "toStartOfInterval", _TIME, frozenset({Kind.SPAN}))
    origin: ColumnElement[datetime] = literal_column("'1970-01-01 00:00:00+00'::timestamptz")
    return Value(func.date_bin(values[1].sql, values[0].sql, origin), Kind.TIME)


def _seconds(values: Sequence[Value]) -> Value:
    """`toUInt32` and `toUnixTimestamp` of a time are its seconds since 1970."""
    need(values, "toUInt32", NUMBERS | _TIME)
    (value,) = values
    if value.kind is Kind.TIME:
        return Value(func.floor(extract("epoch", value.sql)), Kind.WHOLE)
    return Value(func.trunc(as_exact(value)), Kind.WHOLE)


def _to_time(values: Sequence[Value]) -> Value:
    need(values, "toDateTime", NUMBERS | _TIME)
    (value,) = values
    return (
        value if value.kind is Kind.TIME else Value(func.to_timestamp(as_float(value)), Kind.TIME)
    )


def _int_div(values: Sequence[Value]) -> Value:
    need(values, "intDiv", NUMBERS, NUMBERS)
    zero: ColumnElement[int] = literal_column("0")
    divided = as_exact(values[0]) / func.nullif(as_exact(values[1]), zero)
    return Value(func.trunc(divided), Kind.WHOLE)


def _of_number(name: str) -> Function:
    def work(values: Sequence[Value]) -> Value:
        need(values, name, NUMBERS)
        return Value(getattr(func, name)(as_float(values[0])), Kind.NUMBER)

    return work


def _of_text(name: str) -> Function:
    def work(values: Sequence[Value]) -> Value:
        need(values, name, _TEXT)
        return Value(getattr(func, name)(values[0].sql), Kind.TEXT)

    return work


def _length(values: Sequence[Value]) -> Value:
    need(values, "length", _TEXT)
    return Value(func.octet_length(values[0].sql), Kind.WHOLE)


def _to_text(values: Sequence[Value]) -> Value:
    need(values, "toString", NUMBERS | _TEXT)
    return Value(cast(values[0].sql, Text), Kind.TEXT)


def _to_float(values: Sequence[Value]) -> Value:
    need(values, "toFloat64", NUMBERS)
    return Value(cast(values[0].sql, Float), Kind.NUMBER)


FUNCTIONS: dict[str, Function] = {
    "now": _now,
    "tostartofinterval": _start_of_interval,
    **{f"tostartof{unit}": _start_of(unit) for unit in ("minute", "hour", "day", "month", "year")},
    "touint32": _seconds,
    "tounixtimestamp": _seconds,
    "todatetime": _to_time,
    "intdiv": _int_div,
    "tofloat64": _to_float,
    "tostring": _to_text,
    **{name: _of_number(name) for name in ("abs", "ceil", "floor", "round", "exp", "ln", "sqrt")},
    "lower": _of_text("lower"),
    "upper": _of_text("upper"),
    "length": _length,
}


def call(name: str, values: Sequence[Value]) -> Value:
    """Raises NotSupported for a name that is not there."""
    function = FUNCTIONS.get(name.lower())
    if function is None:
        raise NotSupported(
            f"The function {name[:50]} is not supported by Skerry's Analytics Engine yet. There are: "
            f"{', '.join(sorted(FUNCTIONS))}."
        )
    return function(values)


def interval(count: str, unit: str) -> Value:
    """Raises Refused for what is no length of time."""
    unit = unit.lower().removesuffix("s")
    if unit not in UNITS or not count.isdigit() or int(count) * UNITS[unit] > 3_650 * 86_400:
        raise Refused(
            f"INTERVAL '{count[:20]}' {unit[:20].upper()} is none: write INTERVAL '5' MINUTE, in "
            f"{', '.join(UNITS)}."
        )
    return Value(literal_column(f"interval '{int(count)} {unit}'"), Kind.SPAN)
