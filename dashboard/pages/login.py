"""Log in and log out."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Form as Field, Request, Response
from fastapi.responses import RedirectResponse

from api.accounts import service as accounts
from api.db import DB, transaction
from api.errors import NotAuthenticated, TooManyAttempts
from dashboard import cookies, kept as kept_forms, session as log_in
from dashboard.forms import Form
from dashboard.session import CurrentMember
from dashboard.templating import render

log = structlog.get_logger()
router = APIRouter()
Text = Annotated[str, Field()]


@router.get("/login")
def new(request: Request, session: DB, next: str = "") -> Response:  # noqa: A002 - its name in the URL
    if accounts.setup_pending(session):
        return render(request, "setup/pending.html")
    if accounts.member_of_session(session, cookies.read(request, "session")):
        return RedirectResponse(log_in.safe_next(next), status_code=303)
    return _page(request, next, Form())


@router.post("/login")
def create(
    request: Request,
    email: Text = "",
    password: Text = "",
    next: Text = "",  # noqa: A002
    kept: Text = "",
) -> Response:
    form = Form({"email": email, "password": password})
    form.require("email", "Enter your e-mail address.")
    form.require("password", "Enter your password.")
    if not form.valid:
        return _page(request, next, form, kept=kept)
    try:
        secret = _check(email, password)
    except (NotAuthenticated, TooManyAttempts) as problem:
        form.refuse("", problem.message)
        response = _page(request, next, form, problem.status, kept=kept)
        response.headers.update(problem.headers if problem.status == 429 else {})
        return response
    response = _onward(request, log_in.safe_next(next), kept)
    log_in.open_in(request, response, secret)
    return response


def _onward(request: Request, place: str, kept: str) -> Response:
    """Where the person was, or first to the form that was kept for them.

    It is sent by a click and not by itself: much may have happened since, somebody else may be here.
    """
    form = kept_forms.read(request, kept)
    if form is None:
        return RedirectResponse(place, status_code=303)
    return render(request, "login/kept.html", path_of_form=form.path, kept=kept, next=place)


def _check(email: str, password: str) -> str:
    try:
        with transaction() as session:
            member, secret = accounts.log_in(session, email, password)
            log.info("member_logged_in", member_id=member.id)
            return secret
    except NotAuthenticated:
        # In a transaction of its own: the one above is rolled back.
        with transaction() as session:
            accounts.record_failure(session, email)
        log.info("log_in_refused")
        raise


@router.get("/session", status_code=204)
def show(member: CurrentMember) -> None:
    """Whether somebody is still logged in; asked by pages before they let go of what was typed."""
    del member


@router.post("/logout")
def destroy(request: Request, session: DB) -> Response:
    accounts.log_out(session, cookies.read(request, "session"))
    response = RedirectResponse("/login", status_code=303)
    cookies.erase(request, response, "session")
    return response


def _page(
    request: Request, next_: str, form: Form, refused_status: int = 422, *, kept: str = ""
) -> Response:
    return render(
        request,
        "login/new.html",
        # 401 is for protocols that log in by header; a person's wrong password is a refused form.
        status_code=200 if form.valid else refused_status if refused_status == 429 else 422,
        form=form,
        next=next_,
        kept=kept,
    )
