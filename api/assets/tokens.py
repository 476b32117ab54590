"""The tokens of an upload of static assets: wrangler wants them to look like JWTs (RFC 7519)."""

import base64
import binascii
import json
from datetime import timedelta

from api import sealing
from api.clock import now
from api.errors import NotAuthenticated

LIFETIME = timedelta(hours=1)
_HEADER = {"alg": "HS256", "typ": "JWT"}
UPLOADING, COMPLETE = "uploading", "complete"


def issue(session_id: str, kind: str) -> str:
    """A token for an upload session, of one of the kinds above."""
    payload = {"session": session_id, "kind": kind, "exp": int((now() + LIFETIME).timestamp())}
    signed = f"{_encode(_HEADER)}.{_encode(payload)}"
    return f"{signed}.{_base64(sealing.sign(signed))}"


def session_of(token: str, kind: str) -> str:
    """The id of the session that a token is good for; raises NotAuthenticated."""
    try:
        signed, _, signature = token.rpartition(".")
        payload = json.loads(_decode(signed.partition(".")[2]))
        genuine = sealing.verify(signed, _decode(signature))
    except (binascii.Error, ValueError) as error:
        raise _refusal() from error
    if not genuine or payload["kind"] != kind or payload["exp"] < now().timestamp():
        raise _refusal()
    return str(payload["session"])


def _refusal() -> NotAuthenticated:
    return NotAuthenticated(
        "The token of this asset upload is unknown or has expired. Nothing was stored; deploy again."
    )


def _encode(value: object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
