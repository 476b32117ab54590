import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import AwareDatetime

from api import ids
from api.accounts.endpoints import paged
from api.clock import now
from api.d1 import files, points, queries, service
from api.d1.queries import Statement
from api.d1.schemas import (
    Bookmark,
    DatabaseIn,
    DatabaseOut,
    ExportIn,
    ImportIn,
    Progress,
    QueryIn,
    Restored,
    Result,
    database_out,
)
from api.db import DB, transaction
from api.deployments import resources
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import BodyInvalid, D1DatabaseBound
from api.nodes import stores
from api.nodes.stores import Store, StoreDoor
from api.pagination import RequestedPage
from api.security import CurrentAccount, CurrentActor

router = APIRouter(prefix="/accounts/{account_id}/d1/database", tags=["d1"])
# What asks the store of a node, which the document's tests do not have.
data_router = APIRouter(prefix=router.prefix + "/{database_id}", tags=["d1 data"])
DatabaseId = Annotated[str, Path(description="A database's id, or its name.")]
Moment = Annotated[AwareDatetime | None, Query(description="A time as RFC 3339.")]
_FILE = re.compile(r"[0-9a-f]{32}")


@router.get("", response_model=PagedEnvelope[list[DatabaseOut]])
def list_databases(
    session: DB, account: CurrentAccount, page: RequestedPage, name: str = ""
) -> dict[str, Any]:
    listing = service.page_of_databases(session, account.id, page, name)
    return paged(listing, [database_out(database) for database in listing.rows])


@router.post("", response_model=Envelope[DatabaseOut])
def create_database(session: DB, account: CurrentAccount, body: DatabaseIn) -> dict[str, Any]:
    return answer(database_out(service.create(session, account.id, body.name)))


@router.delete("/{database_id}", response_model=Envelope[None])
def delete_database(
    session: DB, account: CurrentAccount, database_id: DatabaseId
) -> dict[str, Any]:
    """Delete a database with all its tables, unless a deployed Worker binds it."""
    database = service.get(session, account.id, database_id)
    resources.refuse_bound(session, database, account.id, "d1", database.id, D1DatabaseBound)
    service.delete(session, database)
    return answer(None)


# --- what is in it ------------------------------------------------------------------------------


class Opened:
    """A database and the way to its tables, read in a transaction of its own."""

    def __init__(self, actor: CurrentActor, database_id: DatabaseId) -> None:
        with transaction() as session:
            self.database = service.get(session, actor.account_id, database_id)
            self.account_id = actor.account_id
            self.door: StoreDoor = stores.door(
                session, actor.account_id, service.KIND, self.database.id
            )


Database = Annotated[Opened, Depends(Opened)]


@data_router.get("", response_model=Envelope[DatabaseOut])
async def get_database(
    actor: CurrentActor,
    database_id: DatabaseId,
    fields: Annotated[str, Query(description="Which are wanted; all when it is empty.")] = "",
) -> dict[str, Any]:
    """A database by its id or name; its size is asked of the node, unless it is not wanted."""
    with transaction() as session:
        database = service.get(session, actor.account_id, database_id)
        away = stores.data_node(session) is None
        if away or (fields and not {"num_tables", "file_size"} & set(fields.split(","))):
            return answer(database_out(database))
        door = stores.door(session, actor.account_id, service.KIND, database.id)
    async with stores.opened(door) as store:
        return answer(database_out(database, await queries.facts(store)))


@data_router.post("/query", response_model=Envelope[list[Result]])
async def query(opened: Database, body: QueryIn) -> dict[str, Any]:
    """Run SQL; rows come as objects."""
    async with stores.opened(opened.door) as store:
        return answer(await queries.run(store, _wanted(body)))


@data_router.post("/raw", response_model=Envelope[list[Result]])
async def raw(opened: Database, body: QueryIn) -> dict[str, Any]:
    """Run SQL; rows come as lists, with the names of their columns."""
    async with stores.opened(opened.door) as store:
        return answer(await queries.run(store, _wanted(body), rows=True))


