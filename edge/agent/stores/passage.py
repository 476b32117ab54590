"""The control plane's way into the stores: `/stores/KIND/ACCOUNT/NAME/…` of the agent's API becomes a
request of the store's own protocol. Bodies pass in pieces, both ways."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable

import httpx2
import structlog
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from edge.agent.cells.cell import StartError
from edge.agent.stores.owned import KIND as OWNED, Owned, OwnedBusyError
from edge.agent.stores.stores import Stores
from edge.agent.stores.travel import Travel
from edge.agent.unix_http import transport_to
from edge.agent.workflows import KIND as WORKFLOWS, Workflows
from edge.runtime.reach import SCRIPT_ID_HEADER, STORE_HEADER

PREFIX = "/stores"
# What a store says in words goes into a header: HTTP/2 and our own server drop the words of a status.
REASON_HEADER = "x-skerry-reason"
# Which limit ended the store while it worked on the request.
OUTCOME_HEADER = "x-skerry-outcome"
# The longest is a query that runs into the limit of CPU on a busy machine.
ANSWER_SECONDS = 180.0
OBJECTS_AT_ONCE = 1000

_TARGET = re.compile(rf"{PREFIX}/([a-z0-9]+)/([A-Za-z0-9_-]+)/([A-Za-z0-9._-]+)(/.*)")
# Those of a connection, and those that say who asks.
_NOT_PASSED = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
    | {"host", "authorization", STORE_HEADER, SCRIPT_ID_HEADER}
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Passage:
    def __init__(self, stores: Stores, owned: Owned, workflows: Workflows) -> None:
        self._stores = stores
        self._owned = owned
        self._workflows = workflows
        self._travel = Travel(stores.points)

    async def forward(self, request: Request) -> Response:
        """Raises nothing: what went wrong is the answer."""
        path = request.scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        target = _TARGET.fullmatch(path)
        if not target:
            return _said(404, "There is no such store.")
        kind, account_id, name, rest = target.groups()
        if kind == OWNED:
            return await asyncio.to_thread(self._own, request, account_id, name, rest)
        if kind == WORKFLOWS:
            return await self._workflows.answer(request, account_id, name, rest)
        travelled = await self._travel.answer(request, kind, account_id, name, rest)
        if travelled is not None:
            return travelled
        try:
            cell = await self._stores.ready(account_id, kind)
        except StartError as error:
            return _said(503, str(error))
        query = request.scope["query_string"].decode("ascii", "replace")
        url = f"http://store{rest}" + (f"?{query}" if query else "")
        headers = _passed(request.headers.items())
        headers.append((STORE_HEADER, self._stores.ticket(account_id, kind, name)))
        # A connection of its own: one that is kept would keep the store from resting.
        transport = transport_to(cell.paths.main)
        client = httpx2.AsyncClient(transport=transport, timeout=ANSWER_SECONDS)
        try:
            asked = client.build_request(
                request.method, url, headers=headers, content=_body(request)
            )
            answer = await client.send(asked, stream=True)
        except httpx2.TransportError as error:
            await client.aclose()
            log.warning("store_gave_no_answer", store=cell.name, reason=repr(error))
            said = f"The store ended before it answered: {error!r}"
            return _said(503, said, cell.killed_for or "")
        # As they came: what a script gave to KV as metadata may be any Unicode.
        answered = [one for one in answer.headers.raw if _is_passed(one[0].decode("latin-1"))]
        if answer.reason_phrase:
            answered.append(
                (REASON_HEADER.encode(), answer.reason_phrase.encode("latin-1", "replace"))
            )
        response = StreamingResponse(
            answer.aiter_raw(),
            status_code=answer.status_code,
            background=BackgroundTask(client.aclose),
        )
        response.raw_headers = answered
        return response

    def _own(self, request: Request, account_id: str, name: str, rest: str) -> Response:
        """What is looked at and removed as files: `GET …/objects?after=&limit=`, `POST …/destroy`."""
        if (request.method, rest) == ("POST", "/destroy"):
            try:
                self._owned.destroy(account_id, name)
            except OwnedBusyError as error:
                return _said(409, str(error))
            return JSONResponse({"destroyed": name})
        if (request.method, rest) == ("GET", "/objects"):
            after, limit = request.query_params.get("after", ""), request.query_params.get("limit")
            found = self._owned.objects(account_id, name, after, int(limit or OBJECTS_AT_ONCE))
            return JSONResponse({"objects": found})
        return _said(404, "There is no such store.")


def _passed(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if _is_passed(name)]


def _is_passed(name: str) -> bool:
    return name.lower() not in _NOT_PASSED


def _body(request: Request) -> AsyncIterator[bytes] | None:
    sent = "content-length" in request.headers or "transfer-encoding" in request.headers
    return request.stream() if sent else None


def _said(status: int, words: str, outcome: str = "") -> Response:
    return JSONResponse({"error": words}, status, headers={OUTCOME_HEADER: outcome})
