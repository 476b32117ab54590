"""The file that a backup is: a tar.gz of plain files after a manifest with their sizes and digests."""

import hashlib
import json
import os
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from launcher.errors import LauncherError

FORMAT = 1
MANIFEST = "manifest.json"
# A manifest has some hundred bytes for each file; what is longer is not one of ours.
MANIFEST_LIMIT_BYTES = 4 * 2**20
CHUNK_BYTES = 2**20
# What reading a file raises that was cut off, changed, or never was an archive of ours.
DAMAGED = (
    tarfile.TarError, zlib.error, EOFError, OSError, ValueError, TypeError, LookupError, AttributeError,
)  # fmt: skip
# Relative, without empty, hidden or dotted parts: nothing is ever written outside of the folder.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself."""

    format: int
    version: str
    """Of the Skerry that wrote it."""
    schema: str
    """The database's migration."""
    made_at: str
    files: dict[str, dict[str, str | int]]
    """By name: `bytes` and `sha256`."""


def describe(files: Mapping[str, Path], *, version: str, schema: str, made_at: str) -> Manifest:
    found: dict[str, dict[str, str | int]] = {
        name: {"bytes": path.stat().st_size, "sha256": _digest(path)}
        for name, path in files.items()
    }
    return Manifest(FORMAT, version, schema, made_at, found)


def write(target: Path, manifest: Manifest, files: Mapping[str, Path], scratch: Path) -> None:
    """Write an archive of mode 0600; it has its name only once it is whole and on the disk."""
    text = scratch / MANIFEST
    text.write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    draft = scratch / "archive"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        with tarfile.open(fileobj=output, mode="w:gz") as tar:
            for name, path in {MANIFEST: text, **files}.items():
                tar.add(path, name, recursive=False, filter=_anonymous)
        output.flush()
        os.fsync(output.fileno())
    draft.rename(target)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def extract(source: Path, folder: Path) -> Manifest:
    """Unpack an archive into an empty folder, every digest checked; LauncherError for one that is not whole and ours."""
    try:
        with tarfile.open(source, "r:gz") as tar:
            manifest = _read_manifest(tar)
            while (member := tar.next()) is not None:
                _extract_one(tar, member, manifest, folder)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise LauncherError(f"{source}: {error.strerror}.") from error
    except DAMAGED as error:
        raise LauncherError(
            f"{source} is not a backup, or is damaged ({error}). Nothing was changed."
        ) from error
    missing = [name for name in manifest.files if not (folder / name).exists()]
    if missing:
        raise LauncherError(f"{source} ends early: {missing[0]} is missing. Nothing was changed.")
    return manifest


def _read_manifest(tar: tarfile.TarFile) -> Manifest:
    member = tar.next()
    if member is None or member.name != MANIFEST or member.size > MANIFEST_LIMIT_BYTES:
        raise ValueError("it does not begin with a manifest")
    content = json.loads(_content(tar, member).read())
    if content.get("format") != FORMAT:
        raise ValueError(f"its format is {content.get('format')}, this Skerry reads {FORMAT}")
    return Manifest(**content)


def _extract_one(
    tar: tarfile.TarFile, member: tarfile.TarInfo, manifest: Manifest, folder: Path
) -> None:
    expected = manifest.files.get(member.name)
    if expected is None or not _NAME.fullmatch(member.name):
        raise ValueError(f"{member.name!r} does not belong in it")
    path = folder / member.name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = _content(tar, member)
    # Exclusively: a second member of the same name is refused, and nothing is written through a link.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        while chunk := content.read(CHUNK_BYTES):
            output.write(chunk)
    if path.stat().st_size != expected["bytes"] or _digest(path) != expected["sha256"]:
        raise ValueError(f"{member.name} is not what the manifest says")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise ValueError(f"{member.name!r} is not a plain file")
    return content


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
