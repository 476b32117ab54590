"""Count, sum, average, extremes and quantiles. There is no sampling here: every point counts once."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, distinct, func, literal_column

from api.analytics.functions import need
from api.analytics.values import NUMBERS, Kind, Value, as_exact, as_float
from api.errors import NotSupported, Refused

_ANY = frozenset({Kind.TEXT, Kind.TIME}) | NUMBERS


def count(values: Sequence[Value], *, once: bool = False) -> Value:
    """Of rows; `once` of the different values."""
    if once:
        need(values, "count(DISTINCT …)", _ANY)
        return Value(func.count(distinct(values[0].sql)), Kind.WHOLE)
    return Value(func.count(), Kind.WHOLE)


def total(value: Value) -> Value:
    need([value], "sum", NUMBERS)
    if value.kind is Kind.NUMBER:
        return Value(func.coalesce(func.sum(as_float(value)), literal_column("0")), Kind.NUMBER)
    return Value(func.coalesce(func.sum(as_exact(value)), literal_column("0")), Kind.WHOLE)


def average(value: Value) -> Value:
    need([value], "avg", NUMBERS)
    return Value(func.avg(as_float(value)), Kind.NUMBER)


def extreme(name: str, value: Value) -> Value:
    """`min` or `max`."""
    need([value], name, _ANY)
    return Value(getattr(func, name)(value.sql), value.kind)


def filtered(aggregate: Value, condition: Value) -> Value:
    """`countIf` and `sumIf`."""
    need([condition], "the condition of countIf or sumIf", frozenset({Kind.TRUTH}))
    if not hasattr(aggregate.sql, "filter"):
        raise Refused("Only count and sum have a condition.")
    return Value(aggregate.sql.filter(condition.sql), aggregate.kind)


def quantile(name: str, share: float, values: Sequence[Value]) -> Value:
    """Raises NotSupported for another function of this form, Refused for a share beyond 0 to 1."""
    if name.lower() not in _QUANTILES:
        raise NotSupported(
            f"The function {name[:50]} is not supported by Skerry's Analytics Engine yet; there are "
            "quantile(q)(x) and quantileExactWeighted(q)(x, _sample_interval)."
        )
    if not 0 <= share <= 1:
        raise Refused(f"{name}({share}) is none: a quantile is between 0 and 1.")
    exact, arguments = _QUANTILES[name.lower()]
    need(values, name, *[NUMBERS] * arguments)
    at: ColumnElement[Any] = literal_column(f"{float(share)!r}::double precision")
    # The weight is `_sample_interval`, which is 1 for every point.
    function = func.percentile_disc if exact else func.percentile_cont
    return Value(function(at).within_group(as_float(values[0])), Kind.NUMBER)


# Whether the answer is one of the values, and how many arguments there are.
_QUANTILES = {
    "quantile": (False, 1),
    "quantileexact": (True, 1),
    "quantileweighted": (True, 2),
    "quantileexactweighted": (True, 2),
}
