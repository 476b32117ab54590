"""The control plane's way to the points of D1 databases: `…/points` of the agent's API."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge.agent.stores.points import BOOKMARK, NoPointError, PointError, Points
from edge.runtime.stores.d1 import KIND

PREFIX = "/points"


class Travel:
    def __init__(self, points: Points) -> None:
        self._points = points

    async def answer(
        self, request: Request, kind: str, account_id: str, name: str, rest: str
    ) -> Response | None:
        """None for what is the store's own business. GET lists the points, POST takes one,
        `POST …/BOOKMARK/restore` brings the database back to one."""
        if kind != KIND.name:
            return None
        if rest == "/destroy":
            # Its points go with it; if the store fails then, both are asked for again.
            await self._points.forget(account_id, name)
            return None
        if not rest.startswith(PREFIX):
            return None
        try:
            said = await self._said(request.method, account_id, name, rest.removeprefix(PREFIX))
        except NoPointError as error:
            return JSONResponse({"error": str(error)}, 404)
        except PointError as error:
            return JSONResponse({"error": str(error)}, 409)
        return JSONResponse(said)

    async def _said(self, method: str, account_id: str, name: str, rest: str) -> object:
        if method == "GET" and not rest:
            points = self._points.all(account_id, name)
            return [{"bookmark": one.bookmark, "taken_ms": one.taken_ms} for one in points]
        if method == "POST" and not rest:
            return {"bookmark": (await self._points.take(account_id, name)).bookmark}
        bookmark, _, action = rest.removeprefix("/").partition("/")
        if method != "POST" or action != "restore" or not BOOKMARK.fullmatch(bookmark):
            raise NoPointError("There is no such point.")
        previous = await self._points.restore(account_id, name, bookmark)
        return {"bookmark": bookmark, "previous_bookmark": previous.bookmark}
