"""What the agent asks the cells of scripts with workflows: about instances for the control plane, and which
of them run before a cell rests.

The runtime goes on with an instance when its alarm is due or somebody touches it. While its code runs
that alarm is up to ten minutes ahead, so whoever starts a cell anew touches what was interrupted.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edge.agent.cells.calling import Answer, answering, ended, post, visiting
from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.state import Slot, State
from edge.agent.stores.instances import Instances, read_once
from edge.agent.stores.owned import Owned
from edge.spec import Workflow

# The path of the agent's API has it where the kind of a store is.
KIND = "workflows"
# The runtime's `WATCH_MS`, and a little for clocks: an instance whose code runs has an alarm before then.
WATCH_SECONDS = 10 * 60 + 10
# The statuses in which the script's code runs, or is about to.
AT_WORK = frozenset({"queued", "running", "waitingForPause", "rollingBack"})
# Of instances that one question to a cell is about.
AT_ONCE = 200
# Of those that a list is made from.
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
        self._instances = Instances()

    # While a cell runs

    def interrupted(self, slot: Slot) -> bool:
        """Whether the code of an instance was running when the process ended. Raises OSError."""
        return any(ids for _, ids in self._at_work(slot))

    async def busy(self, slot: Slot) -> bool:
        """Whether the code of an instance runs now. Raises OSError."""
        return await asyncio.to_thread(self.interrupted, slot)

    async def wake(self, cell: Cell, slot: Slot) -> None:
        """Go on with what the process before was doing."""
        with visiting(cell.paths.main):
            if not await answering(cell):
                return
            try:
                for one, ids in await asyncio.to_thread(lambda: list(self._at_work(slot))):
                    for some in _portions(ids):
                        await self._ask(cell, one, "wake", {"objects": some})
                    if ids:
                        log.info("instances_woken", script_id=slot.script_id, workflow=one.name)
            except OSError as error:
                log.warning("instances_not_woken", script_id=slot.script_id, reason=str(error))

    def _at_work(self, slot: Slot) -> Iterator[tuple[Workflow, list[str]]]:
        """The objects of the instances whose code runs, or ran when the process ended. One that waits
        has an alarm for just that, and needs nobody."""
        account_id, until = slot.desired.account_id, time.time() + WATCH_SECONDS
        for one in slot.live.workflows if slot.live else ():
            ids = self._owned.alarms_before(account_id, slot.script_id, one.id, until)
            files = (
                {path.stem: path for path in self._owned.files(account_id, one.id)} if ids else {}
            )
            known = [id_ for id_ in ids if id_ in files]
            found = read_once(files[id_] for id_ in known)
            # What cannot be read at this moment may be one that is just being written.
            yield (
                one,
                [
                    id_
                    for id_, row in zip(known, found, strict=True)
                    if row is None or row.status in AT_WORK
                ],
            )

    # For the control plane

    async def answer(self, request: Request, account_id: str, id_: str, rest: str) -> Response:
        """`POST …/<what>` with a JSON object, which the cell's desk answers (edge/cell/workflows.js); a
        `list` is made here, of files. Raises nothing."""
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
        if rest == "/list":
            return JSONResponse(await asyncio.to_thread(self._list, one, account_id, asked))
        with visiting(cell.paths.main):
            if not await answering(cell):
                return _said(503, "script.not_started", cell.failing or "It does not start.")
            try:
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

    def _list(self, one: Workflow, account_id: str, asked: Json) -> Json:
        """Newest first: `offset`, `limit`, and what they are filtered by: `status`, `from_ms` and
        `until_ms` of their creation, 0 for none. `total` is how many there are with this filter."""
        files = self._owned.files(account_id, one.id)
        found = self._instances.read(files[:LISTED_MOST])
        begins, ends, status = asked["from_ms"], asked["until_ms"], asked["status"]
        rows = [
            row
            for row in sorted(found, key=lambda row: row.created_ms, reverse=True)
            if begins <= row.created_ms
            and (not ends or row.created_ms <= ends)
            and status in ("", row.status)
        ]
        offset, limit = int(asked["offset"]), int(asked["limit"])
        return {
            "instances": [asdict(row) for row in rows[offset : offset + limit]],
            "total": len(rows),
        }

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
