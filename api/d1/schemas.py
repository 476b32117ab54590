from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.clock import iso
from api.d1.models import D1Database
from api.d1.queries import Statement


class DatabaseIn(BaseModel):
    """What a database is called; where it should be is accepted and means nothing here."""

    name: str
    primary_location_hint: str | None = None
    jurisdiction: str | None = None


class DatabaseOut(BaseModel):
    """A D1 database."""

    model_config = ConfigDict(extra="allow")

    uuid: str
    name: str
    created_at: str
    version: str


class QueryIn(BaseModel):
    """One text of SQL with its values, or a batch of them; all run in one transaction."""

    sql: str = ""
    params: list[Any] = []
    batch: list[Statement] = Field(default=[], max_length=1000)


class Result(BaseModel):
    """What one statement gave."""

    model_config = ConfigDict(extra="allow")

    success: bool
    results: Any
    meta: dict[str, Any]


class ImportIn(BaseModel):
    action: str
    etag: str = ""
    filename: str = ""
    current_bookmark: str = ""


class ExportIn(BaseModel):
    output_format: str = "polling"
    dump_options: dict[str, Any] = {}
    current_bookmark: str = ""


class Bookmark(BaseModel):
    """A point that a database can be brought back to."""

    bookmark: str


class Restored(Bookmark):
    previous_bookmark: str
    message: str


class Progress(BaseModel):
    """How far an import or an export is."""

    model_config = ConfigDict(extra="allow")


def database_out(database: D1Database, facts: dict[str, int] | None = None) -> dict[str, Any]:
    return {
        "uuid": database.id,
        "name": database.name,
        "created_at": iso(database.created_at),
        "version": "production",
        "read_replication": {"mode": "disabled"},
        **(facts or {}),
    }
