"""A request to the S3 endpoint whose signature holds: whose it is, and what it asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request

from api.clock import now
from api.db import transaction
from api.nodes.stores import StoreDoor
from api.r2 import flows
from api.s3 import keys, sigv4
from api.s3.problems import S3Problem, invalid, mismatched
from api.s3.sigv4 import Claim

PREFIX = "/s3"
META = "x-amz-meta-"


@dataclass(frozen=True)
class Call:
    """`bucket` and `key` are empty where the path has none."""

    request: Request
    claim: Claim
    secret: str
    account_id: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    def door(self, bucket: str = "") -> StoreDoor:
        """The way to the bucket's objects; raises BucketNotFound. Not inside a transaction."""
        with transaction() as session:
            return flows.door_of(session, self.account_id, bucket or self.bucket)

    def limit(self, name: str) -> int:
        """A number up to 1,000 of the query."""
        text = self.query.get(name, "1000")
        if not text.isdecimal():
            raise invalid(f"{name} must be a number.")
        return min(int(text[:9]), 1000)

    @property
    def metadata(self) -> dict[str, str]:
        return {
            name.removeprefix(META): value
            for name, value in self.headers.items()
            if name.startswith(META)
        }


def recognise(request: Request) -> Call:
    """Raises S3Problem when nobody of ours signed this request."""
    raw_path = request.scope["raw_path"].partition(b"?")[0].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    headers = {name.lower(): value for name, value in request.headers.items()}
    signed = sigv4.Request(request.method, raw_path, query, headers)
    claim = sigv4.claim_of(signed, now())
    with transaction() as session:
        known = keys.recognise(session, claim.access_key_id)
    if known is None:
        raise S3Problem("InvalidAccessKeyId", 403, "The access key id you provided does not exist.")
    account_id, secret = known
    if not sigv4.is_signed_by(signed, claim, secret):
        raise mismatched(
            "The request signature we calculated does not match the signature you provided. Check "
            "your secret access key and signing method."
        )
    bucket, _, key = raw_path.removeprefix(PREFIX).lstrip("/").partition("/")
    return Call(
        request=request,
        claim=claim,
        secret=secret,
        account_id=account_id,
        bucket=unquote(bucket),
        key=unquote(key),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers=headers,
    )
