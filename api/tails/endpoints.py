"""`wrangler tail`: making and ending a tail, and the WebSocket that shows it."""

import asyncio
import contextlib
import json
from typing import Annotated, Any

import redis
import structlog
from fastapi import APIRouter, Path, Request, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field

from api.db import DB
from api.envelope import Envelope, Failure, answer
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.security import CurrentAccount
from api.settings import settings
from api.tails import service, watching
from api.tails.filters import FILTERS_MAX, Filter, for_visitor
from api.tails.service import Tail

log = structlog.get_logger()
_TOO_MANY: dict[int | str, dict[str, Any]] = {
    429: {"model": Failure, "description": "The script has as many tails as it may have."}
}
router = APIRouter(tags=["tails"])
_SCRIPT = "/accounts/{account_id}/workers/scripts/{name}/tails"
TailId = Annotated[str, Path(description="32 hex digits.", examples=["0" * 32])]

PROTOCOL = "trace-v1"
NORMAL, GONE = 1000, 1008


class TailIn(BaseModel):
    filters: Annotated[list[Filter], Field(max_length=FILTERS_MAX)] = []


class TailOut(BaseModel):
    id: str
    url: str | None = None
    expires_at: str


@router.get(_SCRIPT, response_model=Envelope[list[TailOut]])
def list_tails(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """The tails of a script; their addresses were given once."""
    script = scripts.get(session, account, name)
    found = service.of_script(account.id, script.id)
    return answer([{"id": tail.id, "expires_at": tail.expires_at} for tail in found])


@router.post(_SCRIPT, response_model=Envelope[TailOut], responses=_TOO_MANY)
def create_tail(
    request: Request,
    session: DB,
    account: CurrentAccount,
    name: ScriptName,
    body: TailIn,
) -> dict[str, Any]:
    """Begin to look at the invocations of a script; its address opens the WebSocket."""
    script = scripts.get(session, account, name)
    address = request.client.host if request.client else ""
    filters = for_visitor(body.filters, address)
    tail, secret = service.create(account.id, script.id, script.name, filters)
    return answer({"id": tail.id, "url": _address(secret), "expires_at": tail.expires_at})


@router.delete(_SCRIPT + "/{tail_id}", response_model=Envelope[None])
def end_tail(
    session: DB, account: CurrentAccount, name: ScriptName, tail_id: TailId
) -> dict[str, Any]:
    script = scripts.get(session, account, name)
    service.end(account.id, script.id, tail_id)
    return answer(None)


def _address(secret: str) -> str:
    base = settings().public_url.rstrip("/").replace("http", "ws", 1)
    return f"{base}/client/v4/tails/{secret}"


@router.websocket("/tails/{secret}")
async def show_tail(socket: WebSocket, secret: str) -> None:
    """One frame per invocation. The secret is in the address, as wrangler sends no token."""
    valkey = watching.connect()
    try:
        tail = await watching.find(valkey, secret)
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(PROTOCOL if PROTOCOL in offered else None)
        if tail is None:
            await socket.close(GONE, "This tail has ended.")
            return
        await _show(valkey, socket, tail)
    except redis.RedisError as error:
        log.warning("tail_lost", reason=str(error))
        with contextlib.suppress(RuntimeError):
            await socket.close(1011, "Valkey is away.")
    finally:
        await valkey.aclose()


async def _show(valkey: Any, socket: WebSocket, tail: Tail) -> None:
    sending = asyncio.create_task(_send(valkey, socket, tail))
    leaving = asyncio.create_task(_left(socket))
    await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    if leaving.done():
        sending.cancel()
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
        await sending


async def _send(valkey: Any, socket: WebSocket, tail: Tail) -> None:
    """Until the tail ends, which ends the command that looks at it."""
    async for shown in watching.watch(valkey, tail):
        if shown.dropped:
            await socket.send_text(json.dumps(_overload(shown.dropped)))
        for event in shown.events:
            await socket.send_text(json.dumps(event))
    await socket.close(NORMAL, "This tail has ended.")


def _overload(dropped: int) -> dict[str, Any]:
    """How wrangler is told that it does not see everything."""
    message = f"{dropped} invocations were dropped: more came than can be shown."
    return {
        "outcome": "ok",
        "exceptions": [],
        "logs": [],
        "eventTimestamp": None,
        "event": {"type": "overload", "message": message},
    }


async def _left(socket: WebSocket) -> None:
    """What a visitor sends means nothing; it ends when there is nobody."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()
