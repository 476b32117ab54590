"""What opens a store: a name with its MAC, under a key that only that store and the agent have."""

import hashlib
import hmac

ID_TEXT = r"[A-Za-z0-9_-]{1,64}"
"""The form of an account's id, which names a folder."""


class Tickets:
    def __init__(self, node_key: bytes) -> None:
        self._node_key = node_key

    def key(self, account_id: str, kind: str) -> bytes:
        """Of one store. Another account's, or another kind's, opens nothing there."""
        return _mac(self._node_key, f"store {account_id}/{kind}")

    def ticket(self, account_id: str, kind: str, name: str) -> str:
        """The header's value for a namespace, database … of that name."""
        return f"{name}.{_mac(self.key(account_id, kind), name).hex()}"


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), hashlib.sha256)
