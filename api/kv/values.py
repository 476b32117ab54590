"""What is in a KV namespace, asked of its store in the runtime's own protocol (workerd.md, section 4)."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, Field

from api.errors import (
    KVCursorInvalid,
    KVExpirationInvalid,
    KVExpirationTtlInvalid,
    KVKeyInvalid,
    KVKeyNotFound,
    KVKeyTooLong,
    KVLimitInvalid,
    KVMetadataInvalid,
    KVValueTooLarge,
    Problem,
    Unavailable,
)
from api.nodes.stores import REASON_HEADER, Store

VALUE_BYTES_MAX = 25 * 1024 * 1024
KEY_BYTES_MAX = 512
METADATA_BYTES_MAX = 1024
LIST_MAX = 1000
# Of one request to the store: it reads JSON as a whole.
BULK_BYTES = 4 * 1024 * 1024
METADATA_HEADER = "CF-KV-Metadata"


class Pair(BaseModel):
    """A key to write."""

    key: str
    value: str
    expiration: int | None = None
    expiration_ttl: int | None = None
    metadata: Any = None
    base64: bool = False


class Key(BaseModel):
    """A key as it is listed."""

    name: str
    expiration: int | None = Field(None, description="Seconds since 1970.")
    metadata: Any = None


def check_key(key: str) -> str:
    """The key; raises KVKeyInvalid or KVKeyTooLong."""
    if key in ("", ".", "..") or "\0" in key:
        raise KVKeyInvalid(f"illegal key name: '{key}'. Choose another one.")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise KVKeyInvalid(
            f"illegal key name: it is not valid Unicode ({error.reason})."
        ) from error
    if size > KEY_BYTES_MAX:
        raise KVKeyTooLong(
            f"key too long: UTF-8 encoded length of {size} exceeds key length limit of {KEY_BYTES_MAX}."
        )
    return key


def check_metadata(text: str) -> str:
    """Metadata as the store keeps it; raises KVMetadataInvalid."""
    try:
        compact = json.dumps(json.loads(text), separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise KVMetadataInvalid(f"invalid metadata: it is not JSON ({error}).") from error
    if len(compact) > METADATA_BYTES_MAX:
        raise KVMetadataInvalid(
            f"invalid metadata: {len(compact)} bytes, and at most {METADATA_BYTES_MAX} are kept."
        )
    return compact


async def get(store: Store, key: str) -> httpx2.Response:
    """The value, still to be read, with its metadata as a header. Raises KVKeyNotFound."""
    answer = await store.send("GET", _path(key))
    if not answer.is_success:
        await answer.aread()
        raise _problem(answer)
    return answer


async def put(
    store: Store,
    key: str,
    content: bytes | AsyncIterator[bytes],
    *,
    expiration: str | None = None,
    expiration_ttl: str | None = None,
    metadata: str | None = None,
) -> None:
    """Write one key; what is refused changes nothing."""
    given = {"expiration": expiration, "expiration_ttl": expiration_ttl}
    query = {name: text for name, text in given.items() if text is not None}
    headers = {METADATA_HEADER: check_metadata(metadata)} if metadata else {}
    answer = await store.ask("PUT", _path(key), query=query, headers=headers, content=content)
    if not answer.is_success:
        raise _problem(answer)


async def delete(store: Store, key: str) -> None:
    answer = await store.ask("DELETE", _path(key))
    if not answer.is_success:
        raise _problem(answer)


async def list_keys(
    store: Store, *, prefix: str = "", cursor: str = "", limit: int = LIST_MAX
) -> tuple[list[dict[str, Any]], str]:
    """A page of keys in their order, and the cursor of the next one or an empty string."""
    query = {"key_count_limit": str(limit), "prefix": prefix, "cursor": cursor}
    answer = await store.ask("GET", "/", query={name: text for name, text in query.items() if text})
    if not answer.is_success:
        raise _problem(answer)
    page = answer.json()
    for key in page["keys"]:
        if "metadata" in key:
            key["metadata"] = json.loads(key["metadata"])
    return page["keys"], page.get("cursor", "")


async def find(store: Store, key: str) -> dict[str, Any]:
    """One key as it is listed, raises KVKeyNotFound."""
    keys, _ = await list_keys(store, prefix=check_key(key), limit=1)
    if not keys or keys[0]["name"] != key:
        raise KVKeyNotFound(f"get: 'key not found' ({key[:80]}).")
    return keys[0]


async def get_many(
    store: Store, keys: list[str], *, kind: str = "text", with_metadata: bool = False
) -> dict[str, Any]:
    """Values by key, None for a key that is not there."""
    body = {"keys": keys, "type": kind, "withMetadata": with_metadata}
    answer = await store.ask("POST", "/bulk/get", content=json.dumps(body).encode())
    if not answer.is_success:
        raise _problem(answer)
    found: dict[str, Any] = answer.json()
    return found


async def put_many(store: Store, pairs: list[Pair]) -> list[str]:
    """Write many keys; gives those that could not be written. Raises for what is wrong in any of
    them before the first is written."""
    for pair in pairs:
        check_key(pair.key)
        if pair.metadata is not None:
            check_metadata(json.dumps(pair.metadata))
    failed: list[str] = []
    texts = [pair.model_dump_json(exclude_none=True) for pair in pairs]
    for part in _parts(texts):
        failed += await _many(store, "put", part)
    return failed


async def delete_many(store: Store, keys: list[str]) -> list[str]:
    """Delete many keys; gives those that could not be deleted."""
    failed: list[str] = []
    for part in _parts([json.dumps(check_key(key)) for key in keys]):
        failed += await _many(store, "delete", part)
    return failed


async def _many(store: Store, what: str, entries: list[str]) -> list[str]:
    answer = await store.ask("POST", f"/bulk/{what}", content=f"[{','.join(entries)}]".encode())
    if not answer.is_success:
        raise _problem(answer)
    failed = answer.json()["failed"]
    if failed and len(failed) == len(entries):
        raise _refusal(failed[0]["status"], failed[0]["reason"])
    return [entry["key"] for entry in failed]


def _parts(entries: list[str]) -> Iterator[list[str]]:
    """JSON texts in lists that are not too large together; a large one is alone."""
    part: list[str] = []
    size = 0
    for entry in entries:
        if part and size + len(entry) > BULK_BYTES:
            yield part
            part, size = [], 0
        part.append(entry)
        size += len(entry)
    if part:
        yield part


def _path(key: str) -> str:
    return f"/{quote(check_key(key), safe='')}"


def _problem(answer: httpx2.Response) -> Problem:
    return _refusal(answer.status_code, answer.headers.get(REASON_HEADER, ""))


# By a word of what the store says; the first that fits.
_BY_WORD: tuple[tuple[str, type[Problem]], ...] = (
    ("expiration_ttl", KVExpirationTtlInvalid),
    ("expiration", KVExpirationInvalid),
    ("Expiration", KVExpirationInvalid),
    ("key_count_limit", KVLimitInvalid),
    ("cursor", KVCursorInvalid),
    ("Metadata", KVMetadataInvalid),
    ("metadata", KVMetadataInvalid),
    ("key name", KVKeyInvalid),
    ("Value length", KVValueTooLarge),
    ("Total size", KVValueTooLarge),
)


def _refusal(status: int, reason: str) -> Problem:
    """What the store refused, in Cloudflare's numbers; the words are the store's own."""
    if status == 404:
        return KVKeyNotFound("get: 'key not found'.")
    if status == 414:
        return KVKeyTooLong(f"{reason} Nothing was changed.")
    for word, problem in _BY_WORD:
        if word in reason:
            return problem(f"{reason} Nothing was changed.")
    return Unavailable(f"The store refused this with status {status}: {reason}")
