"""What an instance did: from the runtime's events to the steps that Cloudflare's API tells."""

from typing import Any

from api.clock import iso_of_milliseconds

Event = dict[str, Any]


def history(events: list[Event]) -> dict[str, Any]:
    """Times of the whole, its parameters, and its steps in the order in which they began."""
    told: dict[str, Any] = {"queued": None, "start": None, "end": None, "params": None}
    steps: dict[str, dict[str, Any]] = {}
    for event in events:
        at, kind = _at(event), event["type"]
        if kind == "workflow_queued":
            told["queued"] = told["queued"] or at
        elif kind == "workflow_started":
            told["start"], told["params"] = at, event.get("params")
        elif kind in ("workflow_completed", "workflow_errored", "workflow_terminated"):
            told["end"] = at
            if kind == "workflow_terminated":
                steps[kind] = {"type": "termination", "trigger": {"source": "api"}}
        elif "stepName" in event:
            _of_step(steps, event, at)
    return {**told, "steps": list(steps.values())}


def _at(event: Event) -> str:
    return iso_of_milliseconds(int(event["timestamp"]))


def _of_step(steps: dict[str, dict[str, Any]], event: Event, at: str) -> None:
    kind, _, what = event["type"].rpartition("_")
    # Its name may be that of a step of another type.
    family = {"attempt": "step", "rollback_attempt": "rollback_step", "wait_timed": "wait"}.get(
        kind, kind
    )
    key = f"{family} {event['stepName']}"
    if kind in ("step", "rollback_step") and what == "started":
        steps[key] = {
            "name": event["stepName"],
            "type": "step" if kind == "step" else "rollback",
            "start": at,
            "end": None,
            "success": None,
            "output": None,
            "config": event.get("config"),
            "attempts": [],
        }
    elif kind in ("sleep", "wait") and what == "started":
        steps[key] = {
            "name": event["stepName"],
            "type": "sleep" if kind == "sleep" else "waitForEvent",
            "start": at,
            "end": None,
            "finished": False,
            "error": None,
        }
    elif (step := steps.get(key)) is None:
        return
    elif kind in ("attempt", "rollback_attempt"):
        _of_attempt(step["attempts"], event, what, at)
    elif what == "out":
        step |= {"end": at, "finished": True, "error": _TIMED_OUT}
    elif "attempts" in step:
        step |= {"end": at, "success": what == "completed", "output": event.get("output")}
    else:
        step |= {"end": at, "finished": True}


_TIMED_OUT = {"name": "WorkflowTimeoutError", "message": "No such event came in time"}


def _of_attempt(attempts: list[dict[str, Any]], event: Event, what: str, at: str) -> None:
    if what == "started":
        attempts.append({"start": at, "end": None, "success": None, "error": None})
    elif attempts:
        attempts[-1] |= {"end": at, "success": what == "completed", "error": event.get("error")}
