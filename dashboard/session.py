"""Who is looking: the member behind the session cookie, or the way to the login page."""

from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from api.accounts import service as accounts
from api.accounts.actor import Actor
from api.accounts.models import Member
from api.db import DB, transaction
from api.errors import NotAuthenticated
from dashboard import cookies, kept
from dashboard.forms import Form
from dashboard.templating import render

HOME = "/workers"


class LogInRequired(NotAuthenticated):
    """Nobody is logged in, or no longer."""


def current_member(request: Request, session: DB) -> Member:
    """The member, in the transaction of the page."""
    member = accounts.member_of_session(session, cookies.read(request, "session"))
    if member is None:
        raise LogInRequired("Log in first.")
    request.state.member = member
    request.state.email = member.email
    return member


def current_actor(request: Request) -> Actor:
    """The same check in a transaction of its own, for pages that start a flow."""
    with transaction() as session:
        return Actor.member(current_member(request, session))


CurrentMember = Annotated[Member, Depends(current_member)]
CurrentActor = Annotated[Actor, Depends(current_actor)]


def open_in(request: Request, response: Response, secret: str) -> None:
    """Put the session's secret into the browser."""
    lifetime = cookies.session_lifetime_seconds()
    cookies.write(request, response, "session", secret, max_age=lifetime)


def safe_next(address: str) -> str:
    """The address, if it is a path of this dashboard; else the first page.

    Browsers read a backslash as a slash and drop tabs and line ends: `/\\evil.example` and
    `/<tab>/evil.example` lead elsewhere.
    """
    parts = urlsplit(address)
    local = not parts.scheme and not parts.netloc and address.startswith("/")
    if not local or address.startswith("//") or "\\" in address or not address.isprintable():
        return HOME
    return address


def came_from(request: Request) -> str:
    """The path of the page whose form or link brought this request, as far as it is ours."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc != request.url.netloc:
        return HOME
    return safe_next(referer.path + (f"?{referer.query}" if referer.query else ""))


async def to_login(request: Request, error: Exception) -> Response:
    """Answer to LogInRequired: the login page, which leads back to where the person was.

    What was sent is kept on it. A form that htmx sent stays as it is on its page, which says so.
    """
    del error
    if "HX-Request" in request.headers:
        return _to_login_by_htmx(request)
    if request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(login_address(request.url.path + query), status_code=303)
    place = came_from(request)
    if sealed := await kept.keep(request):
        form = Form()
        return render(
            request, "login/new.html", status_code=401, form=form, next=place, kept=sealed
        )
    return RedirectResponse(login_address(place), status_code=303)


def _to_login_by_htmx(request: Request) -> Response:
    if request.method != "GET":
        return Response(status_code=401)  # unsaved.js says what to do
    place = urlsplit(request.headers.get("HX-Current-URL", "")).path or HOME
    return Response(status_code=401, headers={"HX-Redirect": login_address(place)})


def login_address(place: str) -> str:
    """The login page that leads to this path afterwards."""
    return "/login" if place in ("/", HOME) else f"/login?next={quote(place, safe='/')}"
