"""Asking a queue's store: its protocol is that of the runtime's binding, and some paths of ours
(edge/store/queues/queues.js)."""

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

from api.errors import BatchTooLarge, BatchTooLong, MessageTooLarge, QueueRefused, Unavailable
from api.nodes import stores
from api.nodes.stores import StoreDoor

_TOO_LARGE = {one.code: one for one in (MessageTooLarge, BatchTooLarge, BatchTooLong)}


@dataclass(frozen=True)
class Outgoing:
    """A message on its way in."""

    content_type: str
    """`text`, `json`, `bytes`."""
    body: bytes
    delay_seconds: int | None = None


@dataclass(frozen=True)
class Backlog:
    count: int
    bytes: int
    oldest_ms: int
    """When its oldest message was sent; 0 when there is none."""


def send(door: StoreDoor, messages: list[Outgoing], delay_seconds: int | None = None) -> Backlog:
    """All of them or none. Raises QueueRefused."""
    entries = [
        {
            "body": base64.b64encode(one.body).decode(),
            "contentType": one.content_type,
            "delaySecs": one.delay_seconds,
        }
        for one in messages
    ]
    headers = {"x-skerry-source": "http"}
    if delay_seconds is not None:
        headers["X-Msg-Delay-Secs"] = str(delay_seconds)
    said = _ask(door, "POST", "/batch", {"messages": entries}, headers)
    return _backlog(said["metadata"]["metrics"])


def backlog(door: StoreDoor) -> Backlog:
    return _backlog(_ask(door, "GET", "/metrics"))


def pull(
    door: StoreDoor, batch_size: int, visibility_timeout_ms: int
) -> tuple[list[dict[str, Any]], Backlog]:
    body = {"batch_size": batch_size, "visibility_timeout_ms": visibility_timeout_ms}
    said = _ask(door, "POST", "/pull", body)
    return said["messages"], _backlog(said["metrics"])


def acknowledge(
    door: StoreDoor, acks: list[dict[str, Any]], retries: list[dict[str, Any]]
) -> dict[str, Any]:
    said: dict[str, Any] = _ask(door, "POST", "/ack", {"acks": acks, "retries": retries})
    return said


def peek(door: StoreDoor) -> list[dict[str, Any]]:
    """The oldest ones, which stay where they are."""
    messages: list[dict[str, Any]] = _ask(door, "GET", "/peek")["messages"]
    return messages


def purge(door: StoreDoor) -> None:
    _ask(door, "POST", "/purge", {})


def destroy(door: StoreDoor) -> None:
    _ask(door, "POST", "/destroy", {})


def configure(door: StoreDoor, content: dict[str, Any]) -> None:
    _ask(door, "POST", "/configure", content)


def _ask(
    door: StoreDoor,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    async def ask() -> tuple[int, bytes]:
        async with stores.opened(door) as store:
            content = None if body is None else json.dumps(body).encode()
            answer = await store.ask(method, path, headers=headers, content=content)
            return answer.status_code, answer.content

    status, content = asyncio.run(ask())
    if status == 200:
        return json.loads(content)
    try:
        said = json.loads(content)
        code, message = int(said["code"]), f"{said['error']}. Nothing was stored."
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"The store answered {status}. Nothing is lost. Try again.") from error
    if code in _TOO_LARGE:
        raise _TOO_LARGE[code](message)
    raise QueueRefused(message, code=code)


def _backlog(metrics: dict[str, int]) -> Backlog:
    return Backlog(
        metrics["backlogCount"], metrics["backlogBytes"], metrics["oldestMessageTimestamp"]
    )
