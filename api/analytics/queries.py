"""Running a query: for some seconds, at most ten thousand rows."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DataError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from api.analytics import points
from api.analytics.values import Kind, shown
from api.errors import Refused

QUERY_SECONDS = 10
TEXT_MAX = 64 * 1024


@dataclass(frozen=True)
class Result:
    columns: list[tuple[str, Kind]]
    rows: list[list[Any]]
    format: str


def run(session: Session, account_id: str, query_text: str) -> Result:
    """Raises Refused for what cannot be asked, or takes too long."""
    if len(query_text) > TEXT_MAX or "\0" in query_text:
        raise Refused(f"A query is text of at most {TEXT_MAX:,} letters.")
    # Imported by the first query: the parser is a tenth of what a process of the control plane would import.
    from api.analytics import sql  # noqa: PLC0415

    query = sql.read(query_text, account_id)
    if query.statement is None:
        names = [[one.name] for one in points.datasets(session, account_id)]
        return Result(query.columns, names, query.format)
    try:
        with session.begin_nested():  # so that a failure ends this statement and no transaction
            session.execute(text(f"SET LOCAL statement_timeout = '{QUERY_SECONDS}s'"))
            found = session.execute(query.statement).all()
    except (ProgrammingError, DataError) as error:
        raise Refused(f"The query cannot be run: {_said(error)}.") from error
    except OperationalError as error:
        if "statement timeout" not in str(error.orig):
            raise
        raise Refused(f"The query took longer than {QUERY_SECONDS} seconds.") from error
    kinds = [kind for _, kind in query.columns]
    rows = [[shown(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in found]
    return Result(query.columns, rows, query.format)


def _said(error: ProgrammingError | DataError) -> str:
    """Postgres' own first line: about columns and functions, never about data."""
    diagnosis = getattr(error.orig, "diag", None)
    return str(getattr(diagnosis, "message_primary", None) or "Postgres refused it")


def written(result: Result) -> tuple[str, str]:
    """The content type and the text of an answer, in the format that the query asks for."""
    names = [name for name, _ in result.columns]
    if result.format == "TabSeparated":
        lines = ("\t".join(_tabbed(value) for value in row) + "\n" for row in result.rows)
        return "text/tab-separated-values; charset=utf-8", "".join(lines)
    objects = [dict(zip(names, row, strict=True)) for row in result.rows]
    if result.format == "JSONEachRow":
        lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in objects)
        return "application/x-ndjson", "".join(lines)
    meta = [{"name": name, "type": str(kind)} for name, kind in result.columns]
    rows = len(objects)
    body = {"meta": meta, "data": objects, "rows": rows, "rows_before_limit_at_least": rows}
    return "application/json", json.dumps(body, ensure_ascii=False)


def _tabbed(value: Any) -> str:
    if value is None:
        return "\\N"
    escaped = str(value).replace("\\", "\\\\").replace("\t", "\\t")
    return escaped.replace("\n", "\\n").replace("\r", "\\r")
