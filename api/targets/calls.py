"""A function calls a script that its version binds: passed on to a node that runs that script.

Both bodies of a call flow at the same time, so this goes through a WebSocket of the node's. What the
pieces say is the affair of the two ends: edge/lambda/services.js and edge/agent/remote_calls.py.
"""

import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect, Request
from starlette.types import Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from api.bindings.kinds import callee_of
from api.bindings.models import Binding
from api.errors import Unavailable
from api.nodes import stores
from api.nodes.models import Node
from api.nodes.stores import StoreDoor
from api.scripts import service as scripts
from api.scripts.models import Script
from api.versions.models import Version

CONNECT_SECONDS, CLOSE_SECONDS = 5.0, 1.0

log = structlog.get_logger()


@dataclass(frozen=True)
class CallDoor:
    """A way into a script, on one node."""

    way: StoreDoor
    entrance: str
    """JSON of the entrypoint and of what it gets as `ctx.props`."""


def door(session: Session, version: Version, binding: Binding) -> CallDoor:
    """Where a service binding of the version leads. Raises ScriptNotFound when the callee was deleted,
    Unavailable without a node."""
    caller, bound = version.script, binding.attributes
    callee = scripts.get(session, caller.account_id, callee_of(bound))
    node = _node(session, caller)
    return CallDoor(
        stores.door_of(session, node, f"/calls/{callee.id}"),
        json.dumps([bound.get("entrypoint") or "", bound.get("props")]),
    )


def _node(session: Session, caller: Script) -> Node:
    """One that runs the caller, too: there the callee listens for it."""
    nodes = session.scalars(select(Node).order_by(Node.created_at, Node.id)).all()
    running = [node for node in nodes if caller.home_id in (None, node.id)]
    if not running:
        raise Unavailable("No node has enrolled yet, so there is nobody to call.")
    return min(running, key=lambda node: node.away)


async def pass_on(door: CallDoor, request: Request, send: Send) -> None:
    """Raises Unavailable when there is no answer. One that has begun breaks off when the callee's does."""
    way = door.way
    try:
        node = await connect(
            way.url.replace("https://", "wss://", 1),
            ssl=stores.trust(way.authority),
            server_hostname=way.server_name,
            additional_headers={"Authorization": f"Bearer {way.push_key}"},
            compression=None,
            max_size=None,
            proxy=None,
            # Who reads a body slowly does not answer for as long, and is there none the less.
            ping_interval=None,
            open_timeout=CONNECT_SECONDS,
            close_timeout=CLOSE_SECONDS,
        )
    except (OSError, TimeoutError, InvalidHandshake, ssl.SSLError) as error:
        log.warning("call_not_passed_on", node=way.node, reason=repr(error))
        said = f"{way.node}, which runs the Worker that was called, does not answer."
        raise Unavailable(said) from error
    read = asyncio.Event()
    sending = asyncio.create_task(_send(door, request, node, read))
    try:
        await _answer(node, read, send)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await node.close()


async def _send(
    door: CallDoor, request: Request, node: ClientConnection, read: asyncio.Event
) -> None:
    """The body, as it comes; then watch whether anybody waits for the answer still."""
    try:
        await _told(node, door.entrance)
        async for piece in request.stream():
            if piece:
                await _told(node, piece)
        await _told(node, "")
        read.set()
        while (await request.receive())["type"] != "http.disconnect":
            pass
    except ClientDisconnect:
        read.set()
    await node.close()


async def _told(node: ClientConnection, message: str | bytes) -> None:
    with contextlib.suppress(ConnectionClosed):  # the callee may answer without reading on
        await node.send(message)


async def _answer(node: ClientConnection, read: asyncio.Event, send: Send) -> None:
    try:
        piece = await node.recv()
    except ConnectionClosed as error:
        raise Unavailable("Network connection lost.") from error
    if isinstance(piece, str):
        raise Unavailable(piece)
    headers = [(b"content-type", b"application/octet-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        while isinstance(piece, bytes):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = await node.recv()
    except ConnectionClosed:
        # Without an end the server breaks the connection, which tells the function.
        log.info("call_broken_off")
    else:
        # Who is still sending would take an end before his own for a broken connection.
        await read.wait()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
