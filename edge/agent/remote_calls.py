"""What functions in AWS ask of scripts that they bind: `/calls/SCRIPT` of the agent's API, a WebSocket, because
both bodies of a call flow at the same time.

A call goes in by the socket by which cells on this node call: first a text says which, as JSON of entrypoint
and props. Pieces are binary messages; an empty text ends a body, any other one says why there is no answer.
What the pieces carry is a head, JSON behind its length, and then the body: `{method, host, target, headers,
body}` the one way, `{status, reason, headers}` the other. A method of the script (`{}`, and the body says which)
is called by the platform worker beside it. Who asks is edge/lambda/services.js; between the two is
api/targets/calls.py.
"""

import asyncio
import contextlib
import json
import socket
import time
from pathlib import Path

import h11
import structlog
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from edge.agent.calls import Calls, socket_path
from edge.agent.cells.calling import answering, post, visiting
from edge.agent.cells.cell import Cell
from edge.runtime.callees import Entrance
from edge.wire import Fields, WireError

# An entrance that another version of the caller binds is opened while a deploy is under way.
ENTRANCE_SECONDS = 3.0
POLL_SECONDS = 0.05
LENGTH_BYTES = 4
HEAD_BYTES = 512 * 1024
PIECE_BYTES = 64 * 1024
# As much as the runtime's own calls of methods may carry.
METHOD_BYTES = 32 * 1024 * 1024
# What a cell's own call throws then.
LOST = "Network connection lost."
_NOT_PASSED = frozenset({"connection", "keep-alive", "te", "trailer", "upgrade", "expect", "host"})

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class CallError(Exception):
    """There is no answer; the message is for the caller's author."""


class RemoteCalls:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def take(self, asking: WebSocket, script_id: str) -> None:
        """Raises nothing: what went wrong is the answer."""
        await asking.accept()
        with contextlib.suppress(WebSocketDisconnect):
            try:
                await self._call(_Asker(asking), script_id)
            except CallError as error:
                log.info("call_not_answered", script_id=script_id, reason=str(error))
                await asking.send_text(str(error))
            await asking.close()

    async def _call(self, asker: "_Asker", script_id: str) -> None:
        entrance = await asker.entrance()
        cell = await self._cell(script_id, entrance)
        head = await asker.head()
        if head:
            await _fetch(asker, socket_path(cell, entrance), _request(head))
        else:
            await _call_method(asker, cell, entrance)

    async def _cell(self, script_id: str, entrance: Entrance) -> Cell:
        deadline = time.monotonic() + ENTRANCE_SECONDS
        while time.monotonic() < deadline:
            if cell := self._calls.called_cell(script_id, entrance):
                return cell
            if self._calls.has_none(script_id, entrance):
                break
            await asyncio.sleep(POLL_SECONDS)
        where = f"the entrypoint {entrance.entrypoint}" if entrance.entrypoint else "a way in"
        raise CallError(f"The Worker that was called does not have {where} on this node.")


class _Asker:
    """Who asks: reads what it sends in pieces, and is given pieces."""

    def __init__(self, asking: WebSocket) -> None:
        self._asking = asking
        self._read_too_far = b""

    async def entrance(self) -> Entrance:
        """Raises CallError."""
        try:
            entrypoint, props = json.loads((await self._message()).get("text") or "")
            return Entrance(
                str(entrypoint), "" if props is None else json.dumps(props, sort_keys=True)
            )
        except (TypeError, ValueError) as error:
            raise CallError(f"The call does not say where it goes: {error!r}.") from error

    async def head(self) -> object:
        """Raises CallError."""
        size = int.from_bytes(await self._exactly(LENGTH_BYTES), "big")
        if size > HEAD_BYTES:
            raise CallError(f"A request has at most {HEAD_BYTES:,} bytes of headers.")
        try:
            return json.loads(await self._exactly(size))
        except ValueError as error:
            raise CallError(f"The head of the request is not JSON: {error}.") from error

    async def _exactly(self, count: int) -> bytes:
        got = self._read_too_far
        while len(got) < count:
            piece = await self.piece()
            if not piece:
                raise CallError("The request ended in its head.")
            got += piece
        self._read_too_far = got[count:]
        return got[:count]

    async def piece(self) -> bytes:
        """The next of the body; empty at its end. Raises WebSocketDisconnect when nobody waits any more."""
        if rest := self._read_too_far:
            self._read_too_far = b""
            return rest
        return (await self._message()).get("bytes") or b""

    async def _message(self) -> Message:
        message = await self._asking.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        return message

    async def rest(self) -> bytes:
        """All of the body. Raises CallError when it is too long to be kept."""
        got = b""
        while piece := await self.piece():
            got += piece
            if len(got) > METHOD_BYTES:
                raise CallError(f"What a method is given has at most {METHOD_BYTES:,} bytes.")
        return got

    async def gone(self) -> None:
        """Wait until nobody waits any more, and raise WebSocketDisconnect then."""
        while True:
            await self.piece()

    async def tell(self, piece: bytes) -> None:
        await self._asking.send_bytes(piece)

    async def end(self) -> None:
        await self._asking.send_text("")


