"""The files of bundles on the node's disk: stored under their digest, once, checked on the way in."""

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from edge.agent.sealing import write_private
from edge.spec import DIGEST


class DigestError(ValueError):
    """Content that is not what its digest says."""


class Bundles:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for draft in folder.glob("*.draft"):  # of an agent that was killed while it wrote
            draft.unlink()

    def has(self, digest: str) -> bool:
        return self.path(digest).exists()

    def missing(self, digests: Collection[str]) -> list[str]:
        return sorted(digest for digest in digests if not self.has(digest))

    def store(self, files: Mapping[str, bytes]) -> None:
        """Verify and write; a crash leaves whole files only. Raises DigestError."""
        for digest, content in files.items():
            verify(digest, content)
        for digest, content in files.items():
            if not self.has(digest):
                write_private(self.path(digest), content)

    def read(self, digests: Collection[str]) -> dict[str, bytes]:
        """Content by digest; raises DigestError for a file that the disk has spoilt."""
        files = {digest: self.path(digest).read_bytes() for digest in digests}
        for digest, content in files.items():
            try:
                verify(digest, content)
            except DigestError:
                self.path(digest).unlink()  # fetched again by the next attempt
                raise
        return files

    def stored(self) -> list[str]:
        """Digests of all files."""
        names = os.listdir(self._folder)
        return [f"sha256:{name}" for name in names if not name.endswith(".draft")]

    def remove(self, digests: Collection[str]) -> None:
        for digest in digests:
            self.path(digest).unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where the content is, if it is there. Raises DigestError for what is no digest."""
        if not DIGEST.fullmatch(digest):
            raise DigestError(f"{digest!r} is not a digest")
        return self._folder / digest.removeprefix("sha256:")


def verify(digest: str, content: bytes) -> None:
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != digest:
        raise DigestError(f"the content sent as {digest} is {found}")
