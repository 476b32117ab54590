from typing import Any

from pydantic import BaseModel, Field

from api.envelope import Envelope
from api.objects.models import ObjectNamespace


class ObjectNamespaceOut(BaseModel):
    """A namespace of Durable Objects."""

    id: str
    name: str = Field(description="Script and class.")
    script: str
    class_: str = Field(alias="class")
    use_sqlite: bool


class ObjectOut(BaseModel):
    """A Durable Object that has stored something."""

    id: str
    hasStoredData: bool  # noqa: N815 - Cloudflare's name


class CursorOf(BaseModel):
    """`result_info` of a list of objects."""

    count: int
    cursor: str


class ObjectsEnvelope(Envelope[list[ObjectOut]]):
    """A page of objects; a cursor that is not empty leads to the next one."""

    result_info: CursorOf


def namespace_out(namespace: ObjectNamespace) -> dict[str, Any]:
    script = namespace.script.name
    return {
        "id": namespace.id,
        "name": f"{script}_{namespace.class_name}",
        "script": script,
        "class": namespace.class_name,
        "use_sqlite": namespace.sqlite,
    }
