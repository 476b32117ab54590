"""What is in a D1 database, asked of its store."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
from pydantic import BaseModel, TypeAdapter

from api.errors import D1QueryFailed, Unavailable
from api.nodes.stores import Store, StoreEnded

SQL_BYTES_MAX = 100_000
PARAMS_MAX = 100
# What Cloudflare says when a query is ended; the binding's own words for it.
CPU_EXCEEDED = "D1 DB exceeded its CPU time limit and was reset."
MEMORY_EXCEEDED = "D1 DB exceeded its memory limit and was reset."


class Statement(BaseModel):
    """SQL with what takes the place of its question marks."""

    sql: str
    params: list[Any] = []


_LIST = TypeAdapter(list[Statement])


def statements(text: str) -> Iterator[str]:
    """The statements of a text of SQL, one by one. SQLite itself says where each is complete, so that
    strings, comments and the bodies of triggers may hold semicolons."""
    start = 0
    at = text.find(";")
    while at >= 0:
        piece = text[start : at + 1]
        if sqlite3.complete_statement(piece):
            if piece.strip("; \t\r\n"):
                yield piece.strip()
            start = at + 1
        at = text.find(";", at + 1)
    if text[start:].strip():
        yield text[start:].strip()


async def run(store: Store, wanted: list[Statement], *, rows: bool = False) -> list[dict[str, Any]]:
    """Run statements in one transaction: all of them or none. Each answer has `results` (objects, or
    `columns` and `rows`), `success` and `meta`. Raises D1QueryFailed with SQLite's words."""
    parts = [part for statement in wanted for part in _split(statement)]
    check(parts)
    body = _LIST.dump_json(parts)
    query = {"resultsFormat": "ROWS_AND_COLUMNS" if rows else "ARRAY_OF_OBJECTS"}
    try:
        answer = await store.ask("POST", "/query", query=query, content=body)
    except StoreEnded as error:
        raise ended(error) from error
    said = answer.json() if answer.is_success else {"error": f"status {answer.status_code}"}
    if isinstance(said, dict):
        raise D1QueryFailed(f"{said['error']}")
    found: list[dict[str, Any]] = said
    return found


def _split(statement: Statement) -> list[Statement]:
    parts = list(statements(statement.sql))
    if len(parts) <= 1:
        return [statement]
    if statement.params:
        raise D1QueryFailed("Values can be bound to a single statement only. Nothing was changed.")
    return [Statement(sql=part) for part in parts]


def check(parts: list[Statement]) -> None:
    if not parts or not any(part.sql.strip() for part in parts):
        raise D1QueryFailed("No SQL statements detected.")
    for part in parts:
        if len(part.sql.encode(errors="replace")) > SQL_BYTES_MAX:
            raise D1QueryFailed(f"A statement is too long: it has at most {SQL_BYTES_MAX:,} bytes.")
        if len(part.params) > PARAMS_MAX:
            raise D1QueryFailed(f"too many SQL variables: a statement has at most {PARAMS_MAX}.")


def ended(error: StoreEnded) -> Exception:
    if error.outcome == "exceeded_cpu":
        return D1QueryFailed(CPU_EXCEEDED)
    return D1QueryFailed(MEMORY_EXCEEDED) if error.outcome else error


async def facts(store: Store) -> dict[str, int]:
    """`num_tables` and `file_size` in bytes."""
    found: dict[str, int] = (await good(store, "GET", "/facts")).json()
    return found


async def upload(store: Store, file: str, content: AsyncIterator[bytes]) -> None:
    """Keep a file beside the database until it is imported."""
    await good(store, "PUT", f"/files/{file}", content=content)


async def ingest(store: Store, file: str) -> dict[str, int]:
    """Run an uploaded file, all of it or nothing; raises D1QueryFailed."""
    try:
        answer = await store.ask("POST", f"/files/{file}")
    except StoreEnded as error:
        raise ended(error) from error
    said: dict[str, Any] = answer.json()
    if "error" in said:
        raise D1QueryFailed(said["error"])
    return said


async def dump(store: Store, options: bytes) -> httpx2.Response:
    """The database as SQL, still to be read."""
    answer = await store.send("POST", "/dump", content=options)
    if not answer.is_success:
        await answer.aread()
        raise D1QueryFailed(str(answer.json().get("error", "The database cannot be exported.")))
    return answer


async def good(store: Store, method: str, path: str, **arguments: Any) -> httpx2.Response:
    answer = await store.ask(method, path, **arguments)
    if not answer.is_success:
        raise Unavailable(f"The store answered {answer.status_code}. Nothing was changed.")
    return answer
