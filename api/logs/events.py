"""From what a node tells of an invocation to rows: the invocation, its console lines, what it threw."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.logs import subrequests
from api.logs.words import clean, mapping, objects, text

Word = Annotated[str, Field(max_length=8192, pattern=r"^[^\x00]*$")]
# Of one invocation: what the platform worker in the cell lets through is far less (edge/cell/platform.js).
ROWS_MAX = 5000
_EVENT_FIELDS = ("cron", "scheduledTime", "queue", "batchSize", "rpcMethod", "mailFrom", "rcptTo")


class FrontRecord(BaseModel):
    """What the front said of the same request."""

    status: Annotated[int, Field(ge=0, le=999)]
    duration_us: Annotated[int, Field(ge=0, lt=2**62)]
    cold: bool


class Told(BaseModel):
    """An invocation as a node hands it over (edge/agent/records/stored_logs.py)."""

    model_config = ConfigDict(extra="forbid")

    script_id: Word
    version_id: Word
    rate: Annotated[float, Field(gt=0, le=1)]
    invocation: bool
    """Whether the invocation itself is to be stored."""
    heard_ms: Annotated[int, Field(ge=0, le=4_000_000_000_000)]
    front: FrontRecord | None = None
    event: dict[str, Any]


@dataclass(frozen=True)
class Owner:
    """Whose script it is."""

    account_id: str
    script_name: str


Row = dict[str, Any]


def rows(told: Told, owner: Owner, node_id: str) -> Iterator[Row]:
    """The rows of an invocation, itself first."""
    asked = subrequests.read(told.event)
    shared = {**_shared(told, owner, node_id), "subrequests": asked.count if asked else None}
    about = mapping(told.event.get("event"))
    at = _time(told.event.get("eventTimestamp"), told.heard_ms)
    number = 0
    if told.invocation:
        yield {**shared, "at": at, **_invocation(shared, about, asked)}
    for line in objects(told.event.get("logs"))[:ROWS_MAX]:
        number += 1
        yield {**shared, "at": _time(line.get("timestamp"), told.heard_ms), **_line(line, number)}
    for thrown in objects(told.event.get("exceptions"))[:ROWS_MAX]:
        number += 1
        when = _time(thrown.get("timestamp"), told.heard_ms)
        yield {**shared, "at": when, **_exception(thrown, number)}


def _shared(told: Told, owner: Owner, node_id: str) -> Row:
    event, about = told.event, mapping(told.event.get("event"))
    request = mapping(about.get("request"))
    headers = {str(key).lower(): value for key, value in mapping(request.get("headers")).items()}
    ray = text(headers.get("cf-ray")).partition("-")[0].lower()
    url = text(request.get("url"))
    trigger = _trigger(about)
    status = told.front.status if told.front else mapping(about.get("response")).get("status")
    began = event.get("eventTimestamp")
    took = told.heard_ms - began if isinstance(began, int | float) else None
    return {
        "account_id": owner.account_id,
        "script_id": told.script_id,
        "script_name": owner.script_name,
        "version_id": told.version_id,
        "node_id": node_id,
        "invocation": ray or uuid.uuid4().hex,
        "entrypoint": text(event.get("entrypoint")),
        "trigger": trigger,
        "ray": ray,
        "outcome": text(event.get("outcome")) or "unknown",
        "method": text(request.get("method")),
        "url": url,
        "path": path_of(url),
        "status": status if isinstance(status, int) and 0 <= status <= 999 else None,
        "duration_us": told.front.duration_us if told.front else took and max(int(took * 1000), 0),
        "cold": told.front.cold if told.front else None,
        "rate": told.rate,
        "truncated": event.get("truncated") is True,
    }


def path_of(url: str) -> str:
    """The path of a URL, without its query."""
    rest = url.partition("://")[2].partition("?")[0]
    return "/" + rest.partition("/")[2] if rest else ""


def _trigger(about: Mapping[str, Any]) -> str:
    """Cloudflare's names of what made a script run."""
    if "request" in about:
        return "fetch"
    if "cron" in about:
        return "cron"
    for name, trigger in (
        ("queue", "queue"),
        ("rpcMethod", "rpc"),
        ("scheduledTime", "alarm"),
        ("mailFrom", "email"),
        ("getWebSocketEvent", "websocket"),
    ):
        if name in about:
            return trigger
    return "unknown"


def _invocation(shared: Row, about: Mapping[str, Any], asked: subrequests.Asked | None) -> Row:
    named = {
        "fetch": f"{shared['method']} {shared['url']}",
        "cron": text(about.get("cron")),
        "queue": text(about.get("queue")),
        "rpc": text(about.get("rpcMethod")),
    }
    return {
        "kind": "invocation",
        "number": 0,
        "level": "info" if shared["outcome"] in ("ok", "canceled") else "error",
        "message": named.get(shared["trigger"]) or shared["trigger"],
        "fields": _about(about) | ({"subrequests": asked.listed} if asked and asked.listed else {}),
    }


def _about(about: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the event besides what has a column."""
    request = mapping(about.get("request"))
    kept = {name: clean(about[name]) for name in _EVENT_FIELDS if about.get(name) is not None}
    if headers := mapping(request.get("headers")):
        kept["headers"] = clean(headers)
    if request.get("cf"):
        kept["cf"] = clean(request["cf"])
    return kept


def _line(line: Mapping[str, Any], number: int) -> Row:
    message = line.get("message")
    parts = message if isinstance(message, list) else [message]
    return {
        "kind": "log",
        "number": number,
        "level": text(line.get("level")) or "log",
        "message": " ".join(_said(part) for part in parts),
        "fields": _fields(parts),
    }


def _said(part: Any) -> str:
    return text(part) if isinstance(part, str) else json.dumps(clean(part), ensure_ascii=False)


def _fields(parts: Iterable[Any]) -> dict[str, Any]:
    """Everything of the objects that were logged, as objects or as their JSON."""
    found: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, str) and part.startswith("{"):
            try:
                part = json.loads(part)
                json.dumps(part, allow_nan=False)  # NaN is JSON for Python alone
            except (ValueError, RecursionError):
                continue
        if isinstance(part, dict):
            found |= clean(part)
    return found


def _exception(thrown: Mapping[str, Any], number: int) -> Row:
    name, message = text(thrown.get("name")), text(thrown.get("message"))
    return {
        "kind": "exception",
        "number": number,
        "level": "error",
        "message": f"{name}: {message}" if name else message,
        "fields": {"name": name, "message": message, "stack": text(thrown.get("stack"))},
    }


def _time(ms: Any, otherwise_ms: int) -> datetime:
    """Of a clock that may be anything: what is far from the node's own counts as that."""
    near = isinstance(ms, int | float) and abs(ms - otherwise_ms) < 86_400_000
    return datetime.fromtimestamp((ms if near else otherwise_ms) / 1000, UTC)
