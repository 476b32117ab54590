"""R2: buckets, and an object browser with a folder for every slash."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Depends, File, Form as Field, Query, Request, Response, UploadFile
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.accounts.models import Member
from api.db import DB, transaction
from api.errors import (
    BucketExists,
    BucketNameInvalid,
    Conflict,
    Unavailable,
)
from api.nodes.stores import StoreDoor
from api.pagination import LAST_PAGE, Page
from api.r2 import flows, service, store
from api.r2.content import streaming
from api.r2.models import Bucket
from api.r2.protocol import Facts
from dashboard import flash
from dashboard.addresses import with_query
from dashboard.forms import Form
from dashboard.paging import Paging
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

PER_PAGE = 25
OBJECTS_PER_PAGE = 100
CHUNK_BYTES = 256 * 1024
log = structlog.get_logger()
router = APIRouter(prefix="/r2")
Key = Annotated[str, Query(max_length=1024)]


@dataclass(frozen=True)
class Row:
    """An object as the browser lists it."""

    key: str
    name: str
    """What is behind the last folder."""
    size: int
    type: str
    uploaded_at: datetime


@router.get("")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    return _list(request, session, member, Form(), page)


@router.post("")
def create(
    request: Request, session: DB, member: CurrentMember, name: Annotated[str, Field()] = ""
) -> Response:
    form = Form({"name": name})
    name = form.require("name", "Give the bucket a name.").strip()
    if form.valid:
        try:
            service.create(session, member.account_id, name)
        except (BucketNameInvalid, BucketExists) as problem:
            form.refuse("name", problem.message)
        else:
            log.info("bucket_created", bucket=name, member_id=member.id)
            return RedirectResponse(f"/r2/{name}", status_code=303)
    return _list(request, session, member, form, 1)


def _list(request: Request, session: Session, member: Member, form: Form, page: int) -> Response:
    listing = service.page_of_buckets(
        session, member.account_id, Page(page=page, per_page=PER_PAGE)
    )
    return render(
        request,
        "r2/index.html",
        status_code=200 if form.valid else 422,
        form=form,
        buckets=listing.rows,
        paging=Paging("/r2", page, PER_PAGE, listing.total),
    )


def _bucket(session: DB, member: CurrentMember, bucket: str) -> Bucket:
    return service.get(session, member.account_id, bucket)


def _door(actor: CurrentActor, bucket: str) -> StoreDoor:
    """In a transaction of its own, which ends before anything streams."""
    with transaction() as session:
        return flows.door_of(session, actor.account_id, bucket)


CurrentBucket = Annotated[Bucket, Depends(_bucket)]
CurrentDoor = Annotated[StoreDoor, Depends(_door)]


@router.get("/{bucket}")
def show(
    request: Request, session: DB, bucket: CurrentBucket, prefix: Key = "", cursor: str = ""
) -> Response:
    asked: dict[str, Any] = {"method": "list", "prefix": prefix, "delimiter": "/", "include": [0]}
    asked |= {"limit": OBJECTS_PER_PAGE} | ({"cursor": cursor} if cursor else {})
    door = flows.door_of(session, bucket.account_id, bucket.name)
    found = store.ask(door, asked)
    objects, size = flows.totals(session, bucket)
    here = f"/r2/{bucket.name}"
    following = {"prefix": prefix, "cursor": found.get("cursor", "")}
    return render(
        request,
        "r2/show.html",
        bucket=bucket,
        prefix=prefix,
        crumbs=_crumbs(here, prefix),
        folders=[
            (one.removeprefix(prefix), with_query(here, {"prefix": one}))
            for one in found["delimitedPrefixes"]
        ],
        objects=[_row(Facts.of(entry), prefix) for entry in found["objects"]],
        total_objects=objects,
        total_bytes=size,
        begin=with_query(here, {"prefix": prefix}) if cursor else None,
        next=with_query(here, following) if found["truncated"] else None,
    )


def _row(facts: Facts, prefix: str) -> Row:
    return Row(
        key=facts.key,
        name=facts.key.removeprefix(prefix) or facts.key,
        size=facts.size,
        type=facts.http.get("contentType", ""),
        uploaded_at=datetime.fromtimestamp(facts.uploaded_ms / 1000, UTC),
    )


def _crumbs(here: str, prefix: str) -> list[tuple[str, str]]:
    """Every folder on the way down to the one that is shown, and its address."""
    parts = prefix.split("/")[:-1] if prefix.endswith("/") else prefix.split("/")
    ways = ["/".join(parts[: depth + 1]) + "/" for depth in range(len(parts))]
    return [
        (part, with_query(here, {"prefix": way}))
        for part, way in zip(parts, ways, strict=True)
        if part
    ]


@router.post("/{bucket}/objects")
async def upload(
    request: Request,
    door: CurrentDoor,
    bucket: str,
    files: Annotated[list[UploadFile], File()],
    prefix: Annotated[str, Field(max_length=1024)] = "",
) -> Response:
    """Store the files that a form was sent with under their names, in the folder that it showed."""
    chosen = [file for file in files if file.filename]
    for file in chosen:
        fields = {"contentType": file.content_type or "application/octet-stream"}
        asked = {"method": "put", "object": f"{prefix}{file.filename}", "httpFields": fields}
        await store.put(door, asked, _chunks(file), file.size)
    response = RedirectResponse(with_query(f"/r2/{bucket}", {"prefix": prefix}), status_code=303)
    names = chosen[0].filename if len(chosen) == 1 else f"{len(chosen)} files"
    flash.put(request, response, f"{names} uploaded." if chosen else "Choose a file first.")
    return response


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(CHUNK_BYTES):
        yield chunk


@router.get("/{bucket}/object")
async def download(door: CurrentDoor, bucket: str, key: Key) -> Response:
    """Always saved, never shown: what is in a bucket may be anybody's page."""
    del bucket
    response = await streaming(door, {"method": "get", "object": key})
    name = quote(key.rpartition("/")[2] or key, safe="")
    response.headers["content-disposition"] = f"attachment; filename*=UTF-8''{name}"
    response.headers["content-type"] = "application/octet-stream"
    return response


