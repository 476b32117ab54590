"""Asking a bucket's store: what is small in one piece, what may be large as a stream.

A stream is never held: bytes are read from one side only when the other has taken the ones before.
"""

import json
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx2

from api.errors import R2_PROBLEMS, Problem, R2Refused, Unavailable
from api.nodes.stores import Store, StoreDoor, client_of
from api.r2.protocol import ERROR, METADATA_SIZE, Facts, reading, writing
from api.settings import settings


@dataclass(frozen=True)
class Opened:
    """An object on its way: what is said of it, and its bytes."""

    facts: Facts
    content: AsyncIterator[bytes]


def ask(door: StoreDoor, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A question whose answer has no content: head, list, listUploads, listParts, totals."""
    return _said(_send(door, "GET", "/", reading(asked)))


def tell(door: StoreDoor, asked: Mapping[str, Any], content: bytes = b"") -> dict[str, Any]:
    """A change whose content is small."""
    headers, begin = writing(asked)
    return _said(_send(door, "PUT", "/", headers, begin + content))


def end(door: StoreDoor) -> bool:
    """The end of an empty bucket; False when it is not empty."""
    answer = _send(door, "POST", "/destroy", {})
    if answer.status_code not in (200, 409):
        raise _away(f"the store answered {answer.status_code}")
    return answer.status_code == 200


async def put(
    door: StoreDoor, asked: Mapping[str, Any], content: AsyncIterable[bytes], size: int | None
) -> dict[str, Any]:
    """A change with content that streams in; `size` in bytes, None when nobody has said it.

    Nothing is stored when `content` raises.
    """
    headers, begin = writing(asked)
    if size is not None:
        headers["Content-Length"] = str(len(begin) + size)

    async def body() -> AsyncIterator[bytes]:
        # Content that turns out to be bad before its first byte: nothing at all is sent.
        parts = aiter(content)
        first = await anext(parts, b"")
        yield begin + first
        async for part in parts:
            yield part

    client = client_of(door)
    try:
        answer = await Store(door, client).ask("PUT", "/", headers=headers, content=body())
        return _said(answer)
    finally:
        await client.aclose()


@asynccontextmanager
async def opened(door: StoreDoor, asked: Mapping[str, Any]) -> AsyncIterator[Opened]:
    """An object whose content streams out for as long as the context lasts."""
    client = client_of(door)
    try:
        answer = await Store(door, client).send("GET", "/", headers=reading(asked))
        if answer.is_error:
            await answer.aread()
            raise _problem(answer)
        content = answer.aiter_raw()
        text, rest = await _first(content, int(answer.headers[METADATA_SIZE]))
        yield Opened(Facts.of(json.loads(text)), _after(rest, content))
    finally:
        await client.aclose()


async def _first(content: AsyncIterator[bytes], size: int) -> tuple[bytes, bytes]:
    found = bytearray()
    async for part in content:
        found += part
        if len(found) >= size:
            break
    return bytes(found[:size]), bytes(found[size:])


async def _after(rest: bytes, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if rest:
        yield rest
    async for part in content:
        yield part


def _send(
    door: StoreDoor, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> httpx2.Response:
    try:
        return _client(door.authority).request(
            method,
            door.url + path,
            content=body,
            headers={**headers, "Authorization": f"Bearer {door.push_key}"},
            extensions={"sni_hostname": door.server_name},
            timeout=settings().store_timeout_seconds,
        )
    except (httpx2.HTTPError, ssl.SSLError) as error:
        raise _away(repr(error)) from error


def _said(answer: httpx2.Response) -> dict[str, Any]:
    if answer.is_error:
        raise _problem(answer)
    size = answer.headers.get(METADATA_SIZE)
    said: dict[str, Any] = json.loads(answer.content[: int(size)]) if size else {}
    return said


def _problem(answer: httpx2.Response) -> Problem:
    """What the store refused, as the API says it."""
    if ERROR not in answer.headers:
        return _away(f"HTTP {answer.status_code}: {answer.text[:200]}")
    said = json.loads(answer.headers[ERROR])
    code, message = int(said["v4code"]), str(said["message"])
    known = R2_PROBLEMS.get(code)
    return known(message) if known else R2Refused(message, v4code=code)


def _away(reason: str) -> Unavailable:
    return Unavailable(
        f"The node that has this account's objects did not answer ({reason}). Try again in a moment."
    )


@lru_cache(maxsize=4)
def _client(authority: str) -> httpx2.Client:
    trust = ssl.create_default_context(cadata=authority)
    return httpx2.Client(verify=trust, trust_env=False)
