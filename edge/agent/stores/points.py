"""Points of a D1 database that it can be brought back to: whole copies of its SQLite file.

SQLite itself copies page by page beside the store that works on the file. A copy is of one moment, and
bringing one back is a single transaction: whichever process dies meanwhile, the content is the old one
or the new one. Readers see the old one until then, writers are refused.
"""

import asyncio
import contextlib
import filecmp
import hashlib
import hmac
import os
import re
import secrets
import shutil
import sqlite3
import stat
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import structlog

from edge.agent.settings import Settings
from edge.paths import NodePaths
from edge.runtime.stores.config import OBJECTS
from edge.runtime.stores.d1 import KIND

(CLASS,) = KIND.objects.values()
SUFFIX, UNFINISHED = ".sqlite", ".part"
BOOKMARK = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
# How long a copy waits for a writer. The store ends whoever writes longer than its limit of CPU.
PATIENCE_SECONDS = 60.0
# Clocks of file systems are coarse: a younger change may have a second one behind it.
SETTLED_SECONDS = 2.0
MIB = 1024 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger()
Signature = tuple[tuple[int, int], ...]


class PointError(Exception):
    """What was asked for cannot be done; nothing was changed."""


class NoPointError(PointError):
    """There is no such point, or no database."""


@dataclass(frozen=True)
class Point:
    path: Path

    @property
    def bookmark(self) -> str:
        return self.path.stem

    @property
    def taken_ms(self) -> int:
        """Since the epoch."""
        return int(self.bookmark[:16], 16)


