from typing import Any

from pydantic import BaseModel

from api.envelope import Envelope
from api.kv.models import KVNamespace
from api.kv.values import Key


class NamespaceIn(BaseModel):
    """What a namespace is called."""

    title: str


class NamespaceOut(BaseModel):
    """A KV namespace."""

    id: str
    title: str
    supports_url_encoding: bool


class CursorOf(BaseModel):
    """`result_info` of a list of keys."""

    count: int
    cursor: str


class KeysEnvelope(Envelope[list[Key]]):
    """A page of keys; a cursor that is not empty leads to the next one."""

    result_info: CursorOf


class BulkOut(BaseModel):
    """What came of writing or deleting many keys."""

    successful_key_count: int
    unsuccessful_keys: list[str]


class BulkGetIn(BaseModel):
    keys: list[str]
    type: str = "text"
    withMetadata: bool = False  # noqa: N815 - Cloudflare's name


class BulkGetOut(BaseModel):
    values: dict[str, Any]


def namespace_out(namespace: KVNamespace) -> dict[str, Any]:
    return {"id": namespace.id, "title": namespace.title, "supports_url_encoding": True}
