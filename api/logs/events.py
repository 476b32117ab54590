"""From what a node tells of an invocation to rows: the invocation, its console lines, what it threw."""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Word = Annotated[str, Field(max_length=8192, pattern=r"^[^\x00]*$")]
# Of one invocation: what the platform worker in the cell lets through is far less (edge/cell/platform.js).
ROWS_MAX = 5000
_EVENT_FIELDS = ("cron", "scheduledTime", "queue", "batchSize", "rpcMethod", "mailFrom", "rcptTo")
_NOTHING: dict[str, Any] = {}


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
    shared = _shared(told, owner, node_id)
    about = _mapping(told.event.get("event"))
    at = _time(told.event.get("eventTimestamp"), told.heard_ms)
    number = 0
    if told.invocation:
        yield {**shared, "at": at, **_invocation(shared, about)}
    for line in _objects(told.event.get("logs"))[:ROWS_MAX]:
        number += 1
        yield {**shared, "at": _time(line.get("timestamp"), told.heard_ms), **_line(line, number)}
    for thrown in _objects(told.event.get("exceptions"))[:ROWS_MAX]:
        number += 1
        when = _time(thrown.get("timestamp"), told.heard_ms)
        yield {**shared, "at": when, **_exception(thrown, number)}


def _shared(told: Told, owner: Owner, node_id: str) -> Row:
    event, about = told.event, _mapping(told.event.get("event"))
    request = _mapping(about.get("request"))
    headers = {str(key).lower(): value for key, value in _mapping(request.get("headers")).items()}
    ray = _text(headers.get("cf-ray")).partition("-")[0].lower()
    url = _text(request.get("url"))
    trigger = _trigger(about)
    status = told.front.status if told.front else _mapping(about.get("response")).get("status")
    began = event.get("eventTimestamp")
    took = told.heard_ms - began if isinstance(began, int | float) else None
    return {
        "account_id": owner.account_id,
        "script_id": told.script_id,
        "script_name": owner.script_name,
        "version_id": told.version_id,
        "node_id": node_id,
        "invocation": ray or uuid.uuid4().hex,
        "entrypoint": _text(event.get("entrypoint")),
        "trigger": trigger,
        "ray": ray,
        "outcome": _text(event.get("outcome")) or "unknown",
        "method": _text(request.get("method")),
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


def _invocation(shared: Row, about: Mapping[str, Any]) -> Row:
    named = {
        "fetch": f"{shared['method']} {shared['url']}",
        "cron": _text(about.get("cron")),
        "queue": _text(about.get("queue")),
        "rpc": _text(about.get("rpcMethod")),
    }
    return {
        "kind": "invocation",
        "number": 0,
        "level": "info" if shared["outcome"] in ("ok", "canceled") else "error",
        "message": named.get(shared["trigger"]) or shared["trigger"],
        "fields": _about(about),
    }


def _about(about: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of the event besides what has a column."""
    request = _mapping(about.get("request"))
    kept = {name: clean(about[name]) for name in _EVENT_FIELDS if about.get(name) is not None}
    if headers := _mapping(request.get("headers")):
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
        "level": _text(line.get("level")) or "log",
        "message": " ".join(_said(part) for part in parts),
        "fields": _fields(parts),
    }


def _said(part: Any) -> str:
    return _text(part) if isinstance(part, str) else json.dumps(clean(part), ensure_ascii=False)


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
    name, message = _text(thrown.get("name")), _text(thrown.get("message"))
    return {
        "kind": "exception",
        "number": number,
        "level": "error",
        "message": f"{name}: {message}" if name else message,
        "fields": {"name": name, "message": message, "stack": _text(thrown.get("stack"))},
    }


def _time(ms: Any, otherwise_ms: int) -> datetime:
    """Of a clock that may be anything: what is far from the node's own counts as that."""
    near = isinstance(ms, int | float) and abs(ms - otherwise_ms) < 86_400_000
    return datetime.fromtimestamp((ms if near else otherwise_ms) / 1000, UTC)


def clean(value: Any) -> Any:
    """The value without what Postgres cannot hold: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(key): clean(one) for key, one in value.items()}
    if isinstance(value, list):
        return [clean(one) for one in value]
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else _NOTHING


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
