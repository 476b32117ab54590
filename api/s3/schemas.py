from typing import Any

from pydantic import BaseModel

from api.clock import iso
from api.s3.models import AccessKey


class AccessKeyIn(BaseModel):
    name: str


class AccessKeyOut(BaseModel):
    id: str
    name: str
    created_on: str
    last_used_on: str | None


class CreatedAccessKey(AccessKeyOut):
    secret_access_key: str
    endpoint: str


class AccessKeyId(BaseModel):
    id: str


def access_key_out(key: AccessKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "created_on": iso(key.created_at),
        "last_used_on": iso(key.last_used_at) if key.last_used_at else None,
    }
