"""Encryption at rest: what is secret in Postgres is sealed with a key that is not in Postgres."""

import hmac
import os
from functools import lru_cache
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from api.errors import Unavailable
from api.settings import settings


def make_master_key(path: Path) -> None:
    """Write a fresh key, readable by its owner only, unless the file exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "wb") as file:
        file.write(Fernet.generate_key() + b"\n")
        file.flush()
        os.fsync(file.fileno())


@lru_cache
def _keys() -> MultiFernet:
    lines = settings().master_key_file.read_bytes().split()
    return MultiFernet([Fernet(line) for line in lines])


def seal(text: str) -> bytes:
    """Encrypt with the first master key (Fernet: AES-128-CBC and HMAC-SHA256)."""
    return _keys().encrypt(text.encode())


def unseal(sealed: bytes) -> str:
    """Decrypt with whichever master key fits.

    Raises Unavailable when none does: the database then belongs to another installation's key.
    """
    try:
        return _keys().decrypt(sealed).decode()
    except InvalidToken as error:
        raise Unavailable(
            "A stored secret cannot be decrypted: the master key is not the one it was sealed with. "
            "Nothing was changed. Put the right key into SKERRY_MASTER_KEY_FILE and start again."
        ) from error


def sign(text: str) -> bytes:
    """A signature that only this installation can make (HMAC-SHA256 under the first master key)."""
    return _signatures(text)[0]


def verify(text: str, signature: bytes) -> bool:
    """Whether `sign` made it, with any of the master keys."""
    return any(hmac.compare_digest(signature, one) for one in _signatures(text))


def _signatures(text: str) -> list[bytes]:
    lines = settings().master_key_file.read_bytes().split()
    return [
        hmac.digest(line, b"skerry signature\0" + text.encode(errors="replace"), "sha256")
        for line in lines
    ]
