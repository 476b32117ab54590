"""The static files of versions as folders: hard links to the files of bundles, under their paths."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import structlog

from edge.agent.bundles import Bundles, DigestError
from edge.spec import DIGEST

# A file's time is part of its ETag. It comes from the digest, so that the same content keeps its ETag
# on every node and in every version.
_TIMES = 2**30
# Parts of smaller files save nobody anything.
_LARGE_BYTES = 1024 * 1024
_PLAYED = frozenset({".mp4", ".m4v", ".m4a", ".webm", ".mov", ".mp3", ".ogg", ".wav", ".flac"})

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class ManifestError(ValueError):
    """A list of static files that cannot become a folder."""


class AssetFolders:
    def __init__(self, root: Path, bundles: Bundles) -> None:
        self._root = root
        self._bundles = bundles
        self._ranged: dict[str, bool] = {}
        self._known: dict[str, frozenset[str]] = {}
        for draft in root.glob("*.draft"):  # of an agent that was killed while it linked
            shutil.rmtree(draft, ignore_errors=True)

    def files(self, manifest: str) -> dict[str, str]:
        """Digest by path. Raises ManifestError, and DigestError or OSError for a lost manifest."""
        return read_manifest(self._bundles.read([manifest])[manifest])

    def digests(self, manifest: str) -> frozenset[str]:
        """The manifest itself, and its files as far as they are known."""
        if manifest not in self._known:
            try:
                self._known[manifest] = frozenset({manifest, *self.files(manifest).values()})
            except (ManifestError, DigestError, OSError):
                return frozenset({manifest})
        return self._known[manifest]

    def ranged(self, manifest: str) -> bool:
        """Whether visitors should get parts of these files: a player seeks, a download goes on.
        Raises what `files` raises."""
        if manifest not in self._ranged:
            files = self.files(manifest)
            self._ranged[manifest] = any(
                PurePosixPath(path).suffix.lower() in _PLAYED
                or self._bundles.path(digest).stat().st_size >= _LARGE_BYTES
                for path, digest in files.items()
            )
        return self._ranged[manifest]

    def plant(self, manifest: str) -> Path:
        """The folder with all files of the manifest, made if it is not there. Raises ManifestError,
        DigestError or OSError."""
        folder = self.folder(manifest)
        if folder.exists():
            return folder
        draft = Path(tempfile.mkdtemp(dir=self._root, suffix=".draft"))
        for path, digest in self.files(manifest).items():
            self._link(draft / PurePosixPath(path).relative_to("/"), digest)
        draft.chmod(0o755)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.exists():  # else somebody else was faster
                raise
            shutil.rmtree(draft)
        return folder

    def keep_only(self, manifests: set[str]) -> None:
        kept = {self.folder(manifest).name for manifest in manifests}
        self._known = {one: known for one, known in self._known.items() if one in manifests}
        self._ranged = {one: ranged for one, ranged in self._ranged.items() if one in manifests}
        for folder in self._root.iterdir():
            if folder.name not in kept and folder.suffix != ".draft":
                shutil.rmtree(folder, ignore_errors=True)
                log.info("assets_pruned", manifest=folder.name)

    def folder(self, manifest: str) -> Path:
        """Where `plant` puts it. Raises DigestError."""
        if not DIGEST.fullmatch(manifest):
            raise DigestError(f"{manifest!r} is not a digest")
        return self._root / manifest.removeprefix("sha256:")

    def _link(self, target: Path, digest: str) -> None:
        source = self._bundles.path(digest)
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # The cell's user reads it; who comes this far is decided by what is mounted.
        source.chmod(0o444)
        seconds = int(digest[-8:], 16) % _TIMES
        os.utime(source, (seconds, seconds))
        os.link(source, target)


def read_manifest(content: bytes) -> dict[str, str]:
    """Digest by path; raises ManifestError for anything that must not become a file's name."""
    try:
        listed = json.loads(content)
    except ValueError as error:
        raise ManifestError(f"the list of static files is not JSON: {error}") from error
    if not isinstance(listed, Mapping):
        raise ManifestError("the list of static files is no object")
    for path, digest in listed.items():
        parts = path.split("/")
        legal = parts[0] == "" and len(parts) > 1 and "\0" not in path
        if not legal or any(part in ("", ".", "..") for part in parts[1:]):
            raise ManifestError(f"{path!r} cannot be the path of a static file")
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise ManifestError(f"{path!r} has no digest")
    return dict(listed)
