from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.clock import iso
from api.r2.models import Bucket


class BucketIn(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    name: str
    location_hint: str | None = Field(None, alias="locationHint", max_length=16)
    storage_class: str | None = Field(None, alias="storageClass")


class BucketOut(BaseModel):
    name: str
    creation_date: str
    location: str
    storage_class: str
    jurisdiction: str = "default"


class BucketsOut(BaseModel):
    buckets: list[BucketOut]


class ObjectOut(BaseModel):
    """An object that was put; wrangler wants a result that is not null."""

    key: str
    etag: str
    version: str
    size: str
    uploaded: str
    storage_class: str


class ObjectKey(BaseModel):
    key: str


class ListedObject(BaseModel):
    key: str
    etag: str
    last_modified: str
    size: int
    http_metadata: dict[str, Any]
    custom_metadata: dict[str, str]
    storage_class: str


class ListInfo(BaseModel):
    """`result_info` of a list of objects: it goes on at `cursor`."""

    cursor: str | None = None
    is_truncated: bool
    per_page: int
    delimited: list[str] = []


def bucket_out(bucket: Bucket) -> dict[str, Any]:
    return {
        "name": bucket.name,
        "creation_date": iso(bucket.created_at),
        "location": bucket.location,
        "storage_class": bucket.storage_class,
        "jurisdiction": "default",
    }