def _wanted(body: QueryIn) -> list[Statement]:
    return body.batch or [Statement(sql=body.sql, params=body.params)]


@data_router.post("/import", response_model=Envelope[Progress])
async def import_file(request: Request, opened: Database, body: ImportIn) -> dict[str, Any]:
    """`init` gives an address for the file, `ingest` runs it, all or nothing, and answers when that is
    done; `poll` has nothing left to say."""
    database = opened.database
    if body.action == "init":
        name = ids.hex32()
        url = files.address(request, opened.account_id, database.id, file=name)
        return answer({"upload_url": url, "filename": name})
    if body.action == "ingest":
        if not _FILE.fullmatch(body.filename):
            raise BodyInvalid("`filename` is not one that `init` gave. Nothing was changed.")
        async with stores.opened(opened.door) as store:
            await points.take_if_possible(store)
            done = await queries.ingest(store, body.filename)
            after = await points.take_if_possible(store)
        return answer({**_complete("import"), "result": _imported(done, after or _bookmark())})
    if body.action == "poll":
        return answer({**_complete("import"), "result": _imported({}, _bookmark())})
    raise BodyInvalid("`action` is init, ingest or poll. Nothing was changed.")


def _imported(done: dict[str, int], bookmark: str) -> dict[str, Any]:
    meta = {
        "served_by": "skerry",
        "duration": 0,
        "changed_db": True,
        "changes": done.get("rows_written", 0),
        "last_row_id": 0,
        "rows_read": done.get("rows_read", 0),
        "rows_written": done.get("rows_written", 0),
        "size_after": done.get("size_after", 0),
    }
    return {"final_bookmark": bookmark, "num_queries": done.get("num_queries", 0), "meta": meta}


@data_router.post("/export", response_model=Envelope[Progress])
async def export(request: Request, opened: Database, body: ExportIn) -> dict[str, Any]:
    """An address at which the database can be read as SQL for an hour."""
    database, options = opened.database, body.dump_options
    kept = {name: options[name] for name in ("no_schema", "no_data", "tables") if options.get(name)}
    url = files.address(request, opened.account_id, database.id, options=kept)
    result = {"filename": f"{database.name}.sql", "signed_url": url}
    return answer({**_complete("export"), "result": result})


def _complete(kind: str) -> dict[str, Any]:
    return {
        "success": True,
        "type": kind,
        "status": "complete",
        "at_bookmark": _bookmark(),
        "messages": [],
        "errors": [],
    }


def _bookmark() -> str:
    return f"{int(now().timestamp() * 1000):016x}-00000000"


@data_router.get("/time_travel/bookmark", response_model=Envelope[Bookmark])
async def get_bookmark(opened: Database, timestamp: Moment = None) -> dict[str, Any]:
    """The bookmark of the newest point that is not after `timestamp`; of a new point without one."""
    async with stores.opened(opened.door) as store:
        return answer({"bookmark": await _bookmark_at(store, timestamp)})


@data_router.post("/time_travel/restore", response_model=Envelope[Restored])
async def restore(opened: Database, bookmark: str = "", timestamp: Moment = None) -> dict[str, Any]:
    """Bring the database back to a bookmark, or a time. What was in it is kept as the previous one."""
    if bool(bookmark) == bool(timestamp):
        raise BodyInvalid("Give a `bookmark` or a `timestamp`. Nothing was changed.")
    async with stores.opened(opened.door) as store:
        found = bookmark or await _bookmark_at(store, timestamp)
        previous = await points.restore(store, found)
    message = f"The database is as it was at {points.moment(found)}."
    return answer({"bookmark": found, "previous_bookmark": previous, "message": message})


async def _bookmark_at(store: Store, timestamp: datetime | None) -> str:
    if timestamp is None:
        return await points.take(store)
    return await points.newest_at(store, timestamp)
