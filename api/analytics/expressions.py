"""Expressions of a query, from sqlglot's tree to SQLAlchemy's: only what is named here passes, and text of
a query becomes a parameter."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Float, and_, case, cast, func, literal, literal_column, not_, or_
from sqlglot import exp

from api.analytics import aggregates, functions
from api.analytics.models import data_points
from api.analytics.values import NUMBERS, Kind, Value, as_exact, as_float, number, read_time
from api.errors import NotSupported, Refused

_PLACES = range(1, 21)
# Of the expressions of one query, all its names written out.
STEPS_MAX = 5_000


def _columns() -> dict[str, Value]:
    """What a dataset has. A blob that was not written is empty, a double is 0."""
    of = data_points.c
    found = {
        "timestamp": Value(of.at, Kind.TIME),
        "dataset": Value(of.dataset, Kind.TEXT),
        "index1": Value(of.index1, Kind.TEXT),
        "_sample_interval": Value(literal_column("(1::bigint)"), Kind.WHOLE),
    }
    for place in _PLACES:
        blob, double = (f"data_points.{name}[{place}]" for name in ("blobs", "doubles"))
        found[f"blob{place}"] = Value(literal_column(f"coalesce({blob}, '')"), Kind.TEXT)
        found[f"double{place}"] = Value(literal_column(f"coalesce({double}, 0)"), Kind.NUMBER)
    return found


COLUMNS = _columns()
_COMPARED: dict[type[Any], Callable[[Any, Any], Any]] = {
    exp.EQ: lambda left, right: left == right,
    exp.NEQ: lambda left, right: left != right,
    exp.LT: lambda left, right: left < right,
    exp.LTE: lambda left, right: left <= right,
    exp.GT: lambda left, right: left > right,
    exp.GTE: lambda left, right: left >= right,
}
# sqlglot knows some functions by a class of their own.
_KNOWN: dict[type[exp.Expression], str] = {
    exp.Abs: "abs",
    exp.Ceil: "ceil",
    exp.Floor: "floor",
    exp.Exp: "exp",
    exp.Ln: "ln",
    exp.Sqrt: "sqrt",
    exp.Lower: "lower",
    exp.Upper: "upper",
    exp.Length: "length",
    exp.CurrentTimestamp: "now",
}


class Expressions:
    """Of one query: `aliases` are the names that it gives in its SELECT."""

    def __init__(self, aliases: Mapping[str, exp.Expression]) -> None:
        self._aliases = aliases
        self._resolving: set[str] = set()
        self._steps = 0

    def value(self, node: exp.Expression) -> Value:
        """Raises Refused for what makes no sense, NotSupported for what is not there."""
        self._steps += 1
        if self._steps > STEPS_MAX:  # names of names of names, each twice
            raise Refused("This query is too large.")
        for kinds, work in self._works().items():
            if isinstance(node, kinds):
                return work(node)
        if type(node) in _KNOWN:
            arguments = [node.this] if node.args.get("this") is not None else []
            return functions.call(_KNOWN[type(node)], [self.value(one) for one in arguments])
        raise NotSupported(
            f"`{node.sql(dialect='clickhouse')[:100]}` is not supported by Skerry's Analytics Engine yet."
        )

    def named(self, node: exp.Expression) -> exp.Expression:
        """What the query calls so in its SELECT, else the expression itself."""
        plain = isinstance(node, exp.Column) and not node.table
        return self._aliases.get(node.name, node) if plain else node

    def condition(self, node: exp.Expression) -> Any:
        found = self.value(node)
        if found.kind is not Kind.TRUTH:
            raise Refused(f"`{node.sql(dialect='clickhouse')[:100]}` is no condition.")
        return found.sql

    def _works(self) -> dict[Any, Callable[[Any], Value]]:
        return {
            exp.Paren: lambda node: self.value(node.this),
            exp.Column: self._column,
            exp.Literal: self._literal,
            exp.Neg: self._negative,
            exp.Interval: self._interval,
            (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod): self._arithmetic,
            (exp.And, exp.Or, exp.Not): self._logic,
            tuple(_COMPARED): self._compared,
            (exp.In, exp.Between, exp.Like): self._among,
            exp.If: self._if,
            exp.Count: self._count,
            exp.CountIf: self._count_if,
            (exp.Sum, exp.Avg, exp.Min, exp.Max): self._aggregate,
            (exp.Quantile, exp.ParameterizedAgg): self._quantile,
            exp.Round: self._round,
            (exp.TimestampTrunc, exp.DateTrunc): self._truncated,
            (exp.Anonymous, exp.CombinedAggFunc, exp.AnonymousAggFunc): self._function,
        }

    def _column(self, node: exp.Column) -> Value:
        name = node.name
        if node.table or not isinstance(node.this, exp.Identifier):
            raise Refused(f"Write {name} without a table before it.")
        if name in self._aliases and name not in self._resolving:
            self._resolving.add(name)
            try:
                return self.value(self._aliases[name])
            finally:
                self._resolving.discard(name)
        if name not in COLUMNS:
            raise Refused(
                f"There is no column {name[:50]}: a dataset has timestamp, index1, blob1 to blob20, double1 "
                "to double20, _sample_interval and dataset."
            )
        return COLUMNS[name]

    def _literal(self, node: exp.Literal) -> Value:
        return Value(literal(node.this), Kind.TEXT) if node.is_string else number(node.this)

    def _negative(self, node: exp.Neg) -> Value:
        value = self.value(node.this)
        functions.need([value], "-", NUMBERS)
        return Value(-as_float(value), Kind.NUMBER)

    def _interval(self, node: exp.Interval) -> Value:
        if not isinstance(node.this, exp.Literal) or node.args.get("unit") is None:
            raise Refused("Write an interval as INTERVAL '5' MINUTE.")
        return functions.interval(node.this.this, node.args["unit"].name)

    def _arithmetic(self, node: exp.Binary) -> Value:
        left, right = self.value(node.this), self.value(node.expression)
        sign = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%"}[type(node)]
        if left.kind is Kind.TIME and right.kind is Kind.SPAN and sign in "+-":
            moved = left.sql + right.sql if sign == "+" else left.sql - right.sql
            return Value(moved, Kind.TIME)
        functions.need([left, right], sign, NUMBERS, NUMBERS)
        exact = left.kind is not Kind.NUMBER and right.kind is not Kind.NUMBER and sign in "+*%"
        one, two = (as_exact(v) if exact or sign == "%" else as_float(v) for v in (left, right))
        if sign in "/%":
            two = func.nullif(two, literal_column("0"))
        found = {"+": one + two, "-": one - two, "*": one * two, "/": one / two, "%": one % two}
        result = found[sign] if exact else cast(found[sign], Float)
        return Value(result, Kind.WHOLE if exact else Kind.NUMBER)

    def _logic(self, node: exp.Expression) -> Value:
        if isinstance(node, exp.Not):
            return Value(not_(self.condition(node.this)), Kind.TRUTH)
        sides = self.condition(node.this), self.condition(node.args["expression"])
        joined = and_(*sides) if isinstance(node, exp.And) else or_(*sides)
        return Value(joined, Kind.TRUTH)

    def _pair(self, left: Value, node: exp.Expression) -> tuple[Any, Any]:
        """Two values that can be compared; text beside a time is one."""
        if left.kind is Kind.TIME and isinstance(node, exp.Literal) and node.is_string:
            return left.sql, literal(read_time(node.this))
        right = self.value(node)
        numbers = left.kind in NUMBERS and right.kind in NUMBERS
        if not numbers and left.kind is not right.kind:
            raise Refused(
                f"A value of type {left.kind} cannot be compared with one of {right.kind}."
            )
        return left.sql, right.sql

    def _compared(self, node: exp.Binary) -> Value:
        left, right = self._pair(self.value(node.this), node.expression)
        return Value(_COMPARED[type(node)](left, right), Kind.TRUTH)

    def _among(self, node: exp.Expression) -> Value:
        value = self.value(node.this)
        if isinstance(node, exp.Like):
            functions.need([value], "LIKE", frozenset({Kind.TEXT}))
            return Value(value.sql.like(self._pair(value, node.expression)[1]), Kind.TRUTH)
        if isinstance(node, exp.Between):
            low, high = (self._pair(value, node.args[name])[1] for name in ("low", "high"))
            return Value(value.sql.between(low, high), Kind.TRUTH)
        if node.args.get("query") is not None or not node.expressions:
            raise NotSupported("IN takes a list of values in Skerry's Analytics Engine.")
        listed = [self._pair(value, one)[1] for one in node.expressions]
        return Value(or_(*(value.sql == one for one in listed)), Kind.TRUTH)

    def _if(self, node: exp.If) -> Value:
        yes, no = self.value(node.args["true"]), node.args.get("false")
        if no is None:
            raise Refused("if takes three arguments: a condition, and a value for each case.")
        other = self.value(no)
        numbers = yes.kind in NUMBERS and other.kind in NUMBERS
        if not numbers and yes.kind is not other.kind:
            raise Refused(f"The values of if are of the types {yes.kind} and {other.kind}.")
        sides = (as_float(yes), as_float(other)) if numbers else (yes.sql, other.sql)
        kind = Kind.NUMBER if numbers else yes.kind
        return Value(case((self.condition(node.this), sides[0]), else_=sides[1]), kind)

    def _count(self, node: exp.Count) -> Value:
        if isinstance(node.this, exp.Distinct):
            return aggregates.count([self.value(one) for one in node.this.expressions], once=True)
        return aggregates.count([])

    def _count_if(self, node: exp.CountIf) -> Value:
        return aggregates.filtered(aggregates.count([]), self.value(node.this))

    def _aggregate(self, node: exp.AggFunc) -> Value:
        value = self.value(node.this)
        if isinstance(node, exp.Sum):
            return aggregates.total(value)
        if isinstance(node, exp.Avg):
            return aggregates.average(value)
        return aggregates.extreme("min" if isinstance(node, exp.Min) else "max", value)

    def _quantile(self, node: exp.Expression) -> Value:
        if isinstance(node, exp.Quantile):
            name, share, arguments = "quantile", node.args.get("quantile"), [node.this]
        else:
            name, arguments = str(node.this), node.args.get("params") or []
            share = node.expressions[0] if len(node.expressions) == 1 else None
        if not isinstance(share, exp.Literal) or share.is_string:
            raise Refused(f"Write {name[:50]}(0.5)(double1): the share must be a number.")
        return aggregates.quantile(name, float(share.this), [self.value(one) for one in arguments])

    def _truncated(self, node: exp.Expression) -> Value:
        """sqlglot reads `toStartOfHour(x)` as this."""
        return functions.call(f"toStartOf{node.args['unit'].name}", [self.value(node.this)])

    def _round(self, node: exp.Round) -> Value:
        value, places = self.value(node.this), node.args.get("decimals")
        if places is None:
            return functions.call("round", [value])
        if not isinstance(places, exp.Literal) or not str(places.this).isdigit():
            raise Refused("The second argument of round must be a whole number.")
        functions.need([value], "round", NUMBERS)
        rounded = func.round(as_exact(value), literal_column(str(min(int(places.this), 30))))
        return Value(cast(rounded, Float), Kind.NUMBER)

    def _function(self, node: exp.Expression) -> Value:
        name, arguments = str(node.this), node.expressions
        if name.lower() == "sumif" and len(arguments) == 2:
            summed = Value(func.sum(as_float(self.value(arguments[0]))), Kind.NUMBER)
            return aggregates.filtered(summed, self.value(arguments[1]))
        first = arguments[0] if arguments else None
        if name.lower() == "todatetime" and isinstance(first, exp.Literal) and first.is_string:
            return Value(literal(read_time(first.this)), Kind.TIME)
        return functions.call(name, [self.value(one) for one in arguments])
