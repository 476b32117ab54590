"""The agent's HTTP API: receives pushes and says how the node is. Reached by the control plane only."""

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from edge.agent.bundles import DigestError, verify
from edge.agent.desired import DesiredSlot, read_slot
from edge.agent.remote_calls import RemoteCalls
from edge.agent.scheduled import Event, NoScriptError, read_event
from edge.agent.stores.passage import PREFIX, Passage
from edge.wire import Fields, WireError

# 64 MiB of modules as base64, and room for specs.
PUSH_BYTES = 96 * 1024 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True)
class Push:
    generation: int
    """The node's newest, which this push may be only a part of."""
    slots: tuple[DesiredSlot, ...]
    files: dict[str, bytes]


class RefusedError(Exception):
    """The request is answered with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def read_push(body: bytes) -> Push:
    """Raises WireError; nothing of a malformed push is used."""
    try:
        fields = Fields(json.loads(body), "push")
    except ValueError as error:
        raise WireError(f"push is not JSON: {error}") from error
    modules = fields.get("modules")
    if modules is not None and not isinstance(modules, dict):
        raise WireError("push.modules must be an object")
    files = {digest: _content(digest, text) for digest, text in (modules or {}).items()}
    return Push(
        generation=fields.whole_number("generation"),
        slots=fields.objects("slots", read_slot),
        files=files,
    )


def _content(digest: str, text: object) -> bytes:
    if not isinstance(text, str):
        raise WireError(f"push.modules[{digest}] must be base64")
    try:
        content = base64.b64decode(text, validate=True)
        verify(digest, content)
    except (binascii.Error, DigestError) as error:
        raise WireError(f"push.modules[{digest}]: {error}") from error
    return content


def create_app(
    *,
    push_key: str,
    take: Callable[[Push], Awaitable[dict[str, object]]],
    status: Callable[[], dict[str, object]],
    schedule: Callable[[Event], None],
    passage: Passage,
    calls: RemoteCalls,
    metrics: Route,
) -> Starlette:
    async def push(request: Request) -> Response:
        _authorize(request, push_key)
        try:
            received = await asyncio.to_thread(read_push, await _body(request))
        except WireError as error:
            log.warning("push_refused", reason=str(error))
            raise RefusedError(400, str(error)) from error
        return JSONResponse(await take(received))

    async def take_scheduled(request: Request) -> Response:
        _authorize(request, push_key)
        try:
            schedule(read_event(json.loads(await _body(request))))
        except NoScriptError as error:
            raise RefusedError(404, str(error)) from error
        except ValueError as error:  # WireError is one
            raise RefusedError(400, str(error)) from error
        return JSONResponse({"taken": True}, status_code=202)

    async def show_status(request: Request) -> Response:
        _authorize(request, push_key)
        return JSONResponse(status())

    async def store(request: Request) -> Response:
        _authorize(request, push_key)
        return await passage.forward(request)

    return Starlette(
        routes=[
            _calls_route(calls, push_key),
            Route(f"{PREFIX}/{{target:path}}", store, methods=["GET", "POST", "PUT", "DELETE"]),
            Route("/push", push, methods=["POST"]),
            Route("/scheduled", take_scheduled, methods=["POST"]),
            metrics,
            Route("/status", show_status, methods=["GET"]),
        ],
        exception_handlers={RefusedError: _refuse},
    )


def metrics_route(figures: Callable[[], bytes], token: str) -> Route:
    """The push key opens everything, so whoever only looks has a token of their own."""

    async def show(request: Request) -> Response:
        _authorize(request, token)
        return Response(figures(), media_type=CONTENT_TYPE_LATEST)

    return Route("/metrics", show, methods=["GET"])


def _calls_route(calls: RemoteCalls, push_key: str) -> WebSocketRoute:
    async def call(socket: WebSocket) -> None:
        _authorize(socket, push_key)
        await calls.take(socket, socket.path_params["script_id"])

    return WebSocketRoute("/calls/{script_id}", call)


def _authorize(request: HTTPConnection, key: str) -> None:
    given = request.headers.get("authorization", "")
    if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
        raise RefusedError(401, "The key is missing or wrong.")


async def _body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > PUSH_BYTES:
            raise RefusedError(413, f"A push has at most {PUSH_BYTES} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


async def _refuse(_: HTTPConnection, error: Exception) -> Response:
    status = error.status if isinstance(error, RefusedError) else 500
    return JSONResponse({"error": str(error)}, status_code=status)
