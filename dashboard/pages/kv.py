"""KV: the account's namespaces, what is in them, and changing it."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Form as Field, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.accounts.actor import Actor
from api.db import DB, transaction
from api.deployments import resources
from api.errors import KVNamespaceBound, Problem, Refused, TooLarge, Unavailable
from api.kv import service, values
from api.kv.models import KVNamespace
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
KEYS_PER_PAGE = 50
# What is shown of a value, and may be typed; larger ones are read and written by wrangler.
TEXT_BYTES_MAX = 64 * 1024

log = structlog.get_logger()
router = APIRouter(prefix="/kv")
NamespaceId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


def path_of(namespace: KVNamespace, *rest: str) -> str:
    return "/".join(["/kv", namespace.id, *rest])


@router.get("")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    return _list(request, session, member.account_id, Form(), page)


@router.post("")
def create(
    request: Request, session: DB, member: CurrentMember, title: Annotated[str, Field()] = ""
) -> Response:
    form = Form({"title": title})
    name = form.require("title", "Give the namespace a title.").strip()
    if form.valid:
        try:
            with session.begin_nested():
                namespace = service.create(session, member.account_id, name)
        except Refused as problem:
            form.refuse("title", problem.message)
        else:
            return RedirectResponse(path_of(namespace), status_code=303)
    return _list(request, session, member.account_id, form, 1)


def _list(request: Request, session: Session, account_id: str, form: Form, page: int) -> Response:
    wanted = Page(page=page, per_page=PER_PAGE)
    listing = service.page_of_namespaces(session, account_id, wanted)
    return render(
        request,
        "kv/index.html",
        status_code=200 if form.valid else 422,
        form=form,
        namespaces=listing.rows,
        path_of=path_of,
        paging=Paging("/kv", page, PER_PAGE, listing.total),
    )


# --- one namespace ------------------------------------------------------------------------------


@router.get("/{namespace_id}")
def show(
    request: Request,
    actor: CurrentActor,
    namespace_id: NamespaceId,
    search: str = "",
    cursor: str = "",
) -> Response:
    """Its keys, those that begin with what was searched for."""
    namespace, door = _found(actor, namespace_id)
    problem, following = "", ""
    keys: list[dict[str, Any]] = []
    try:
        keys, following = asked(
            door,
            lambda store: values.list_keys(
                store, prefix=search, cursor=cursor, limit=KEYS_PER_PAGE
            ),
        )
    except Problem as error:
        problem = error.message
    with transaction() as session:
        bound = resources.bound_by(session, actor.account_id, "kv_namespace", namespace.id)
        names = [script.name for script in bound]
    path = path_of(namespace)
    return render(
        request,
        "kv/show.html",
        "kv/_keys.html",
        namespace=namespace,
        home=path,
        keys=[_shown(path, key) for key in keys],
        first=with_query(path, {"search": search}) if cursor else "",
        following=with_query(path, {"search": search, "cursor": following}) if following else "",
        search=search,
        problem=problem,
        bound=names,
    )


def _shown(path: str, key: dict[str, Any]) -> dict[str, Any]:
    expiration = key.get("expiration")
    return {
        "name": key["name"],
        "address": with_query(f"{path}/key", {"key": key["name"]}),
        "expires": datetime.fromtimestamp(expiration, UTC) if expiration else None,
        "metadata": key.get("metadata"),
    }


@router.get("/{namespace_id}/settings")
def settings(request: Request, actor: CurrentActor, namespace_id: NamespaceId) -> Response:
    namespace, _ = _found(actor, namespace_id, door=False)
    return _settings(request, namespace, Form({"title": namespace.title}))


@router.post("/{namespace_id}/settings")
def rename(
    request: Request,
    actor: CurrentActor,
    namespace_id: NamespaceId,
    title: Annotated[str, Field()] = "",
) -> Response:
    form = Form({"title": title})
    name = form.require("title", "Give the namespace a title.").strip()
    namespace, _ = _found(actor, namespace_id, door=False)
    if form.valid:
        try:
            with transaction() as session:
                service.rename(session, actor.account_id, namespace_id, name)
        except Refused as problem:
            form.refuse("title", problem.message)
        else:
            return _back(request, path_of(namespace), f"It is called {name} now.")
    return _settings(request, namespace, form)


@router.post("/{namespace_id}/delete")
def delete(request: Request, actor: CurrentActor, namespace_id: NamespaceId) -> Response:
    try:
        with transaction() as session:
            namespace = service.get(session, actor.account_id, namespace_id)
            resources.refuse_bound(
                session, namespace, actor.account_id, "kv_namespace", namespace_id, KVNamespaceBound
            )
            service.delete(session, namespace)
    except KVNamespaceBound as problem:
        namespace, _ = _found(actor, namespace_id, door=False)
        form = Form({"title": namespace.title})
        form.refuse("", problem.message)
        return _settings(request, namespace, form)
    log.info("kv_namespace_deleted", namespace_id=namespace_id, author_id=actor.id)
    return _back(request, "/kv", f"{namespace.title} is deleted with all its keys.")


def _settings(request: Request, namespace: KVNamespace, form: Form) -> Response:
    return render(
        request,
        "kv/settings.html",
        status_code=200 if form.valid else 422,
        namespace=namespace,
        home=path_of(namespace),
        form=form,
    )


# --- one key ------------------------------------------------------------------------------------


@router.get("/{namespace_id}/key")
def edit(
    request: Request, actor: CurrentActor, namespace_id: NamespaceId, key: str = ""
) -> Response:
    """A form with the key's value; an empty one for a new key."""
    namespace, door = _found(actor, namespace_id)
    if not key:
        return _key_page(request, namespace, Form(), new=True)
    found, text = asked(door, lambda store: _read(store, key))
    fields = {
        "key": key,
        "text": text or "",
        "metadata": "" if found.get("metadata") is None else _compact(found["metadata"]),
        "ttl": "",
    }
    return _key_page(
        request, namespace, Form(fields), shown=_shown("", found), editable=text is not None
    )


