"""D1: the account's databases, their tables, and a console for SQL."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Form as Field, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.accounts.actor import Actor
from api.d1 import glances, queries, service
from api.d1.glances import COUNTED_MAX, Glance, Table
from api.d1.models import D1Database
from api.db import DB, transaction
from api.deployments import resources
from api.errors import D1DatabaseBound, D1NameInvalid, D1NameTaken, Problem, Refused, Unavailable
from api.nodes.stores import Store, StoreDoor
from api.pagination import LAST_PAGE, Page
from dashboard import flash, storing
from dashboard.addresses import with_query
from dashboard.forms import Form
from dashboard.paging import Paging
from dashboard.session import CurrentActor, CurrentMember
from dashboard.storing import asked
from dashboard.templating import render

PER_PAGE = 25
ROWS_PER_PAGE = 50
# How much of one value a page shows.
CELL_CHARACTERS, RESULT_CHARACTERS = 200, 2000
LIMITS = {"50": "50", "200": "200", "1000": "1,000"}

log = structlog.get_logger()
router = APIRouter(prefix="/d1")
DatabaseId = Annotated[str, Path(pattern="^[0-9a-f-]{32,36}$")]
Number = Annotated[int, Query(ge=1, le=LAST_PAGE)]


def path_of(database: D1Database, *rest: str) -> str:
    return "/".join(["/d1", database.id, *rest])


@router.get("")
def index(request: Request, session: DB, member: CurrentMember, page: Number = 1) -> Response:
    return _list(request, session, member.account_id, Form(), page)


@router.post("")
def create(
    request: Request, session: DB, member: CurrentMember, name: Annotated[str, Field()] = ""
) -> Response:
    form = Form({"name": name})
    name = form.require("name", "Give the database a name.").strip()
    if form.valid:
        try:
            with session.begin_nested():
                database = service.create(session, member.account_id, name)
        except (D1NameInvalid, D1NameTaken) as problem:
            form.refuse("name", problem.message)
        else:
            log.info("d1_database_created", database_id=database.id, member_id=member.id)
            return RedirectResponse(path_of(database), status_code=303)
    return _list(request, session, member.account_id, form, 1)


def _list(request: Request, session: Session, account_id: str, form: Form, page: int) -> Response:
    wanted = Page(page=page, per_page=PER_PAGE)
    listing = service.page_of_databases(session, account_id, wanted)
    return render(
        request,
        "d1/index.html",
        status_code=200 if form.valid else 422,
        form=form,
        databases=listing.rows,
        path_of=path_of,
        paging=Paging("/d1", page, PER_PAGE, listing.total),
    )


# --- one database -------------------------------------------------------------------------------


@router.get("/{database_id}")
def show(request: Request, actor: CurrentActor, database_id: DatabaseId) -> Response:
    """Its tables."""
    database, door = _found(actor, database_id)
    problem, size = "", 0
    tables: list[Table] = []
    try:
        tables, size = asked(door, _tables)
    except Problem as error:
        problem = error.message
    with transaction() as session:
        bound = resources.bound_by(session, actor.account_id, "d1", database.id)
        names = [script.name for script in bound]
    home = path_of(database)
    return render(
        request,
        "d1/show.html",
        database=database,
        home=home,
        tables=[(table, with_query(f"{home}/table", {"name": table.name})) for table in tables],
        size=size,
        counted_max=COUNTED_MAX,
        problem=problem,
        bound=names,
    )


async def _tables(store: Store) -> tuple[list[Table], int]:
    return await glances.tables(store), (await queries.facts(store))["file_size"]


@router.get("/{database_id}/table")
def table(
    request: Request,
    actor: CurrentActor,
    database_id: DatabaseId,
    name: Annotated[str, Query(max_length=1000)],
    page: Number = 1,
) -> Response:
    """A table's rows and the SQL that made it."""
    database, door = _found(actor, database_id)
    start = (page - 1) * ROWS_PER_PAGE
    found = asked(
        door,
        lambda store: glances.table(
            store, name, start=start, rows=ROWS_PER_PAGE, characters=CELL_CHARACTERS
        ),
    )
    home = path_of(database)

    def address(number: int) -> str:
        return with_query(
            f"{home}/table", {"name": name, "page": str(number) if number > 1 else ""}
        )

    return render(
        request,
        "d1/table.html",
        database=database,
        home=home,
        name=name,
        found=found.rows,
        schema=found.schema,
        first_row=start + 1,
        previous=address(page - 1) if page > 1 else None,
        following=address(page + 1) if found.rows.more and page < LAST_PAGE else None,
        console=with_query(f"{home}/console", {"table": name}),
    )


