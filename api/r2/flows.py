"""What concerns both a bucket's row and its store."""

from sqlalchemy.orm import Session

from api.deployments import resources
from api.errors import BucketBound, BucketNotEmpty
from api.nodes import stores
from api.nodes.stores import StoreDoor
from api.r2 import service, store
from api.r2.models import Bucket


def door_of(session: Session, account_id: str, name: str) -> StoreDoor:
    """The way to the objects of a bucket. Raises BucketNotFound, Unavailable."""
    return _door(session, service.get(session, account_id, name))


def delete(session: Session, account_id: str, name: str) -> None:
    """Delete an empty bucket; raises BucketNotFound, BucketBound, BucketNotEmpty."""
    bucket = service.get(session, account_id, name)
    resources.refuse_bound(session, bucket, account_id, "r2_bucket", name, BucketBound)
    # The store itself decides whether it is empty, and ends it in the same moment.
    if not store.end(_door(session, bucket)):
        raise BucketNotEmpty(
            "The bucket you tried to delete is not empty. Nothing was changed; delete its objects first."
        )
    session.delete(bucket)


def totals(session: Session, bucket: Bucket) -> tuple[int, int]:
    """How many objects a bucket has, and their bytes."""
    said = store.ask(_door(session, bucket), {"method": "totals"})
    return said["objects"], said["bytes"]


def _door(session: Session, bucket: Bucket) -> StoreDoor:
    return stores.door(session, bucket.account_id, service.KIND, bucket.name)
