"""AWS Signature Version 4, the server's side: in a header, and in the query of a presigned URL.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from api.s3.problems import S3Problem, denied, invalid

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
# How far the clocks of client and server may be apart.
SKEW = timedelta(minutes=15)
PRESIGNED_MOST = timedelta(days=7)

_HEADER = re.compile(
    rf"{ALGORITHM}\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]{{64}})"
)
_DATE = "%Y%m%dT%H%M%SZ"
_SIGNATURE = "X-Amz-Signature"


@dataclass(frozen=True)
class Request:
    """A request as it was signed: the path and the query as they were sent, still encoded."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """With lower-case names."""


@dataclass(frozen=True)
class Scope:
    """What a signing key is good for."""

    date: str
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True)
class Claim:
    """Who says to have signed a request, and how."""

    access_key_id: str
    scope: Scope
    timestamp: str
    signed_headers: tuple[str, ...]
    signature: str
    payload: str
    """A SHA-256 in hex, or one of the words that stand for another way."""


def claim_of(request: Request, now: datetime) -> Claim:
    """Raises S3Problem for a request that is not signed, or not now."""
    claim = _in_query(request, now) if _SIGNATURE in request.query else _in_header(request, now)
    if "host" not in claim.signed_headers:
        raise denied("The header host has to be signed.")
    return claim


def signature_of(request: Request, claim: Claim, secret: str) -> str:
    """The signature that the holder of the secret makes."""
    text = "\n".join(
        (
            ALGORITHM,
            claim.timestamp,
            str(claim.scope),
            _sha256(canonical(request, claim.signed_headers, claim.payload)),
        )
    )
    return sign(signing_key(secret, claim.scope), text)


def is_signed_by(request: Request, claim: Claim, secret: str) -> bool:
    return hmac.compare_digest(signature_of(request, claim, secret), claim.signature)


def signing_key(secret: str, scope: Scope) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(), "sha256").hex()


def canonical(request: Request, signed_headers: Iterable[str], payload: str) -> str:
    """S3 takes the path as it was sent and encodes it no second time."""
    headers = [(name, _trimmed(request.headers.get(name, ""))) for name in signed_headers]
    return "\n".join(
        (
            request.method,
            request.path,
            _canonical_query(request.query),
            *(f"{name}:{value}" for name, value in headers),
            "",
            ";".join(signed_headers),
            payload,
        )
    )


def _canonical_query(query: str) -> str:
    # A plus is a plus here: only forms write blanks so.
    pairs = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    encoded = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in pairs
        if name != _SIGNATURE
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


def _trimmed(value: str) -> str:
    return " ".join(value.split())


def _in_header(request: Request, now: datetime) -> Claim:
    found = _HEADER.fullmatch(request.headers.get("authorization", "").strip())
    if found is None:
        raise denied("Sign the request with AWS Signature Version 4.")
    credential, signed_headers, signature = found.groups()
    access_key_id, scope = _credential(credential)
    timestamp = request.headers.get("x-amz-date", "")
    if abs(now - _moment(timestamp, scope)) > SKEW:
        raise S3Problem(
            "RequestTimeTooSkewed",
            403,
            "The difference between the request time and the current time is too large.",
        )
    payload = request.headers.get("x-amz-content-sha256")
    if payload is None:
        raise invalid("The header x-amz-content-sha256 is missing.")
    names = tuple(signed_headers.lower().split(";"))
    # What changes what a request does has to be signed, or somebody on the way could add it.
    if any(name.startswith("x-amz-") and name not in names for name in request.headers):
        raise denied("There were headers present in the request which were not signed.")
    return Claim(access_key_id, scope, timestamp, names, signature, payload)


def _in_query(request: Request, now: datetime) -> Claim:
    fields = dict(parse_qsl(request.query, keep_blank_values=True))
    if fields.get("X-Amz-Algorithm") != ALGORITHM:
        raise denied("Sign the request with AWS Signature Version 4.")
    access_key_id, scope = _credential(fields.get("X-Amz-Credential", ""))
    timestamp, lifetime = fields.get("X-Amz-Date", ""), fields.get("X-Amz-Expires", "")
    signed_at = _moment(timestamp, scope)
    if not lifetime.isdecimal() or not 1 <= int(lifetime[:9]) <= PRESIGNED_MOST.total_seconds():
        raise invalid("X-Amz-Expires must be between 1 second and a week.")
    if now > signed_at + timedelta(seconds=int(lifetime)) or now < signed_at - SKEW:
        raise denied("Request has expired")
    payload = request.headers.get("x-amz-content-sha256", UNSIGNED)
    names = tuple(fields.get("X-Amz-SignedHeaders", "").lower().split(";"))
    return Claim(access_key_id, scope, timestamp, names, fields[_SIGNATURE], payload)


def _credential(text: str) -> tuple[str, Scope]:
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or parts[3:] != ["s3", "aws4_request"]:
        raise denied("The credential is not KEY/DATE/REGION/s3/aws4_request.")
    return parts[0], Scope(*parts[1:4])


def _moment(timestamp: str, scope: Scope) -> datetime:
    try:
        moment = datetime.strptime(timestamp, _DATE).replace(tzinfo=UTC)
    except ValueError as error:
        raise denied("The request has no date of the form 20260102T030405Z.") from error
    if not timestamp.startswith(scope.date):
        raise denied("The date of the credential is not the request's.")
    return moment


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
