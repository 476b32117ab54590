"""How a webhook knows that a notice is ours, and not an old one.

    Skerry-Timestamp: 1764108000
    Skerry-Signature: v1=<hex of HMAC-SHA256(secret, "<timestamp>.<body>")>

Whoever receives it computes the same over the body as it came and refuses an old timestamp.
"""

import hashlib
import hmac

TIMESTAMP, SIGNATURE = "Skerry-Timestamp", "Skerry-Signature"


def headers(secret: str, timestamp: int, body: bytes) -> dict[str, str]:
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {TIMESTAMP: str(timestamp), SIGNATURE: f"v1={digest}"}
