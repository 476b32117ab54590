"""Durable Objects: the classes of the account's Workers, and the objects that stored something."""

from typing import Annotated

from anyio import from_thread
from fastapi import APIRouter, Path, Query, Request, Response

from api.db import DB, transaction
from api.errors import Problem
from api.nodes import stores
from api.objects import listing, service
from api.pagination import LAST_PAGE, Page
from dashboard.addresses import with_query, worker_path
from dashboard.paging import Paging
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

PER_PAGE = 25
OBJECTS_PER_PAGE = 50
HOME = "/objects"

router = APIRouter(prefix=HOME)
NamespaceId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
Cursor = Annotated[str, Query(pattern="^([0-9a-f]{64})?$")]


def path_of(namespace_id: str) -> str:
    return f"{HOME}/{namespace_id}"


@router.get("")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    wanted = Page(page=page, per_page=PER_PAGE)
    found = service.page_of_namespaces(session, member.account_id, wanted)
    return render(
        request,
        "objects/index.html",
        namespaces=found.rows,
        path_of=path_of,
        worker_path=worker_path,
        paging=Paging(HOME, page, PER_PAGE, found.total),
    )


@router.get("/{namespace_id}")
def show(
    request: Request, actor: CurrentActor, namespace_id: NamespaceId, cursor: Cursor = ""
) -> Response:
    """The objects of one class, as the node that has them lists them."""
    with transaction() as session:
        namespace = service.get(session, actor.account_id, namespace_id)
        shown = {
            "id": namespace.id,
            "class_name": namespace.class_name,
            "sqlite": namespace.sqlite,
            "script": namespace.script.name,
        }
    found, following, problem = _asked(actor.account_id, namespace_id, cursor)
    home = path_of(namespace_id)
    return render(
        request,
        "objects/show.html",
        namespace=shown,
        worker_path=worker_path,
        objects=found,
        problem=problem,
        first=home if cursor else None,
        following=with_query(home, {"cursor": following}) if following else None,
    )


def _asked(account_id: str, namespace_id: str, cursor: str) -> tuple[list[str], str, str]:
    """A page of ids, where the next one begins, and what went wrong."""
    try:
        with transaction() as session:
            door = listing.door(session, account_id, namespace_id)

        async def asking() -> tuple[list[str], str]:
            async with stores.opened(door) as store:
                return await listing.objects(store, cursor, OBJECTS_PER_PAGE)

        return *from_thread.run(asking), ""
    except Problem as error:
        return [], "", error.message
