"""Set-up: the link that `./skerry up` printed makes the administrator, once."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Form as Field, Request, Response
from fastapi.responses import RedirectResponse

from api.accounts import service as accounts
from api.accounts.service import PASSWORD_LENGTH_MIN
from api.db import DB, transaction
from api.errors import AlreadyExists, BodyInvalid, NotAllowed
from dashboard import session as log_in
from dashboard.forms import Form
from dashboard.templating import render

log = structlog.get_logger()
router = APIRouter()
Text = Annotated[str, Field()]


@router.get("/setup")
def new(request: Request, session: DB, token: str = "") -> Response:
    if not accounts.check_setup_token(session, token):
        return _closed(request, pending=accounts.setup_pending(session))
    return _page(request, token, Form())


@router.post("/setup")
def create(request: Request, token: Text = "", email: Text = "", password: Text = "") -> Response:
    form = Form({"email": email})
    form.require("email", "Enter your e-mail address.")
    _check_password(form, password)
    if not form.valid:
        return _page(request, token, form)
    try:
        secret = _make_administrator(token, email, password)
    except NotAllowed:
        with transaction() as session:
            return _closed(request, pending=accounts.setup_pending(session))
    except (BodyInvalid, AlreadyExists) as problem:
        form.refuse("email", problem.message)
        return _page(request, token, form)
    response = RedirectResponse(log_in.HOME, status_code=303)
    log_in.open_in(request, response, secret)
    return response


def _check_password(form: Form, password: str) -> None:
    checked = Form({"password": password}, form.errors)
    checked.require("password", "Choose a password.")
    if len(password) < PASSWORD_LENGTH_MIN:
        form.refuse("password", f"Use at least {PASSWORD_LENGTH_MIN} characters.")


def _make_administrator(token: str, email: str, password: str) -> str:
    with transaction() as session:
        member = accounts.create_administrator(session, token, email, password)
        log.info("administrator_created", member_id=member.id)
        return accounts.open_session(session, member)


def _page(request: Request, token: str, form: Form) -> Response:
    return render(
        request,
        "setup/new.html",
        status_code=200 if form.valid else 422,
        form=form,
        token=token,
        password_length_min=PASSWORD_LENGTH_MIN,
    )


def _closed(request: Request, *, pending: bool) -> Response:
    return render(request, "setup/closed.html", status_code=403, pending=pending)
