"""Encrypts what must not lie on the node's disk in the clear: specs hold secrets."""

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12


class SealError(RuntimeError):
    """Something on disk was not sealed with this node's key, or was changed."""


class Seal:
    """AES-256-GCM under NODE_DIR/node.key. The label says whose content it is, so that two rows
    cannot be swapped."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def of(cls, path: Path) -> "Seal":
        """Read the node's key, or make one. Mode 0600 from its first moment."""
        if not path.exists():
            write_private(path, os.urandom(KEY_BYTES))
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise SealError(f"{path} is not a key of {KEY_BYTES} bytes")
        return cls(key)

    def close(self, content: bytes, label: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, label.encode())

    def open(self, sealed: bytes, label: str) -> bytes:
        nonce, body = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, body, label.encode())
        except InvalidTag as error:
            raise SealError(f"{label} was not sealed with this node's key") from error


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step; nobody else can read it at any time."""
    # A name of its own: a push and a pull may write the same file at the same time.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
