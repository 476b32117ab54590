"""What a page shows of a D1 database: never more rows than it has room for, whatever is asked."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from api.d1 import queries
from api.d1.queries import Statement
from api.errors import D1QueryFailed, NotFound
from api.nodes.stores import Store, StoreEnded

TABLES_MAX = 200
# Counting goes through every row; beyond this a page says "more than".
COUNTED_MAX = 100_000
STATEMENTS_MAX = 100
_OWN = "name NOT GLOB 'sqlite_*' AND name NOT GLOB '_cf_*'"


class _Asked(BaseModel):
    statements: list[Statement]
    rows: int
    characters: int


@dataclass(frozen=True)
class Glance:
    """What one statement gave. A value is None, a number, a text, or, for a BLOB or a text that was
    cut, its `start` with its number of `bytes` or its `length`."""

    sql: str
    columns: list[str]
    rows: list[list[Any]]
    more: bool
    """Whether there are rows beyond those."""
    rows_read: int
    rows_written: int


@dataclass(frozen=True)
class Table:
    name: str
    view: bool
    count: int | None
    """Rows, up to one more than COUNTED_MAX; None when they are not counted."""


@dataclass(frozen=True)
class TablePage:
    schema: str
    """The SQL that made the table, its indexes and triggers."""
    rows: Glance


async def run(store: Store, sql: str, *, rows: int, characters: int) -> list[Glance]:
    """Run a text of SQL in one transaction: all of it or nothing. Raises D1QueryFailed with SQLite's
    words."""
    wanted = [Statement(sql=part) for part in queries.statements(sql)]
    queries.check(wanted)
    if len(wanted) > STATEMENTS_MAX:
        raise D1QueryFailed(
            f"Run at most {STATEMENTS_MAX} statements at a time, or a file: "
            "wrangler d1 execute --file. Nothing was changed."
        )
    return await _ask(store, wanted, rows, characters)


async def tables(store: Store) -> list[Table]:
    """Those of the database, by name, with the number of their rows."""
    listing = Statement(
        sql="SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') "  # noqa: S608
        f"AND {_OWN} ORDER BY name LIMIT {TABLES_MAX}"
    )
    (found,) = await _ask(store, [listing], TABLES_MAX, 1000)
    names = [(str(name), type_ == "view") for name, type_ in found.rows]
    some = f"LIMIT {COUNTED_MAX + 1}"
    counting = [
        Statement(sql=f"SELECT count(*) FROM (SELECT 1 FROM {quoted(name)} {some})")  # noqa: S608
        for name, view in names
        if not view
    ]
    try:
        counts = iter(await _ask(store, counting, 1, 100) if counting else [])
    except D1QueryFailed:
        # A virtual table may need what this SQLite has not; the names are worth showing all the same.
        return [Table(name, view, None) for name, view in names]
    return [Table(name, view, None if view else next(counts).rows[0][0]) for name, view in names]


async def table(store: Store, name: str, *, start: int, rows: int, characters: int) -> TablePage:
    """Rows of a table or view from a position on. Raises NotFound."""
    described = Statement(
        sql=f"SELECT sql, name = ?1 AND type IN ('table', 'view') FROM sqlite_schema "  # noqa: S608
        f"WHERE tbl_name = ?1 AND sql IS NOT NULL AND {_OWN} ORDER BY 2 DESC, type, name",
        params=[name],
    )
    (parts,) = await _ask(store, [described], TABLES_MAX, 100_000)
    if not parts.rows or not parts.rows[0][1]:
        raise NotFound("There is no such table. The database's page shows all there are.")
    wanted = Statement(sql=f"SELECT * FROM {quoted(name)} LIMIT {rows + 1} OFFSET {start}")  # noqa: S608
    (found,) = await _ask(store, [wanted], rows, characters)
    schema = ";\n\n".join(str(sql) for sql, _ in parts.rows)
    return TablePage(f"{schema};", found)


def quoted(name: str) -> str:
    """A name as SQL can hold any."""
    return '"' + name.replace('"', '""') + '"'


async def _ask(store: Store, wanted: list[Statement], rows: int, characters: int) -> list[Glance]:
    body = _Asked(statements=wanted, rows=rows, characters=characters)
    try:
        answer = await queries.good(
            store, "POST", "/glance", content=body.model_dump_json().encode()
        )
    except StoreEnded as error:
        raise queries.ended(error) from error
    said = answer.json()
    if isinstance(said, dict):
        where = f"Statement {said['statement'] + 1}: " if len(wanted) > 1 else ""
        raise D1QueryFailed(f"{where}{said['error']}")
    return [Glance(sql=one.sql, **found) for one, found in zip(wanted, said, strict=True)]
