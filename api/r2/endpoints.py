"""Buckets over REST, as `wrangler r2 bucket` asks (cloudflare-api.md, section 7)."""

from typing import Annotated, Any

from fastapi import APIRouter, Header

from api.db import DB
from api.envelope import Envelope, answer
from api.errors import NotSupported
from api.r2 import flows, service
from api.r2.schemas import BucketIn, BucketOut, BucketsOut, bucket_out
from api.security import CurrentAccount

router = APIRouter(prefix="/accounts/{account_id}/r2/buckets", tags=["r2"])
# What asks the store of a node, which the document's tests do not have.
data_router = APIRouter(prefix=router.prefix, tags=["r2 data"])
Jurisdiction = Annotated[str | None, Header(alias="cf-r2-jurisdiction")]
StorageClass = Annotated[str, Header(alias="cf-r2-storage-class")]


@router.get("", response_model=Envelope[BucketsOut])
def list_buckets(session: DB, account: CurrentAccount) -> dict[str, Any]:
    """All buckets by name; wrangler knows no pages here."""
    found = service.all_of(session, account.id)
    return answer({"buckets": [bucket_out(one) for one in found]})


@router.post("", response_model=Envelope[BucketOut])
def create_bucket(
    session: DB, account: CurrentAccount, body: BucketIn, jurisdiction: Jurisdiction = None
) -> dict[str, Any]:
    """Make a bucket. The location hint is kept and changes nothing."""
    if jurisdiction not in (None, "", "default"):
        raise NotSupported("Jurisdictions are not supported by Skerry. Nothing was changed.")
    made = service.create(
        session,
        account.id,
        body.name,
        location=body.location_hint,
        storage_class=body.storage_class,
    )
    return answer(bucket_out(made))


@router.get("/{bucket}", response_model=Envelope[BucketOut])
def get_bucket(session: DB, account: CurrentAccount, bucket: str) -> dict[str, Any]:
    return answer(bucket_out(service.get(session, account.id, bucket)))


@router.patch("/{bucket}", response_model=Envelope[BucketOut])
def change_bucket(
    session: DB, account: CurrentAccount, bucket: str, storage_class: StorageClass
) -> dict[str, Any]:
    """Change the storage class that the bucket shows; it changes nothing else."""
    found = service.get(session, account.id, bucket, lock=True)
    found.storage_class = service.checked_class(storage_class)
    return answer(bucket_out(found))


@data_router.delete("/{bucket}", response_model=Envelope[dict[str, Any]])
def delete_bucket(session: DB, account: CurrentAccount, bucket: str) -> dict[str, Any]:
    """Delete an empty bucket."""
    flows.delete(session, account.id, bucket)
    return answer({})
