"""API tokens of the account, and how wrangler is connected with one."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Form as Field, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.accounts import tokens
from api.accounts.models import Member
from api.db import DB
from api.errors import BodyInvalid
from api.pagination import LAST_PAGE, Page
from dashboard import connecting, flash
from dashboard.forms import Form
from dashboard.paging import Paging
from dashboard.session import CurrentMember
from dashboard.templating import render

PER_PAGE = 25
log = structlog.get_logger()
router = APIRouter()
TokenId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.get("/connect")
def connect(request: Request, member: CurrentMember) -> Response:
    address = connecting.site(request)
    found = connecting.variables(address, member.account_id, connecting.TOKEN_PLACEHOLDER)
    return render(
        request,
        "tokens/connect.html",
        address=address,
        account_id=member.account_id,
        placeholder=connecting.TOKEN_PLACEHOLDER,
        blocks=connecting.blocks(found),
    )


@router.get("/tokens")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    return _list(request, session, member, Form(), page)


@router.post("/tokens")
def create(
    request: Request, session: DB, member: CurrentMember, name: Annotated[str, Field()] = ""
) -> Response:
    """Not answered with a redirect: the secret stands in this answer and nowhere else."""
    form = Form({"name": name})
    form.require("name", "Give it a name, such as the place where it is used.")
    if form.valid:
        try:
            token, secret = tokens.create(session, member.account, name)
        except BodyInvalid as problem:
            form.refuse("name", problem.message)
        else:
            log.info("token_created", token_id=token.id, member_id=member.id)
            lines = {"CLOUDFLARE_API_TOKEN": secret}
            return render(
                request, "tokens/created.html", token=token, blocks=connecting.blocks(lines)
            )
    return _list(request, session, member, form, 1)


@router.get("/tokens/{token_id}/revoke")
def confirm(request: Request, session: DB, member: CurrentMember, token_id: TokenId) -> Response:
    token = tokens.get(session, member.account, token_id)
    launchers = token.name == tokens.OF_THE_LAUNCHER
    return render(request, "tokens/revoke.html", token=token, launchers=launchers)


@router.post("/tokens/{token_id}/revoke")
def destroy(request: Request, session: DB, member: CurrentMember, token_id: TokenId) -> Response:
    token = tokens.revoke(session, member.account, token_id)
    log.info("token_revoked", token_id=token.id, member_id=member.id)
    response = RedirectResponse("/tokens", status_code=303)
    flash.put(request, response, f"{token.name} is revoked: nothing is done with it any more.")
    return response


def _list(request: Request, session: Session, member: Member, form: Form, page: int) -> Response:
    wanted = Page(page=page, per_page=PER_PAGE)
    listing = tokens.page_of_tokens(session, member.account, wanted)
    return render(
        request,
        "tokens/index.html",
        status_code=200 if form.valid else 422,
        form=form,
        tokens=listing.rows,
        name_length_max=tokens.NAME_LENGTH_MAX,
        paging=Paging("/tokens", page, PER_PAGE, listing.total),
    )
