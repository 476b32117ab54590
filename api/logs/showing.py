"""A row as an event of Cloudflare's telemetry."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row

from api.logs.queries import cursor_of

DATASET = "cloudflare-workers"
_EVENT_TYPES = frozenset({"fetch", "cron", "queue", "alarm", "rpc", "email", "websocket"})


def event(row: Row[Any]) -> dict[str, Any]:
    """`source` is what was logged; CPU time is 0, because it is known per version only."""
    duration = None if row.duration_us is None else row.duration_us / 1000
    return {
        "dataset": DATASET,
        "timestamp": milliseconds(row.at),
        "source": _source(row),
        "$workers": _workers(row, duration),
        "$metadata": _without_nothing(
            {
                "id": cursor_of(row),
                "requestId": row.invocation,
                "service": row.script_name,
                "level": row.level,
                "message": row.message,
                "error": row.message if row.kind == "exception" else None,
                "trigger": row.message if row.kind == "invocation" else None,
                "type": "cf-worker-event" if row.kind == "invocation" else "cf-worker",
                "url": row.url,
                "statusCode": row.status,
                "duration": None if duration is None else round(duration),
                "coldStart": None if row.cold is None else int(row.cold),
                "account": row.account_id,
                "provider": "skerry",
            }
        ),
        "$skerry": {
            "kind": row.kind,
            "nodeId": row.node_id,
            "sampleRate": row.rate,
            "number": row.number,
        },
    }


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _source(row: Row[Any]) -> dict[str, Any]:
    return {"level": row.level, "message": row.message, **row.fields}


def _workers(row: Row[Any], duration: float | None) -> dict[str, Any]:
    about = {
        "rayId": row.ray,
        "request": _without_nothing({"method": row.method, "path": row.path, "url": row.url}),
    }
    if row.status is not None:
        about["response"] = {"status": row.status}
    return _without_nothing(
        {
            "requestId": row.invocation,
            "scriptName": row.script_name,
            "scriptVersion": {"id": row.version_id},
            "eventType": row.trigger if row.trigger in _EVENT_TYPES else "unknown",
            "entrypoint": row.entrypoint,
            "outcome": row.outcome,
            "truncated": row.truncated,
            "subrequests": row.subrequests,
            "wallTimeMs": duration or 0,
            "cpuTimeMs": 0,
            "event": about if row.ray or row.url else {},
        }
    )


def _without_nothing(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value not in (None, "")}