@router.get("/{bucket}/object/delete")
def confirm_object(request: Request, session: DB, bucket: CurrentBucket, key: Key) -> Response:
    door = flows.door_of(session, bucket.account_id, bucket.name)
    facts = Facts.of(store.ask(door, {"method": "head", "object": key}))
    return render(
        request,
        "r2/delete_object.html",
        bucket=bucket,
        object=_row(facts, ""),
        back=with_query(f"/r2/{bucket.name}", {"prefix": _folder(key)}),
    )


@router.post("/{bucket}/object/delete")
def delete_object(
    request: Request,
    session: DB,
    bucket: CurrentBucket,
    key: Annotated[str, Field(max_length=1024)],
) -> Response:
    door = flows.door_of(session, bucket.account_id, bucket.name)
    store.tell(door, {"method": "delete", "object": key})
    address = with_query(f"/r2/{bucket.name}", {"prefix": _folder(key)})
    response = RedirectResponse(address, status_code=303)
    flash.put(request, response, f"{key[:80]} is deleted.")
    return response


def _folder(key: str) -> str:
    folder, slash, _ = key.rpartition("/")
    return folder + slash


@router.get("/{bucket}/delete")
def confirm(request: Request, bucket: CurrentBucket) -> Response:
    return render(request, "r2/delete.html", bucket=bucket, form=Form())


@router.post("/{bucket}/delete")
def destroy(request: Request, session: DB, bucket: CurrentBucket) -> Response:
    form = Form()
    try:
        flows.delete(session, bucket.account_id, bucket.name)
    except (Conflict, Unavailable) as problem:
        form.refuse("", problem.message)
        status = problem.status
        return render(request, "r2/delete.html", status_code=status, bucket=bucket, form=form)
    response = RedirectResponse("/r2", status_code=303)
    flash.put(request, response, f"{bucket.name} is deleted.")
    return response