@router.post("/{namespace_id}/key")
def save(
    request: Request,
    actor: CurrentActor,
    namespace_id: NamespaceId,
    key: Annotated[str, Field()] = "",
    text: Annotated[str, Field()] = "",
    metadata: Annotated[str, Field()] = "",
    ttl: Annotated[str, Field()] = "",
) -> Response:
    form = Form({"key": key, "text": text, "metadata": metadata, "ttl": ttl})
    namespace, door = _found(actor, namespace_id)
    # A browser sends each line end as two characters.
    content = text.replace("\r\n", "\n").encode(errors="surrogateescape")
    try:
        asked(
            door,
            lambda store: values.put(
                store,
                key,
                content,
                expiration_ttl=ttl.strip() or None,
                metadata=metadata.strip() or None,
            ),
        )
    except (Refused, TooLarge, Unavailable) as problem:
        form.refuse("", problem.message)
        return _key_page(request, namespace, form, new=True)
    return _back(request, path_of(namespace), f"{key} is written.")


@router.post("/{namespace_id}/key/delete")
def delete_key(
    request: Request,
    actor: CurrentActor,
    namespace_id: NamespaceId,
    key: Annotated[str, Field()] = "",
) -> Response:
    namespace, door = _found(actor, namespace_id)
    asked(door, lambda store: values.delete(store, key))
    return _back(request, path_of(namespace), f"{key} is deleted.")


async def _read(store: Store, key: str) -> tuple[dict[str, Any], str | None]:
    """The key as it is listed, and its value if that is text a page can show."""
    found = await values.find(store, key)
    answer = await values.get(store, key)
    content = b""
    try:
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > TEXT_BYTES_MAX:
                return found, None
        return found, content.decode()
    except UnicodeDecodeError:
        return found, None
    finally:
        await answer.aclose()


def _compact(metadata: Any) -> str:
    return values.check_metadata(json.dumps(metadata))


def _key_page(
    request: Request,
    namespace: KVNamespace,
    form: Form,
    *,
    new: bool = False,
    shown: dict[str, Any] | None = None,
    editable: bool = True,
) -> Response:
    return render(
        request,
        "kv/key.html",
        status_code=200 if form.valid else 422,
        namespace=namespace,
        home=path_of(namespace),
        form=form,
        new=new,
        shown=shown,
        editable=editable,
    )


# --- shared -------------------------------------------------------------------------------------


def _found(
    actor: Actor, namespace_id: str, *, door: bool = True
) -> tuple[KVNamespace, StoreDoor | None]:
    """The namespace and the way to its keys, read in a transaction that ends here."""
    with transaction() as session:
        namespace = service.get(session, actor.account_id, namespace_id)
        if not door:
            return namespace, None
        return namespace, storing.door(session, actor.account_id, service.KIND, namespace.id)


def _back(request: Request, path: str, said: str) -> Response:
    response = RedirectResponse(path, status_code=303)
    flash.put(request, response, said)
    return response
