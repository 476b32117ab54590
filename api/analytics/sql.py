"""Analytics Engine's SQL: one SELECT from a dataset of the account's, read by sqlglot as ClickHouse's.

Nothing of a query's text reaches Postgres: what is read becomes expressions of SQLAlchemy's
(expressions.py), and the account is part of every statement, whatever the query says.
"""

import re
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlalchemy import Select, literal_column, select
from sqlglot import exp
from sqlglot.errors import SqlglotError

from api.analytics.expressions import COLUMNS, Expressions
from api.analytics.models import data_points
from api.analytics.values import Kind
from api.errors import NotSupported, Refused

ROWS_MAX = 10_000
FORMATS = {"json": "JSON", "jsoneachrow": "JSONEachRow", "tabseparated": "TabSeparated"}

_SHOW = re.compile(r"\s*SHOW\s+TABLES(?:\s+FORMAT\s+(\w+))?\s*;?\s*", re.IGNORECASE)
_PARTS = frozenset({"expressions", "from_", "where", "group", "having", "order", "limit", "offset"})


@dataclass(frozen=True)
class Query:
    """What to ask Postgres; None: the names of the account's datasets."""

    statement: Select[Any] | None
    columns: list[tuple[str, Kind]]
    format: str


def read(text: str, account_id: str) -> Query:
    """Raises Refused for what is no such SQL, NotSupported for what is not there."""
    if show := _SHOW.fullmatch(text):
        return Query(None, [("dataset", Kind.TEXT)], _format(show[1]))
    try:
        parsed = [one for one in sqlglot.parse(text, dialect="clickhouse") if one is not None]
        if len(parsed) != 1 or type(parsed[0]) is not exp.Select:
            raise NotSupported(
                "There is SELECT … FROM a dataset and SHOW TABLES, one of them at a time."
            )
        return _selected(parsed[0], account_id)
    except (SqlglotError, RecursionError) as error:
        said = str(error).splitlines()[0][:200] if str(error) else "it is nested too deeply"
        raise Refused(f"This is no SQL that can be read: {said}") from error


def _selected(query: exp.Select, account_id: str) -> Query:
    for name, value in query.args.items():
        if value and name not in _PARTS | {"format"}:
            raise NotSupported(
                f"{name.strip('_').upper()} is not supported by Skerry's Analytics Engine yet."
            )
    items = [item for one in query.expressions for item in _unstarred(one)]
    aliases = {one.alias: one.this for one in items if isinstance(one, exp.Alias)}
    reader = Expressions(aliases)
    shown = [one.this if isinstance(one, exp.Alias) else one for one in items]
    names = [one.alias_or_name or one.sql(dialect="clickhouse") for one in items]
    values = [reader.value(one) for one in shown]
    if any(value.kind is Kind.SPAN for value in values):
        raise Refused("An interval cannot be shown.")
    labelled = [value.sql.label(f"c{place}") for place, value in enumerate(values)]
    of = data_points.c
    statement = select(*labelled).select_from(data_points)
    statement = statement.where(of.account_id == account_id, of.dataset == _dataset(query))
    if where := query.args.get("where"):
        statement = statement.where(reader.condition(where.this))
    statement = _grouped(statement, query, reader, shown)
    statement = _ordered(statement, query, reader, shown).limit(_whole(query, "limit", ROWS_MAX))
    if offset := _whole(query, "offset", 0):
        statement = statement.offset(offset)
    form = query.args.get("format")
    columns = [(name, value.kind) for name, value in zip(names, values, strict=True)]
    return Query(statement, columns, _format(form.name if form else None))


def _unstarred(item: exp.Expression) -> list[exp.Expression]:
    return [exp.column(name) for name in COLUMNS] if isinstance(item, exp.Star) else [item]


def _dataset(query: exp.Select) -> str:
    source = query.args.get("from_")
    table = source.this if source else None
    if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
        raise Refused("Say from which dataset: SELECT … FROM my_dataset.")
    if any(value for name, value in table.args.items() if name != "this"):
        raise NotSupported("A query reads one dataset, by its name alone.")
    return table.name


def _grouped(
    statement: Select[Any], query: exp.Select, reader: Expressions, shown: list[exp.Expression]
) -> Select[Any]:
    if group := query.args.get("group"):
        if any(value for name, value in group.args.items() if name != "expressions"):
            raise NotSupported("GROUP BY takes a list of expressions.")
        statement = statement.group_by(*(_placed(one, reader, shown) for one in group.expressions))
    if having := query.args.get("having"):
        statement = statement.having(reader.condition(having.this))
    return statement


def _ordered(
    statement: Select[Any], query: exp.Select, reader: Expressions, shown: list[exp.Expression]
) -> Select[Any]:
    order = query.args.get("order")
    for one in order.expressions if order else []:
        if any(
            value for name, value in one.args.items() if name not in ("this", "desc", "nulls_first")
        ):
            raise NotSupported("ORDER BY takes expressions with ASC or DESC.")
        found = _placed(one.this, reader, shown)
        statement = statement.order_by(found.desc() if one.args.get("desc") else found.asc())
    return statement


def _placed(node: exp.Expression, reader: Expressions, shown: list[exp.Expression]) -> Any:
    """A shown column by its number, which is the same expression to Postgres whatever is in it."""
    resolved = reader.named(node)
    for place, one in enumerate(shown):
        if one == resolved:
            return literal_column(str(place + 1))
    if isinstance(resolved, exp.Literal):
        raise Refused("GROUP BY and ORDER BY take columns and expressions, no numbers or text.")
    return reader.value(resolved).sql


def _whole(query: exp.Select, name: str, otherwise: int) -> int:
    part = query.args.get(name)
    if part is None:
        return otherwise
    count = part.expression
    if not isinstance(count, exp.Literal) or count.is_string or not str(count.this).isdigit():
        raise Refused(f"{name.upper()} takes a whole number.")
    return min(int(count.this), ROWS_MAX if name == "limit" else 2**31)


def _format(name: str | None) -> str:
    found = FORMATS.get((name or "JSON").lower())
    if found is None:
        raise NotSupported(f"There is FORMAT {', '.join(FORMATS.values())}.")
    return found
