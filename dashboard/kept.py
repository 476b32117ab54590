"""A form that could not be taken now, kept in the browser until it can: sealed, for an hour.

The page that says why holds it as one opaque field, so that a secret in it is readable nowhere and
nobody else can make one. Sent to RESEND it is the very form again, at its own address.
"""

import json
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import sealing
from api.errors import Unavailable
from dashboard import cookies, csrf

log = structlog.get_logger()
RESEND = "/resend"
FIELD = "kept"
LIFETIME_SECONDS = 3600
# Sealed it is a third longer, and Starlette takes a megabyte in a field. The editor keeps its text itself.
SIZE_MAX_BYTES = 512 * 1024
# Never kept: of another page, or a password that is typed each time.
_NOT_KEPT = frozenset({"csrf_token", "password", FIELD})
# Forms that are about who is asking; sending them later makes no sense.
_NOT_FOR = ("/login", "/logout", "/setup", "/theme", RESEND)
_PURPOSE = "form"  # the same key seals what is in Postgres
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Kept:
    """A form with the address that it was sent to."""

    path: str
    fields: list[tuple[str, str]]


async def keep(request: Request) -> str:
    """The form of this request, sealed for this browser; empty if there is none to be kept."""
    if request.method != "POST" or request.url.path.startswith(_NOT_FOR):
        return ""
    form = await request.form()
    if any(isinstance(value, UploadFile) and value.size for value in form.values()):
        return ""  # a page cannot hold a file
    fields = [
        (name, value)
        for name, value in form.multi_items()
        if isinstance(value, str) and name not in _NOT_KEPT
    ]
    return _seal(request, Kept(request.url.path, fields))


def _seal(request: Request, kept: Kept) -> str:
    said = [_PURPOSE, csrf.token(request), int(time.time()), kept.path, kept.fields]
    text = json.dumps(said)
    if len(text) > SIZE_MAX_BYTES:
        return ""
    return sealing.seal(text).decode()


def read(request: Request, sealed: str) -> Kept | None:
    """What was kept, unless it is too old or was not kept in this browser."""
    if not sealed:
        return None
    try:
        purpose, browser, kept_at, path, fields = json.loads(sealing.unseal(sealed.encode()))
    except (Unavailable, ValueError):
        return None
    # The token tells this browser from others, logged in or not.
    if (purpose, browser) != (_PURPOSE, cookies.read(request, "csrf")):
        return None
    if time.time() - kept_at > LIFETIME_SECONDS:
        return None
    return Kept(path, [(name, value) for name, value in fields])


class Resent:
    """Turns a form that was kept, sent to RESEND, into the form that it was."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == RESEND and scope["method"] == "POST":
            scope, receive = await _as_it_was(scope, receive)
        await self.app(scope, receive, send)


async def _as_it_was(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """The request with the kept form's address and fields; unchanged if nothing can be read."""
    body = await _body(receive)
    sent = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    kept = read(Request(scope), sent.get(FIELD, ""))
    if kept is None:
        return scope, _once(body)
    log.info("form_resent", path=kept.path)
    token = [("csrf_token", sent.get("csrf_token", ""))]
    body = urlencode([*kept.fields, *token], errors="replace").encode()
    headers = MutableHeaders(raw=list(Headers(scope=scope).raw))
    headers["content-type"], headers["content-length"] = _FORM, str(len(body))
    path = {"path": kept.path, "raw_path": quote(kept.path).encode(), "query_string": b""}
    return {**scope, **path, "headers": headers.raw}, _once(body)


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more and len(body) <= 4 * SIZE_MAX_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
