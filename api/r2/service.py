"""Buckets: their names. What is in them is in the account's store (objects.py)."""

import re
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import ids
from api.clock import now
from api.errors import BucketExists, BucketNameInvalid, BucketNotFound, R2BindingNotFound, Refused
from api.nodes import stores
from api.pagination import Listing, Page, paginate
from api.r2.models import Bucket

# Cloudflare's rule; letters and digits at both ends.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
KIND = "r2"
STORAGE_CLASSES = ("Standard", "InfrequentAccess")
LOCATION = "local"


def owned_by(account_id: str) -> Select[Bucket]:
    """The one door to buckets."""
    return select(Bucket).where(Bucket.account_id == account_id)


def find(session: Session, account_id: str, name: str) -> Bucket | None:
    return session.scalar(owned_by(account_id).where(Bucket.name == name))


def get(session: Session, account_id: str, name: str, *, lock: bool = False) -> Bucket:
    """Raises BucketNotFound, for a stranger's too."""
    query = owned_by(account_id).where(Bucket.name == name)
    bucket = session.scalar(query.with_for_update() if lock else query)
    if bucket is None:
        raise BucketNotFound("The specified bucket does not exist.")
    return bucket


def all_of(session: Session, account_id: str) -> list[Bucket]:
    return list(session.scalars(owned_by(account_id).order_by(Bucket.name)))


def page_of_buckets(session: Session, account_id: str, page: Page) -> Listing[Bucket]:
    return paginate(session, owned_by(account_id).order_by(Bucket.name), page)


def create(
    session: Session,
    account_id: str,
    name: str,
    *,
    location: str | None = None,
    storage_class: str | None = None,
) -> Bucket:
    """Raises BucketNameInvalid, BucketExists, or Refused for a storage class that is none."""
    _check_name(name)
    values = {
        "id": ids.hex32(),
        "account_id": account_id,
        "name": name,
        "location": location or LOCATION,
        "storage_class": checked_class(storage_class or STORAGE_CLASSES[0]),
        "created_at": now(),
    }
    made = session.scalar(
        insert(Bucket).values(values).on_conflict_do_nothing().returning(Bucket.id)
    )
    if made is None:
        raise BucketExists("The bucket you tried to create already exists, and you own it.")
    return session.get_one(Bucket, made)


def ensure(session: Session, account_id: str, name: str) -> Bucket:
    """The bucket of that name, made if there is none."""
    return find(session, account_id, name) or create(session, account_id, name)


def name_like(title: str) -> str:
    """A title as a bucket's name: Workers may have underscores in theirs."""
    return re.sub(r"[^a-z0-9]+", "-", title)[:63].strip("-")


def make(session: Session, account_id: str, title: str, name: str) -> Bucket:
    """The bucket that a template's Worker binds: it is addressed by its name, which was chosen before."""
    del title
    return create(session, account_id, name)


def remove(session: Session, account_id: str, name: str) -> None:
    """Take back a bucket that was made with a Worker which did not start, if it is there. Nobody can
    have put anything into it but that Worker."""
    found = find(session, account_id, name)
    if found is not None:
        session.delete(found)
        stores.discard(session, account_id, KIND, name)


def check_binding(session: Session, account_id: str, binding: dict[str, Any]) -> None:
    """Raises R2BindingNotFound; until the end of the transaction the bucket stays."""
    name = str(binding["bucket_name"])
    query = owned_by(account_id).where(Bucket.name == name).with_for_update(read=True)
    if session.scalar(query) is None:
        raise R2BindingNotFound(
            f"R2 bucket '{name[:80]}' not found. Please use a different name and try again. "
            f"Nothing was changed. To make it: wrangler r2 bucket create {name[:80]}"
        )


def checked_class(name: str) -> str:
    if name not in STORAGE_CLASSES:
        known = " or ".join(STORAGE_CLASSES)
        raise Refused(f'"{name[:40]}" is no storage class. Use {known}. Nothing was changed.')
    return name


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BucketNameInvalid(
            "The specified bucket name is not valid: use 3 to 63 lower-case letters, digits and "
            "hyphens, with no hyphen at either end. Nothing was changed."
        )
