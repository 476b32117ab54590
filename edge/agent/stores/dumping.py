"""A SQLite file of workerd's as statements that make the same again in an empty database."""

import base64
import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A longer text is passed beside its statement, as every blob is.
LITERAL_LENGTH = 500
_OWN = re.compile(r"sqlite_|_cf_")


class DumpError(Exception):
    """This database cannot be written as statements."""


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A copy of the database, its log included; the original is not touched."""
    with tempfile.TemporaryDirectory(prefix="skerry-dump-") as folder:
        copy = Path(shutil.copy(file, folder))
        log = file.with_name(f"{file.name}-wal")
        if log.exists():
            shutil.copy(log, folder)
        database = sqlite3.connect(copy)
        database.text_factory = _text
        try:
            yield database
        finally:
            database.close()


def counts(database: sqlite3.Connection) -> dict[str, int]:
    """Rows by table, without those that are the runtime's own."""
    return {name: _count(database, name) for name, _ in _tables(database)}


def lines(database: sqlite3.Connection) -> Iterator[bytes]:
    """One statement each, a JSON array of the SQL and its values; a value is a text, or bytes as
    `{"base64": …}`. Raises DumpError."""
    if _count(database, "_cf_KV"):
        raise DumpError("It has values outside of its tables.")
    tables = _tables(database)
    for _, sql in tables:
        yield _line(sql)
    for name, sql in tables:
        yield from _rows(database, name, sql)
    for sql in _schema(database, "index", "view", "trigger").values():
        yield _line(sql)


def _tables(database: sqlite3.Connection) -> list[tuple[str, str]]:
    found = _schema(database, "table")
    virtual = [name for name, sql in found.items() if sql.upper().startswith("CREATE VIRTUAL")]
    if virtual:
        raise DumpError(f"It has virtual tables ({', '.join(virtual)}), which cannot be copied.")
    return list(found.items())


def _schema(database: sqlite3.Connection, *types: str) -> dict[str, str]:
    """SQL by name, in the order in which it was made."""
    places = ", ".join("?" * len(types))
    where = f"type IN ({places}) AND sql NOT NULL ORDER BY rowid"
    query = f"SELECT name, sql FROM sqlite_schema WHERE {where}"  # noqa: S608 question marks only
    found = database.execute(query, types)
    named = {str(name): str(sql) for name, sql in found}
    return {name: sql for name, sql in named.items() if not _OWN.match(name)}


def _rows(database: sqlite3.Connection, table: str, sql: str) -> Iterator[bytes]:
    # The last column says whether it is generated: then it is not written.
    told = database.execute(f"PRAGMA table_xinfo({_quoted(table)})").fetchall()
    columns = [str(column[1]) for column in told if column[6] == 0]
    hidden = not any(name.lower() == "rowid" for name in columns) and not re.search(
        r"WITHOUT\s+ROWID", sql, re.IGNORECASE
    )
    names = (["rowid"] if hidden else []) + [_quoted(name) for name in columns]
    target = f"INSERT INTO {_quoted(table)} ({', '.join(names)}) VALUES"
    query = f"SELECT {', '.join(names)} FROM {_quoted(table)}"  # noqa: S608 quoted names
    for row in database.execute(query):
        values: list[object] = []
        texts = ", ".join(_value(value, values) for value in row)
        yield _line(f"{target} ({texts})", *values)


def _value(value: object, values: list[object]) -> str:
    """As SQL says it; what is long, or bytes, goes beside it."""
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return {"inf": "9e999", "-inf": "-9e999"}.get(repr(value), repr(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str) and len(value) <= LITERAL_LENGTH and "\0" not in value:
        return "'" + value.replace("'", "''") + "'"
    values.append(value if isinstance(value, str) else _encoded(value))
    return "CAST(? AS TEXT)" if isinstance(value, _Raw) else "?"


class _Raw(bytes):
    """A text that is no UTF-8."""


def _text(content: bytes) -> str | _Raw:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return _Raw(content)


def _encoded(value: object) -> dict[str, str]:
    if not isinstance(value, bytes):
        raise DumpError(f"It has a value of an unknown kind: {type(value).__name__}.")
    return {"base64": base64.b64encode(value).decode()}


def _count(database: sqlite3.Connection, table: str) -> int:
    there = database.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    query = f"SELECT count(*) FROM {_quoted(table)}"  # noqa: S608 a quoted name
    return int(database.execute(query).fetchone()[0]) if there else 0


def _line(sql: str, *values: object) -> bytes:
    return json.dumps([sql, *values]).encode() + b"\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
