"""Answers with an object's content, which streams out of its store."""

from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Any

from fastapi.responses import StreamingResponse

from api.nodes.stores import StoreDoor
from api.r2 import store
from api.r2.protocol import HTTP_FIELDS, Facts


async def streaming(
    door: StoreDoor, asked: dict[str, Any], more: Callable[[Facts], dict[str, str]] | None = None
) -> StreamingResponse:
    """An answer with an object's content, 206 for a part of it; `more` are further headers."""
    context = store.opened(door, asked)
    opened = await context.__aenter__()

    async def content() -> AsyncIterator[bytes]:
        try:
            async for part in opened.content:
                yield part
        finally:
            await context.__aexit__(None, None, None)

    facts = opened.facts
    whole = facts.length == facts.size
    headers = {**object_headers(facts), **(more(facts) if more else {})}
    if not whole:
        last = facts.offset + facts.length - 1
        headers["content-range"] = f"bytes {facts.offset}-{last}/{facts.size}"
    return StreamingResponse(content(), 200 if whole else 206, headers)


def object_headers(facts: Facts) -> dict[str, str]:
    """The headers of an answer with an object."""
    headers = {
        header: facts.http[name] for header, name in HTTP_FIELDS.items() if name in facts.http
    }
    headers.setdefault("content-type", "application/octet-stream")
    if "cacheExpiry" in facts.http:
        headers["expires"] = formatdate(int(facts.http["cacheExpiry"]) / 1000, usegmt=True)
    headers["content-length"] = str(facts.length)
    headers["etag"] = f'"{facts.etag}"'
    headers["last-modified"] = formatdate(facts.uploaded_ms / 1000, usegmt=True)
    headers["accept-ranges"] = "bytes"
    return headers
