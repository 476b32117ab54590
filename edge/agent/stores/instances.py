"""What the storage of a workflow's instances says of each: read from its files, because an instance that is
asked is loaded, and a few hundred of them fill a cell's memory.

The runtime keeps a log of each instance (`l:<number>`), in V8's serialization; every entry begins with the
same four fields.
"""

import os
import re
import shutil
import sqlite3
import stat
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

_ENTRY = re.compile(
    rb'\xff.o"\x04type".([a-z_]+)"\x0ainstanceId".([A-Za-z0-9_-]+)'
    rb'"\x07eventIdI.{1,5}?"\x09timestampN(.{8})',
    re.DOTALL,
)
_LOG = "SELECT value FROM _cf_KV WHERE key >= 'l:' AND key < 'l;' ORDER BY key"
# What an entry makes of the instance; others are of its steps.
_STATUS = {
    "workflow_queued": "queued",
    "workflow_started": "running",
    "workflow_running": "running",
    "workflow_paused": "paused",
    "workflow_waiting_for_pause": "waitingForPause",
    "workflow_waiting": "waiting",
    "rollback_started": "rollingBack",
    "workflow_completed": "complete",
    "workflow_errored": "errored",
    "workflow_terminated": "terminated",
}


@dataclass(frozen=True)
class Instance:
    id: str
    status: str
    created_ms: int
    """Milliseconds since 1970; of the latest restart from the start, if there was one."""
    changed_ms: int


@dataclass(frozen=True)
class _Entry:
    type: str
    id: str
    milliseconds: int


class Instances:
    """Remembers what it read, for as long as the files stay what they are."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, tuple[object, Instance | None]]] = {}
        self._lock = Lock()

    def read(self, files: list[Path]) -> list[Instance]:
        """Of the databases of instances, all in one folder, without those that were deleted."""
        if not files:
            return []
        # Whoever asks at the same time finds it read already.
        with self._lock, tempfile.TemporaryDirectory(prefix="skerry-instances-") as scratch:
            before = self._read.get(files[0].parent, {})
            now = {path.name: _reread(path, before.get(path.name), Path(scratch)) for path in files}
            self._read[files[0].parent] = now
        return [one for _, one in now.values() if one is not None]


def read_once(files: Iterable[Path]) -> list[Instance | None]:
    """The same of some, in their order, as they are now; None for what is no instance or cannot be read."""
    with tempfile.TemporaryDirectory(prefix="skerry-instances-") as scratch:
        return [_instance(path, Path(scratch) / "copy.sqlite") for path in files]


def _reread(
    path: Path, before: tuple[object, Instance | None] | None, scratch: Path
) -> tuple[object, Instance | None]:
    state = _state(path)
    if before is not None and before[0] == state:
        return before
    return state, _instance(path, scratch / "copy.sqlite")


def _state(path: Path) -> object:
    """What changes when anything is stored."""
    found = []
    for file in (path, _log_of(path)):
        try:
            said = file.lstat()
            found.append((said.st_ino, said.st_size, said.st_mtime_ns))
        except FileNotFoundError:
            found.append((0, 0, 0))
    return tuple(found)


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _instance(path: Path, copy: Path) -> Instance | None:
    """Of a copy: who opens the files of a running process takes part in their locks."""
    try:
        for source, target in ((path, copy), (_log_of(path), _log_of(copy))):
            target.unlink(missing_ok=True)
            _copy(source, target)
        database = sqlite3.connect(copy)
        try:
            return _of_log(database)
        finally:
            database.close()
    except (OSError, sqlite3.Error):
        return None  # written this moment, or never an instance: it is read again when it changes


def _copy(source: Path, target: Path) -> None:
    try:
        # A cell's own user writes here: what is no plain file is not followed.
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    with open(descriptor, "rb") as content, target.open("wb") as copied:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            shutil.copyfileobj(content, copied)


def _of_log(database: sqlite3.Connection) -> Instance | None:
    first = _entry(database.execute(f"{_LOG} LIMIT 1").fetchone())
    if first is None:
        return None
    latest = None
    for row in database.execute(f"{_LOG} DESC"):
        entry = _entry(row)
        latest = latest or entry
        if entry and (status := _STATUS.get(entry.type)):
            changed = latest.milliseconds if latest else entry.milliseconds
            return Instance(entry.id, status, first.milliseconds, changed)
    return None


def _entry(row: tuple[bytes] | None) -> _Entry | None:
    found = _ENTRY.match(row[0]) if row else None
    if found is None:
        return None
    (moment,) = struct.unpack("<d", found[3])
    return _Entry(found[1].decode(), found[2].decode(), int(moment))
