"""The fields of stored logs under the names of Cloudflare's telemetry, as SQL.

A name that is not listed is a path into what was logged: `user.id` of `console.log({user: {id: 7}})`.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Boolean, ColumnElement, Float, String, case, cast, func, literal

from api.errors import Refused
from api.logs.models import log_events

Type = Literal["string", "number", "boolean"]
KEY_LENGTH_MAX = 512
NOTHING_OF_THE_KIND = re.compile(r"\$(metadata|workers|containers|skerry)\.")
_of = log_events.c


@dataclass(frozen=True)
class Key:
    """A field: its type, and its value in SQL."""

    type: Type
    value: ColumnElement[Any]
    label: str = ""
    """For people, of those that the page offers."""


def _told(column: ColumnElement[str]) -> ColumnElement[Any]:
    """Null instead of nothing."""
    return func.nullif(column, "")


_failed = case((_of.kind == "exception", _of.message))
_ms = _of.duration_us / literal(1000.0)

KNOWN: dict[str, Key] = {
    "$metadata.id": Key("string", _of.invocation + ":" + cast(_of.number, String)),
    "$metadata.requestId": Key("string", _of.invocation),
    "$metadata.service": Key("string", _of.script_name, "Worker"),
    "$metadata.level": Key("string", _of.level, "Level"),
    "$metadata.message": Key("string", _of.message, "Message"),
    "$metadata.error": Key("string", _failed, "Exception"),
    "$metadata.type": Key("string", _of.kind, "Kind"),
    "$metadata.trigger": Key("string", case((_of.kind == "invocation", _of.message))),
    "$metadata.url": Key("string", _told(_of.url), "URL"),
    "$metadata.statusCode": Key("number", _of.status),
    "$metadata.duration": Key("number", _ms),
    "$metadata.coldStart": Key("number", case((_of.cold, 1), (~_of.cold, 0))),
    "$workers.requestId": Key("string", _of.invocation),
    "$workers.scriptName": Key("string", _of.script_name),
    "$workers.scriptVersion.id": Key("string", _told(_of.version_id), "Version"),
    "$workers.outcome": Key("string", _of.outcome, "Outcome"),
    "$workers.eventType": Key("string", _of.trigger, "Event"),
    "$workers.entrypoint": Key("string", _told(_of.entrypoint), "Entrypoint"),
    "$workers.wallTimeMs": Key("number", _ms, "Duration in ms"),
    "$workers.truncated": Key("boolean", _of.truncated),
    "$workers.subrequests": Key("number", _of.subrequests, "Subrequests"),
    "$workers.event.rayId": Key("string", _told(_of.ray), "Ray id"),
    "$workers.event.request.method": Key("string", _told(_of.method), "Method"),
    "$workers.event.request.path": Key("string", _told(_of.path), "Path"),
    "$workers.event.request.url": Key("string", _told(_of.url)),
    "$workers.event.response.status": Key("number", _of.status, "Status"),
    "$skerry.nodeId": Key("string", _of.node_id, "Node"),
    "$skerry.cold": Key("boolean", _of.cold, "Waited for a start"),
    "$skerry.sampleRate": Key("number", _of.rate),
}


def find(name: str, asked: Type | None = None) -> Key:
    """The field of this name, read as the type that is asked for. Raises Refused."""
    if not name or len(name) > KEY_LENGTH_MAX or "\0" in name:
        raise Refused(f"A key has 1 to {KEY_LENGTH_MAX} characters.")
    if known := KNOWN.get(name):
        return known
    if NOTHING_OF_THE_KIND.match(name):
        raise Refused(
            f"Skerry stores no {name[:100]}. CPU time is known per version, not per invocation; the "
            "keys that there are: " + ", ".join(sorted(KNOWN)) + "."
        )
    return _logged(name, asked or "string")


def _logged(name: str, asked: Type) -> Key:
    found = func.jsonb_extract_path(_of.fields, *name.split("."))
    text = func.jsonb_extract_path_text(_of.fields, *name.split("."))
    kind = func.jsonb_typeof(found)
    match asked:
        case "number":
            return Key("number", case((kind == "number", cast(text, Float))))
        case "boolean":
            return Key("boolean", case((kind == "boolean", cast(text, Boolean))))
    return Key("string", text)
