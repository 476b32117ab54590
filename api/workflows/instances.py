"""The instances of a workflow, asked of the cell that has them (edge/cell/workflows.js)."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from api.clock import iso_of_milliseconds
from api.errors import (
    InstanceConflict,
    InstanceExists,
    InstanceNotFound,
    Unavailable,
    WorkflowNotDeployed,
    WorkflowRefused,
)
from api.nodes import stores
from api.nodes.stores import StoreDoor
from api.pagination import Page
from api.workflows import service
from api.workflows.models import KIND

_AT_WORK = ("queued", "running", "paused", "waitingForPause", "waiting", "rollingBack")
STATUSES = (*_AT_WORK, "errored", "terminated", "complete")
# Those from which an instance does not go on.
ENDED = frozenset({"errored", "terminated", "complete"})
# Those that `instances/terminate` is for.
GOING_ON = _AT_WORK
_ACTIONS = {"pause", "resume", "terminate", "restart"}
_PROBLEMS = {
    "instance.not_found": InstanceNotFound,
    "instance.already_exists": InstanceExists,
    "instance.cannot_resume": InstanceConflict,
    "instance.cannot_terminate": InstanceConflict,
    "instance.cannot_restart": InstanceConflict,
    "workflow.not_deployed": WorkflowNotDeployed,
}


@dataclass(frozen=True)
class Filter:
    """Which instances are wanted; empty is all."""

    status: str = ""
    begins: datetime | None = None
    ends: datetime | None = None
    """Of their creation."""


def door(session: Session, account_id: str, name: str) -> StoreDoor:
    """Raises WorkflowNotFound, or Unavailable when there is no node."""
    workflow = service.get(session, account_id, name)
    return stores.door(session, account_id, KIND, workflow.id)


def page(door: StoreDoor, wanted: Page, only: Filter) -> tuple[list[dict[str, Any]], int]:
    """A page of instances, newest first, and how many there are."""
    asked = {"offset": wanted.offset, "limit": wanted.per_page, "status": only.status}
    asked |= {"from_ms": _milliseconds(only.begins), "until_ms": _milliseconds(only.ends)}
    said = _ask(door, "list", asked)
    return [_listed(row) for row in said["instances"]], int(said["total"])


def describe(door: StoreDoor, id_: str) -> dict[str, Any]:
    """Raises InstanceNotFound."""
    return _ask(door, "describe", {"id": id_})


def create(
    door: StoreDoor, id_: str | None, params: Any, retention: dict[str, Any] | None = None
) -> str:
    """Raises InstanceExists, WorkflowRefused."""
    said = _ask(door, "create", _new(id_, params, retention))
    return str(said["id"])


def create_many(
    door: StoreDoor, instances: Iterable[tuple[str | None, Any, dict[str, Any] | None]]
) -> list[str]:
    """By id, parameters and retention; gives the ids of those that are new."""
    said = _ask(door, "batch", {"instances": [_new(*one) for one in instances]})
    return [str(one["id"]) for one in said["created"]]


def _new(id_: str | None, params: Any, retention: dict[str, Any] | None) -> dict[str, Any]:
    """In the runtime's words. An id that is null is one that it refuses."""
    kept = {
        "successRetention": (retention or {}).get("success_retention"),
        "errorRetention": (retention or {}).get("error_retention"),
    }
    return _given({"id": id_, "params": params, "retention": _given(kept) or None})


def delete_many(door: StoreDoor, ids: list[str]) -> dict[str, Any]:
    """What was deleted, and what was not, with Cloudflare's codes."""
    return _ask(door, "delete", {"ids": ids})


def change(
    door: StoreDoor,
    id_: str,
    action: str,
    *,
    from_step: dict[str, Any] | None = None,
    rollback: bool = False,
) -> str:
    """pause, resume, terminate or restart; gives the status afterwards. Raises InstanceNotFound,
    InstanceConflict."""
    if action not in _ACTIONS:
        raise WorkflowRefused(
            f"An instance can be asked to {', '.join(sorted(_ACTIONS))}, not to {action[:80]}. Nothing "
            "was changed."
        )
    asked: dict[str, Any] = {"id": id_}
    if from_step and action == "restart":
        asked["from"] = from_step
    if rollback and action == "terminate":
        asked["rollback"] = True
    return str(_ask(door, action, asked)["status"])


def terminate_all(door: StoreDoor, statuses: tuple[str, ...]) -> int:
    """All that go on, or those of one status; gives their number."""
    ended = 0
    for status in statuses:
        rows, _ = page(door, Page(per_page=10_000), Filter(status))
        for row in rows:
            try:
                change(door, row["id"], "terminate")
            except (InstanceConflict, InstanceNotFound):
                continue  # it has ended by itself
            ended += 1
    return ended


def send_event(door: StoreDoor, id_: str, type_: str, payload: Any) -> None:
    """Raises InstanceNotFound."""
    _ask(door, "event", {"id": id_, "type": type_, **_given({"payload": payload})})


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "status": row["status"],
        "created_on": iso_of_milliseconds(row["created_ms"]),
        "modified_on": iso_of_milliseconds(row["changed_ms"]),
    }


def _milliseconds(moment: datetime | None) -> int:
    if moment is None:
        return 0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(int(aware.timestamp() * 1000), 1)


def _ask(door: StoreDoor, what: str, body: dict[str, Any]) -> dict[str, Any]:
    async def ask() -> tuple[int, bytes]:
        async with stores.opened(door) as store:
            answer = await store.ask("POST", f"/{what}", content=json.dumps(body).encode())
            return answer.status_code, answer.content

    status, content = asyncio.run(ask())
    try:
        said: dict[str, Any] = json.loads(content)
        if status == 200:
            return said
        code, message = str(said["error"]), str(said["message"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"The node answered {status}. Nothing is lost. Try again.") from error
    if status == 503:
        raise Unavailable(f"The Worker that has the instances does not answer: {message}")
    raise _PROBLEMS.get(code, WorkflowRefused)(f"{message.rstrip('.')}. Nothing was changed.")