class Points:
    def __init__(self, settings: Settings, paths: NodePaths) -> None:
        self._settings = settings
        self._paths = paths
        self._locks: defaultdict[Path, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._seen: dict[Path, Signature] = {}
        """The files of a database when its newest point was taken, once they had settled."""

    async def run(self) -> None:
        """Take a point of every database that has changed, again and again."""
        while self._settings.d1_point_seconds and not self._settings.bucket:
            await asyncio.sleep(self._settings.d1_point_seconds)
            for database in self._databases():
                try:
                    async with self._locks[database]:
                        await asyncio.to_thread(self._take, database)
                except (PointError, sqlite3.Error, OSError) as error:
                    log.warning("d1_point_not_taken", file=database.name, reason=str(error))

    async def take(self, account_id: str, name: str) -> Point:
        """A point of what is in the database now. Raises PointError."""
        return await self._locked(account_id, name, self._take)

    def all(self, account_id: str, name: str) -> list[Point]:
        """Those of a database, the oldest first."""
        return self._points(self._file(account_id, name))

    async def restore(self, account_id: str, name: str, bookmark: str) -> Point:
        """Bring a database back to a point; gives the point of what was in it. Raises PointError."""
        return await self._locked(account_id, name, partial(self._restore, bookmark=bookmark))

    async def forget(self, account_id: str, name: str) -> None:
        """Remove all points of a database that is deleted."""
        database = self._file(account_id, name)
        async with self._locks[database]:
            self._seen.pop(database, None)
            await asyncio.to_thread(shutil.rmtree, self._folder(database), ignore_errors=True)

    async def _locked(self, account_id: str, name: str, do: Callable[[Path], Point]) -> Point:
        if self._settings.bucket:
            raise PointError("Databases in a bucket (SKERRY_BUCKET) have no points.")
        database = self._file(account_id, name)
        async with self._locks[database]:
            try:
                return await asyncio.to_thread(do, database)
            except (sqlite3.Error, OSError) as error:
                raise PointError(f"The node cannot copy the database: {error}.") from error

    def _databases(self) -> list[Path]:
        found = self._paths.stores.glob(f"*/{KIND.name}/{OBJECTS}/{CLASS}/*{SUFFIX}")
        # One file beside the databases is workerd's own.
        return sorted(path for path in found if re.fullmatch(r"[0-9a-f]{64}", path.stem))

    def _file(self, account_id: str, name: str) -> Path:
        folder = self._paths.store_data(account_id, KIND.name) / OBJECTS / CLASS
        return folder / f"{object_id(CLASS, name)}{SUFFIX}"

    def _folder(self, database: Path) -> Path:
        account_id = database.relative_to(self._paths.stores).parts[0]
        return self._paths.points / account_id / database.stem

    def _points(self, database: Path) -> list[Point]:
        found = sorted(self._folder(database).glob(f"*{SUFFIX}"))
        return [Point(path) for path in found if BOOKMARK.fullmatch(path.stem)]

    def _take(self, database: Path, kept: Path | None = None) -> Point:
        """Copy the file, unless the newest point has the same content."""
        before, points = _signature(database), self._points(database)
        if points and self._seen.get(database) == before:
            return points[-1]
        folder = self._folder(database)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob(f"*{UNFINISHED}*"):
            left.unlink()
        part = folder / f"{_bookmark()}{UNFINISHED}"
        try:
            with _opened(database, "mode=rw") as source, _opened(part, "mode=rwc") as target:
                # It is nobody's before it is whole, so it needs no journal beside it.
                target.execute("PRAGMA journal_mode = MEMORY")
                self._check_size(source)
                _copy(source, target)
            if points and filecmp.cmp(part, points[-1].path, shallow=False):
                point = points[-1]
            else:
                point = Point(part.rename(part.with_suffix(SUFFIX)))
                _sync(folder)
        finally:
            part.unlink(missing_ok=True)
        if time.time_ns() - max(changed for changed, _ in before) > SETTLED_SECONDS * 1e9:
            self._seen[database] = before
        self._thin(database, {point.path, kept})
        return point

    def _check_size(self, database: sqlite3.Connection) -> None:
        # The file alone says too little: what was written last may be in the log beside it.
        ((pages,),) = database.execute("PRAGMA page_count")
        ((page_bytes,),) = database.execute("PRAGMA page_size")
        most = self._settings.d1_points_mib
        if pages * page_bytes > most * MIB:
            raise PointError(
                f"The database is larger than all its points may be, {most:,} MiB "
                "(SKERRY_D1_POINTS_MIB)."
            )

    def _restore(self, database: Path, bookmark: str) -> Point:
        points = {point.bookmark: point for point in self._points(database)}
        if bookmark not in points:
            raise NoPointError("The node keeps no point of that bookmark.")
        path = points[bookmark].path
        previous = self._take(database, path)
        self._seen.pop(database, None)
        with _opened(path, "mode=ro&immutable=1") as source, _opened(database, "mode=rw") as target:
            _copy(source, target)
        log.info("d1_restored", file=database.name, bookmark=bookmark, previous=previous.bookmark)
        return previous

    def _thin(self, database: Path, kept: set[Path | None]) -> None:
        """Remove the oldest points beyond the limits."""
        points = self._points(database)
        sizes = {point.path: point.path.stat().st_size for point in points}
        for point in points:
            within = sum(sizes.values()) <= self._settings.d1_points_mib * MIB
            if len(sizes) <= self._settings.d1_points and within:
                return
            if point.path not in kept:
                point.path.unlink()
                del sizes[point.path]


def object_id(class_name: str, name: str) -> str:
    """The id of a Durable Object by its name, as workerd computes it; it names the object's file."""
    key = hashlib.sha256(class_name.encode()).digest()
    base = hmac.digest(key, name.encode(), "sha256")[:16]
    return (base + hmac.digest(key, base, "sha256")[:16]).hex()


def _bookmark() -> str:
    return f"{time.time_ns() // 1_000_000:016x}-{secrets.token_hex(4)}"


def _signature(database: Path) -> Signature:
    """When the files were changed, in nanoseconds, and their sizes. Raises NoPointError."""
    try:
        found = database.lstat()
    except FileNotFoundError as error:
        raise NoPointError("Nothing was ever asked of the database.") from error
    if not stat.S_ISREG(found.st_mode):
        raise PointError("The database's file is none.")
    log_file = database.with_name(f"{database.name}-wal")
    with contextlib.suppress(FileNotFoundError):
        written = log_file.lstat()
        return (found.st_mtime_ns, found.st_size), (written.st_mtime_ns, written.st_size)
    return ((found.st_mtime_ns, found.st_size),)


def _opened(path: Path, options: str) -> contextlib.closing[sqlite3.Connection]:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{options}", uri=True, isolation_level=None
    )
    return contextlib.closing(connection)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """All pages, in one transaction of the target."""
    deadline = time.monotonic() + PATIENCE_SECONDS

    def wait(status: int, remaining: int, total: int) -> None:
        del status, remaining, total
        if time.monotonic() > deadline:
            raise PointError("The database is busy with other writers.")

    source.backup(target, progress=wait)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
