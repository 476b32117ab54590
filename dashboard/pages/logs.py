"""What a Worker does: live, and the newest requests that were recorded."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import redis
import structlog
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.db import DB
from api.errors import Problem
from api.invocations import queries
from api.scripts import service as scripts
from api.scripts.urls import script_url
from api.tails import service as tails, watching
from api.tails.service import Tail
from api.targets import service as targets
from dashboard.addresses import ScriptName, worker_path
from dashboard.session import CurrentMember
from dashboard.templating import render

RECENT = 50
OUTCOMES = {
    "ok": ("live", "Ok"),
    "exception": ("failed", "Exception"),
    "exceeded_cpu": ("failed", "Exceeded CPU"),
    "exceeded_memory": ("failed", "Exceeded memory"),
    "canceled": ("alert", "Canceled"),
    "unavailable": ("failed", "Unavailable"),
    "unknown": ("failed", "Cell ended"),
}
log = structlog.get_logger()
router = APIRouter()


@router.get("/workers/{name}/logs")
def show(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    failed: bool = False,
    ray: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    script = scripts.get(session, member.account, name)
    found = queries.recent(session, script, limit=RECENT, failed=failed, ray=ray.strip())
    return render(
        request,
        "logs/show.html",
        script=script,
        url=script_url(script),
        rows=[(one, *OUTCOMES.get(one.outcome, ("idle", one.outcome))) for one in found],
        failed=failed,
        ray=ray,
        stream=worker_path(name, "logs", "stream"),
        elsewhere=[
            (target.name, worker_path(name, "logs", "on", target.id))
            for target in targets.of_account(session, member.account_id)
            if target.id in targets.functions(session, script)
        ],
    )


@router.get("/workers/{name}/logs/stream")
def stream(session: DB, member: CurrentMember, name: ScriptName) -> Response:
    """Invocations as server-sent events, as long as somebody looks."""
    script = scripts.get(session, member.account, name)
    try:
        tail, _ = tails.create(member.account.id, script.id, script.name, [])
    except Problem as problem:
        # An answer of another kind would make the browser ask again and again.
        return StreamingResponse(_refused(problem.message), media_type="text/event-stream")
    return StreamingResponse(_events(tail), media_type="text/event-stream")


async def _refused(message: str) -> AsyncIterator[str]:
    yield _said("refused", message)


async def _events(tail: Tail) -> AsyncIterator[str]:
    valkey = watching.connect()
    try:
        yield _said("listening", "")
        async for shown in watching.watch(valkey, tail):
            if shown.dropped:
                yield _said("dropped", shown.dropped)
            yield _said("events", [_line(event) for event in shown.events])
        yield _said("ended", "")
    except redis.RedisError as error:
        log.warning("tail_lost", reason=str(error))
    finally:
        await valkey.aclose()
        with contextlib.suppress(Problem):
            await asyncio.shield(asyncio.to_thread(_end, tail))


def _end(tail: Tail) -> None:
    tails.end(tail.account_id, tail.script_id, tail.id)


def _said(kind: str, content: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n"


def _line(event: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of an invocation: text only, whatever a script printed."""
    asked = event.get("event") or {}
    request = asked.get("request") or {}
    about = f"{request.get('method', '')} {request.get('url', '')}".strip()
    return {
        "at": event.get("eventTimestamp"),
        "outcome": event.get("outcome", "unknown"),
        "status": (asked.get("response") or {}).get("status"),
        "about": about or "Console",
        "ray": (request.get("headers") or {}).get("cf-ray", ""),
        "logs": [
            {"level": str(one.get("level", "log")), "text": _text(one.get("message"))}
            for one in event.get("logs", [])
        ],
        "exceptions": [
            "\n".join(filter(None, [f"{one.get('name')}: {one.get('message')}", one.get("stack")]))
            for one in event.get("exceptions", [])
        ],
    }


def _text(message: Any) -> str:
    parts = message if isinstance(message, list) else [message]
    return " ".join(
        one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in parts
    )
