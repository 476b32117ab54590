"""Access keys over REST; ours, not Cloudflare's, which makes them in its dashboard."""

from typing import Any

from fastapi import APIRouter

from api.db import DB
from api.envelope import Envelope, answer
from api.s3 import keys
from api.s3.caller import PREFIX
from api.s3.schemas import (
    AccessKeyId,
    AccessKeyIn,
    AccessKeyOut,
    CreatedAccessKey,
    access_key_out,
)
from api.security import CurrentAccount
from api.settings import settings

router = APIRouter(prefix="/accounts/{account_id}/skerry/access_keys", tags=["r2"])


@router.get("", response_model=Envelope[list[AccessKeyOut]])
def list_access_keys(session: DB, account: CurrentAccount) -> dict[str, Any]:
    """The account's keys of the S3 endpoint, newest first, without their secrets."""
    return answer([access_key_out(key) for key in keys.all_of(session, account.id)])


@router.post("", response_model=Envelope[CreatedAccessKey])
def create_access_key(session: DB, account: CurrentAccount, body: AccessKeyIn) -> dict[str, Any]:
    """Make a key for all buckets of the account; its secret is given this once."""
    key, secret = keys.create(session, account.id, body.name)
    endpoint = settings().public_url + PREFIX
    return answer({**access_key_out(key), "secret_access_key": secret, "endpoint": endpoint})


@router.delete("/{access_key_id}", response_model=Envelope[AccessKeyId])
def revoke_access_key(session: DB, account: CurrentAccount, access_key_id: str) -> dict[str, Any]:
    """Refuse a key from now on."""
    return answer({"id": keys.revoke(session, account.id, access_key_id).id})
