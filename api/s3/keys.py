"""Access keys of the S3 endpoint: made, found by who signs, revoked."""

import secrets
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from api import ids, sealing
from api.clock import now
from api.errors import AccessKeyNotFound, BodyInvalid
from api.s3.models import AccessKey

NAME_LENGTH_MAX = 100
# Often enough to see which key is in use, and no write with every request.
NOTED_EVERY = timedelta(minutes=1)


def all_of(session: Session, account_id: str) -> list[AccessKey]:
    query = select(AccessKey).where(AccessKey.account_id == account_id)
    return list(session.scalars(query.order_by(AccessKey.created_at.desc())))


def create(session: Session, account_id: str, name: str) -> tuple[AccessKey, str]:
    """The key and its secret, which is given this once. Raises BodyInvalid for a bad name."""
    name = name.strip()
    if not name or len(name) > NAME_LENGTH_MAX or not name.isprintable():
        raise BodyInvalid(
            f"An access key has a name of 1 to {NAME_LENGTH_MAX} printable characters."
        )
    secret = secrets.token_hex(32)
    key = AccessKey(
        id=ids.hex32(), account_id=account_id, name=name, sealed_secret=sealing.seal(secret)
    )
    session.add(key)
    session.flush()
    return key, secret


def revoke(session: Session, account_id: str, key_id: str) -> AccessKey:
    key = session.scalar(
        select(AccessKey).where(AccessKey.account_id == account_id, AccessKey.id == key_id)
    )
    if key is None:
        raise AccessKeyNotFound("There is no access key of this id on the account.")
    session.delete(key)
    return key


def recognise(session: Session, key_id: str) -> tuple[str, str] | None:
    """The account and the secret of a key; None for one that is unknown or revoked."""
    key = session.get(AccessKey, key_id)
    if key is None:
        return None
    if key.last_used_at is None or key.last_used_at < now() - NOTED_EVERY:
        key.last_used_at = now()
    return key.account_id, sealing.unseal(key.sealed_secret)