@router.get("/{database_id}/console")
def console(
    request: Request,
    actor: CurrentActor,
    database_id: DatabaseId,
    table: Annotated[str, Query(max_length=1000)] = "",
) -> Response:
    """A field for SQL; it begins with a query of the table that a person came from."""
    database, _ = _found(actor, database_id)
    sql = f"SELECT * FROM {glances.quoted(table)} LIMIT 50;" if table else ""  # noqa: S608 a person reads it first
    return _console(request, database, Form({"sql": sql, "limit": "50"}), None)


@router.post("/{database_id}/console")
def run(
    request: Request,
    actor: CurrentActor,
    database_id: DatabaseId,
    sql: Annotated[str, Field()] = "",
    limit: Annotated[str, Field()] = "50",
) -> Response:
    database, door = _found(actor, database_id)
    # A browser sends each line end as two characters.
    form = Form({"sql": sql.replace("\r\n", "\n"), "limit": limit})
    results: list[Glance] | None = None
    if not sql.strip():
        form.refuse("sql", "Type a statement of SQL.")
    elif limit not in LIMITS:
        form.refuse("limit", f"Choose {', '.join(LIMITS.values())} rows.")
    else:
        results = _run(door, form)
    if form.valid:
        log.info("d1_console_ran", database_id=database.id, author_id=actor.id)
    return _console(request, database, form, results)


def _run(door: StoreDoor | None, form: Form) -> list[Glance] | None:
    text, rows = form.values["sql"], int(form.values["limit"])
    try:
        return asked(
            door,
            lambda store: glances.run(store, text, rows=rows, characters=RESULT_CHARACTERS),
        )
    except (Refused, Unavailable) as problem:
        form.refuse("sql", problem.message)
        return None


def _console(
    request: Request, database: D1Database, form: Form, results: list[Glance] | None
) -> Response:
    return render(
        request,
        "d1/console.html",
        status_code=200 if form.valid else 422,
        database=database,
        home=path_of(database),
        form=form,
        limits=LIMITS,
        results=results,
    )


@router.get("/{database_id}/delete")
def confirm(request: Request, actor: CurrentActor, database_id: DatabaseId) -> Response:
    database, _ = _found(actor, database_id)
    return _confirmation(request, database, Form())


@router.post("/{database_id}/delete")
def destroy(
    request: Request,
    actor: CurrentActor,
    database_id: DatabaseId,
    typed_name: Annotated[str, Field()] = "",
) -> Response:
    database, _ = _found(actor, database_id)
    form = Form({"typed_name": typed_name})
    form.require("typed_name", f"Type {database.name} to delete it.")
    if typed_name.strip() != database.name:
        form.refuse("typed_name", f"That is not its name. Type {database.name} to delete it.")
    if form.valid:
        try:
            with transaction() as session:
                found = service.get(session, actor.account_id, database_id)
                resources.refuse_bound(
                    session, found, actor.account_id, "d1", found.id, D1DatabaseBound
                )
                service.delete(session, found)
        except D1DatabaseBound as problem:
            form.refuse("", problem.message)
    if not form.valid:
        return _confirmation(request, database, form)
    log.info("d1_database_deleted", database_id=database_id, author_id=actor.id)
    response = RedirectResponse("/d1", status_code=303)
    flash.put(request, response, f"{database.name} is deleted with all its tables.")
    return response


def _confirmation(request: Request, database: D1Database, form: Form) -> Response:
    return render(
        request,
        "d1/delete.html",
        status_code=200 if form.valid else 422,
        database=database,
        home=path_of(database),
        form=form,
    )


def _found(actor: Actor, database_id: str) -> tuple[D1Database, StoreDoor | None]:
    """The database and the way to its tables, read in a transaction that ends here."""
    with transaction() as session:
        database = service.get(session, actor.account_id, database_id)
        return database, storing.door(session, actor.account_id, service.KIND, database.id)