async def _call_method(asker: _Asker, cell: Cell, entrance: Entrance) -> None:
    asked = await asker.rest()
    with visiting(cell.paths.main):
        if not await answering(cell):
            raise CallError(LOST)
        asking = asyncio.create_task(post(cell.paths.control, f"/methods/{entrance.id}", asked))
        leaving = asyncio.create_task(asker.gone())
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                await leaving
            answer = asking.result()
        except (OSError, EOFError) as error:
            raise CallError(LOST) from error
        finally:
            asking.cancel()
            leaving.cancel()
            await asyncio.gather(asking, leaving, return_exceptions=True)
    await asker.tell(_framed({"status": answer.status}) + answer.body)
    await asker.end()


async def _fetch(asker: _Asker, path: Path, request: h11.Request) -> None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    head = connection.send(request) or b""
    # No stream of asyncio's: with one, what cannot be sent any more takes with it what was answered.
    with socket.socket(socket.AF_UNIX) as way:
        way.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(way, str(path))
        except OSError as error:
            raise CallError(LOST) from error
        sending = asyncio.create_task(_send(asker, connection, way, head))
        try:
            await _answer(asker, connection, way)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


def _request(head: object) -> h11.Request:
    """Raises CallError."""
    try:
        fields = Fields(head, "request")
        headers = [("host", fields.text("host")), *_pairs(fields.get("headers"))]
        if fields.get("body") is True and "content-length" not in dict(headers):
            headers.append(("transfer-encoding", "chunked"))
        return h11.Request(
            method=fields.text("method"),
            target=fields.text("target"),
            headers=[(name.encode("ascii"), value.encode("latin-1")) for name, value in headers],
        )
    except (WireError, ValueError, TypeError, h11.LocalProtocolError) as error:
        raise CallError(f"The request cannot be sent: {error}.") from error


def _pairs(source: object) -> list[tuple[str, str]]:
    if not isinstance(source, list):
        raise WireError("request.headers must be a list of names and values")
    pairs = [(str(name).lower(), str(value)) for name, value in source]
    return [pair for pair in pairs if pair[0] not in _NOT_PASSED | {"transfer-encoding"}]


async def _send(asker: _Asker, connection: h11.Connection, way: socket.socket, head: bytes) -> None:
    """The body, as it comes; then watch whether anybody waits for the answer still."""
    loop = asyncio.get_running_loop()
    try:
        with contextlib.suppress(ConnectionError):  # the callee may answer without reading on
            await loop.sock_sendall(way, head)
            while piece := await asker.piece():
                await loop.sock_sendall(way, connection.send(h11.Data(piece)) or b"")
            await loop.sock_sendall(way, connection.send(h11.EndOfMessage()) or b"")
        await asker.gone()
    except (WebSocketDisconnect, h11.LocalProtocolError) as error:
        log.info("call_broken_off", reason=repr(error))
        with contextlib.suppress(OSError):
            way.shutdown(socket.SHUT_RDWR)


async def _answer(asker: _Asker, connection: h11.Connection, way: socket.socket) -> None:
    try:
        response = await _event(connection, way)
    except (OSError, h11.RemoteProtocolError) as error:
        raise CallError(LOST) from error
    await asker.tell(_head(response))
    # What breaks off from here on ends without its end, and so breaks off there.
    with contextlib.suppress(OSError, h11.RemoteProtocolError):
        while isinstance(event := await _event(connection, way), h11.Data):
            await asker.tell(bytes(event.data))
        await asker.end()


async def _event(connection: h11.Connection, way: socket.socket) -> h11.Event:
    loop = asyncio.get_running_loop()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await loop.sock_recv(way, PIECE_BYTES))
        elif isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
            return event
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError(f"unexpected {event!r}")


def _head(response: h11.Event) -> bytes:
    if not isinstance(response, h11.Response):
        raise CallError(LOST)
    headers = [
        (name.decode("ascii"), value.decode("latin-1"))
        for name, value in response.headers
        if name.decode("ascii") not in _NOT_PASSED
    ]
    head: dict[str, object] = {
        "status": response.status_code,
        "reason": bytes(response.reason).decode("latin-1"),
        "headers": headers,
    }
    return _framed(head)


def _framed(head: dict[str, object]) -> bytes:
    text = json.dumps(head).encode()
    return len(text).to_bytes(LENGTH_BYTES, "big") + text
