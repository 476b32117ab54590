"""Pure ASGI middleware of the REST API."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import ids
from api.connections import CHANGE_SECONDS, READ_SECONDS, patience

log = structlog.get_logger()

_MULTIPART = b"multipart/form-data"
_SENT_TYPE = "sent_content_type"


def sent_content_type(scope: Scope) -> str:
    """The content type of a request as it came, before JsonWhateverItIsCalled; empty for none."""
    found: str = scope.get("state", {}).get(_SENT_TYPE, "")
    return found


class RequestLog:
    """Gives every request an id, which the log, the tasks and the answer carry."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = ids.hex32()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status, started = 500, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", []).append((b"request-id", request_id.encode()))
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            log.info(
                "request_answered",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round((time.perf_counter() - started) * 1000, 1),
            )


class Patience:
    """Lets requests that only read wait less long for a database that hangs than changes do."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        before = patience.set(READ_SECONDS if reads else CHANGE_SECONDS)
        try:
            await self.app(scope, receive, send)
        finally:
            patience.reset(before)


class JsonWhateverItIsCalled:
    """Lets endpoints read a JSON body whatever its content type says (cloudflare-api.md, rule 1).

    wrangler sends text/plain or merge-patch, curl a form's type, and some clients none at all.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # S3's clients sign their content type.
        if scope["type"] == "http" and not scope["path"].startswith("/s3/"):
            sent = dict(scope["headers"]).get(b"content-type", b"")
            scope.setdefault("state", {})[_SENT_TYPE] = sent.decode("latin-1")
            if not sent.lower().startswith(_MULTIPART):
                others = [header for header in scope["headers"] if header[0] != b"content-type"]
                scope["headers"] = [*others, (b"content-type", b"application/json")]
        await self.app(scope, receive, send)
