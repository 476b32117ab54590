"""What belongs to one script alone: the storage of its Durable Objects, in the node's folder of stores.

workerd does not keep two processes from opening one storage. Each piece of it (a namespace) has a lock
here, a file that the cell's process inherits open: the kernel lets go of it when that process has
ended, however it ended, and no other is started before.
"""

import asyncio
import fcntl
import os
import re
import shutil
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edge.agent.cells.cell import StartError
from edge.agent.cells.confinement import Confinement, Mount
from edge.agent.state import State
from edge.paths import NodePaths
from edge.runtime.sandbox import Level

# The folder of an account's data that has one of each script's.
KIND = "objects"
# Where a cell finds what its script owns.
FOLDER = "/owned"
LOCK_POLL_SECONDS = 0.01
# workerd's own table of alarms, in a file beside the objects of each namespace.
_ALARMS = "metadata.sqlite"
_NEXT_ALARM = "SELECT MIN(scheduled_time) FROM _cf_ALARM"
_ALARMS_BEFORE = "SELECT actor_id FROM _cf_ALARM WHERE scheduled_time < ?"
_OBJECT_FILE = re.compile(r"([0-9a-f]{64})\.sqlite")
_ID = re.compile(r"[0-9a-f]{32}")


class OwnedBusyError(RuntimeError):
    """A process has it open."""


class Owned:
    def __init__(
        self, paths: NodePaths, state: State, confinement: Confinement, lock_seconds: float
    ) -> None:
        self._paths = paths
        self._state = state
        self._confinement = confinement
        self._lock_seconds = lock_seconds

    def mount(self, account_id: str, script_id: str) -> Mount:
        return Mount(self._folder(account_id, script_id), FOLDER, writable=True)

    @asynccontextmanager
    async def taken(
        self, account_id: str, script_id: str, ids: Sequence[str], aliases: Mapping[str, str]
    ) -> AsyncIterator[list[int]]:
        """Locks on all of these, as descriptors for the process that will have them, and the folder
        with what is there of them, and with other names for some. Raises StartError when another process
        has one of them."""
        deadline = time.monotonic() + self._lock_seconds
        locks: list[int] = []
        try:
            for id_ in sorted(ids):
                lock = await self._locked(id_, deadline)
                locks.append(lock)
            if ids:
                uid = self._state.uid_of(account_id)
                await asyncio.to_thread(self._prepare, account_id, script_id, ids, aliases, uid)
            yield locks
        finally:
            for lock in locks:
                os.close(lock)

    async def _locked(self, id_: str, deadline: float) -> int:
        while True:
            lock = self._try_lock(id_)
            if lock is not None:
                return lock
            if time.monotonic() > deadline:
                raise StartError(
                    "Another process still has the storage of this Worker open; two at once would "
                    "damage it."
                )
            await asyncio.sleep(LOCK_POLL_SECONDS)

    def _try_lock(self, id_: str) -> int | None:
        lock = os.open(self._paths.locks / f"{id_}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _prepare(
        self,
        account_id: str,
        script_id: str,
        ids: Iterable[str],
        aliases: Mapping[str, str],
        uid: int,
    ) -> None:
        """With the locks held: what another script of the account had before is this one's now."""
        folder = self._folder(account_id, script_id)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for id_ in ids:
            before = self._find(account_id, id_)
            if before and before.parent != folder and not (folder / id_).exists():
                before.rename(folder / id_)
        _name(folder, aliases)
        if self._confinement.sandbox.level is Level.FULL:
            _give(folder, uid)

    def _folder(self, account_id: str, script_id: str) -> Path:
        return self._paths.store_data(account_id, KIND) / script_id

    def _find(self, account_id: str, id_: str) -> Path | None:
        if not _ID.fullmatch(id_):
            return None
        found = self._paths.store_data(account_id, KIND).glob(f"*/{id_}")
        return next((folder for folder in sorted(found) if folder.is_dir()), None)

    # Alarms

    def next_alarm(self, account_id: str, script_id: str, ids: Iterable[str]) -> float | None:
        """When the first alarm of these is due, in seconds since 1970. Raises OSError when that cannot
        be read now."""
        folder = self._folder(account_id, script_id)
        found = [_next_alarm(folder / id_ / _ALARMS) for id_ in ids]
        return min((due for due in found if due is not None), default=None)

    def alarms_before(self, account_id: str, script_id: str, id_: str, moment: float) -> list[str]:
        """The objects of a namespace whose alarm is due before then, in seconds since 1970. Raises
        OSError."""
        path = self._folder(account_id, script_id) / id_ / _ALARMS
        return [str(row[0]) for row in _alarms(path, _ALARMS_BEFORE, (int(moment * 1e9),))]

    # For the control plane

    def objects(self, account_id: str, id_: str, after: str, limit: int) -> list[str]:
        """Ids of the objects of a namespace that have stored something, in order."""
        folder = self._find(account_id, id_)
        if folder is None:
            return []
        names = (_OBJECT_FILE.fullmatch(name) for name in os.listdir(folder))
        found = sorted(name.group(1) for name in names if name and name.group(1) > after)
        return found[:limit]

    def files(self, account_id: str, id_: str) -> list[Path]:
        """The databases of its objects."""
        folder = self._find(account_id, id_)
        found = folder.iterdir() if folder else ()
        return sorted(path for path in found if _OBJECT_FILE.fullmatch(path.name))

    def destroy(self, account_id: str, id_: str) -> None:
        """Remove a namespace with all of its objects. Twice does no harm. Raises OwnedBusyError."""
        if not _ID.fullmatch(id_):
            return
        lock = self._try_lock(id_)
        if lock is None:
            raise OwnedBusyError(f"A process has the storage {id_} open.")
        try:
            while folder := self._find(account_id, id_):
                shutil.rmtree(folder)
                for other in folder.parent.iterdir():
                    if other.is_symlink() and os.readlink(other) == id_:
                        other.unlink()
                if not any(folder.parent.iterdir()):
                    folder.parent.rmdir()
            (self._paths.locks / f"{id_}.lock").unlink(missing_ok=True)
        finally:
            os.close(lock)


def _next_alarm(path: Path) -> float | None:
    due = min((row[0] for row in _alarms(path, _NEXT_ALARM) if row[0] is not None), default=None)
    return None if due is None else due / 1e9


def _alarms(path: Path, query: str, values: Sequence[int] = ()) -> list[tuple[Any, ...]]:
    try:
        # A cell's own user writes here: what is no plain file is not followed.
        if not stat.S_ISREG(path.lstat().st_mode):
            return []
    except FileNotFoundError:
        return []
    try:
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.2)
        try:
            return database.execute(query, values).fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return []
        raise OSError(f"The alarms in {path} cannot be read: {error}") from error


def _name(folder: Path, aliases: Mapping[str, str]) -> None:
    """Other names for what is below the folder, and no others than these."""
    for link in folder.iterdir():
        if link.is_symlink() and aliases.get(link.name) != os.readlink(link):
            link.unlink()
    for name, id_ in aliases.items():
        # Made beforehand: the runtime makes no folder where a name leads nowhere.
        (folder / id_).mkdir(mode=0o700, exist_ok=True)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(id_)


def _give(folder: Path, owner: int) -> None:
    """New, or out of a backup, or another script's before. The folder itself comes last: it says that
    all is done."""
    inside = [one.stat().st_uid for one in folder.iterdir()]
    if folder.stat().st_uid == owner and all(uid == owner for uid in inside):
        return
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            os.chown(f"{root}/{name}", owner, owner, follow_symlinks=False)
        os.chown(root, owner, owner)
