"""What the agent asks the cells of scripts with workflows: about instances for the control plane, and which
of them run before a cell rests.

The runtime goes on with an instance when its alarm is due or somebody touches it. While its code runs
that alarm is up to ten minutes ahead, so whoever starts a cell anew touches what was interrupted.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge.agent.cells.calling import Answer, answering, ended, post, visiting
from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.state import Slot, State
from edge.agent.stores.owned import Owned
from edge.spec import Workflow

# The path of the agent's API has it where the kind of a store is.
KIND = "workflows"
# The runtime's `WATCH_MS`, and a little for clocks: an instance whose code runs has an alarm before then.
WATCH_SECONDS = 10 * 60 + 10
# Of instances that one question to a cell is about.
AT_ONCE = 200
# Of those a list is made from; they are asked for their time of creation once.
LISTED_MOST = 20_000
# The longest is a terminate with its rollbacks.
ANSWER_SECONDS = 120.0

Json = dict[str, Any]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Workflows:
    def __init__(self, state: State, fleet: Fleet, owned: Owned) -> None:
        self._state = state
        self._fleet = fleet
        self._owned = owned
        self._created: dict[str, dict[str, str]] = {}
        """When each instance was created, by the ids of workflow and object."""

    # While a cell runs

    def interrupted(self, slot: Slot) -> bool:
        """Whether the code of an instance may have been running when the process ended. Raises OSError."""
        found = slot.live.workflows if slot.live else ()
        account_id, until = slot.desired.account_id, time.time() + WATCH_SECONDS
        due = self._owned.next_alarm(account_id, slot.script_id, [one.id for one in found])
        return due is not None and due < until

    async def busy(self, cell: Cell, slot: Slot) -> bool:
        """Whether the code of an instance runs now. Raises OSError when the cell does not say."""
        for one, ids in self._watched(slot):
            for some in _portions(ids):
                if (await self._ask(cell, one, "busy", {"objects": some}))["busy"]:
                    return True
        return False

    async def wake(self, cell: Cell, slot: Slot) -> None:
        """Go on with what the process before was doing."""
        with visiting(cell.paths.main):
            if not await answering(cell):
                return
            try:
                for one, ids in self._watched(slot):
                    for some in _portions(ids):
                        await self._ask(cell, one, "wake", {"objects": some})
                    if ids:
                        log.info("instances_woken", script_id=slot.script_id, workflow=one.name)
            except OSError as error:
                log.warning("instances_not_woken", script_id=slot.script_id, reason=str(error))

    def _watched(self, slot: Slot) -> Iterator[tuple[Workflow, list[str]]]:
        account_id, until = slot.desired.account_id, time.time() + WATCH_SECONDS
        for one in slot.live.workflows if slot.live else ():
            yield one, self._owned.alarms_before(account_id, slot.script_id, one.id, until)

    # For the control plane

    async def answer(self, request: Request, account_id: str, id_: str, rest: str) -> Response:
        """`POST …/<what>` with a JSON object, which the cell's desk answers (edge/cell/workflows.js); a
        `list` is made here. Raises nothing."""
        found = self._running(account_id, id_)
        if request.method != "POST" or not rest.removeprefix("/").isalpha():
            return _said(404, "body", "There is nothing at this path.")
        if found is None:
            return _said(
                404, "workflow.not_deployed", "No deployed version of the script binds it."
            )
        cell, one = found
        try:
            asked = json.loads(await request.body())
        except ValueError as error:
            return _said(400, "body", f"That is no JSON: {error}")
        with visiting(cell.paths.main):
            if not await answering(cell):
                return _said(503, "script.not_started", cell.failing or "It does not start.")
            try:
                if rest == "/list":
                    return JSONResponse(await self._list(cell, one, account_id, asked))
                answer = await _post(cell, one, rest[1:], asked)
            except OSError as error:
                return _said(503, "script.ended", str(error))
        return Response(answer.body, answer.status, media_type="application/json")

    def _running(self, account_id: str, id_: str) -> tuple[Cell, Workflow] | None:
        for slot in self._state.slots():
            if slot.live and slot.desired.account_id == account_id:
                for one in slot.live.workflows:
                    cell = next(iter(self._fleet.serving(slot.script_id)), None)
                    if one.id == id_ and cell:
                        return cell, one
        return None

    async def _list(self, cell: Cell, one: Workflow, account_id: str, asked: Json) -> Json:
        """Newest first: `offset`, `limit`, and what they are filtered by: `status`, `from` and `until`,
        which are times as `created_on` has them. `total` is how many there are with this filter."""
        ids = await asyncio.to_thread(self._owned.objects, account_id, one.id, "", LISTED_MOST)
        created = await self._times(cell, one, ids)
        begins, ends = asked.get("from") or "", asked.get("until") or "~"
        within = [id_ for id_ in ids if id_ in created and begins <= created[id_] <= ends]
        within.sort(key=lambda id_: created[id_], reverse=True)
        offset, limit, status = int(asked["offset"]), int(asked["limit"]), asked.get("status")
        if status:
            rows = [
                row
                for row in await self._described(cell, one, within)
                if row[1]["status"] == status
            ]
            total, rows = len(rows), rows[offset : offset + limit]
        else:
            total = len(within)
            rows = await self._described(cell, one, within[offset : offset + limit])
        return {
            "instances": [
                {**row, "changed": self._owned.changed(account_id, one.id, id_)}
                for id_, row in rows
            ],
            "total": total,
        }

    async def _times(self, cell: Cell, one: Workflow, ids: Sequence[str]) -> dict[str, str]:
        known = self._created.setdefault(one.id, {})
        for id_, row in await self._described(cell, one, [id_ for id_ in ids if id_ not in known]):
            known[id_] = row["created_on"]
        return known

    async def _described(
        self, cell: Cell, one: Workflow, ids: Sequence[str]
    ) -> list[tuple[str, Json]]:
        """By the ids of objects; without those that were deleted."""
        found: list[tuple[str, Json]] = []
        for some in _portions(ids):
            said = await self._ask(cell, one, "list", {"objects": some})
            pairs = zip(some, said["instances"], strict=True)
            found += [(id_, row) for id_, row in pairs if row is not None]
        return found

    async def _ask(self, cell: Cell, one: Workflow, what: str, body: Json) -> Json:
        answer = await _post(cell, one, what, body)
        if answer.status != 200:
            raise OSError(f"The cell answered {answer.status}: {answer.body[:200]!r}")
        said: Json = json.loads(answer.body)
        return said


async def _post(cell: Cell, one: Workflow, what: str, body: object) -> Answer:
    """Raises OSError when the cell ends or takes too long."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            path = f"/workflows/{one.name}/{what}"
            return await post(cell.paths.control, path, json.dumps(body).encode())
    except (OSError, EOFError) as error:  # TimeoutError is an OSError
        raise OSError(ended(cell, str(error))[1]) from error


def _portions(ids: Sequence[str]) -> Iterable[list[str]]:
    return (list(ids[start : start + AT_ONCE]) for start in range(0, len(ids), AT_ONCE))


def _said(status: int, error: str, message: str) -> Response:
    return JSONResponse({"error": error, "message": message}, status)
