"""A copy of all data of a node's stores, whether they run or not: `python -m edge.agent snapshot`.

A store, and a cell whose script has storage of its own, is stopped while its files are copied, so that they are of one moment, as after a power failure:
SQLite finds every acknowledged write in them.
"""

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.agent.processes import node_processes
from edge.agent.stores.owned import KIND as OWNED
from edge.paths import NodePaths
from edge.proc import Identity
from edge.runtime.stores import KINDS
from edge.runtime.stores.config import COPIES

ROLE = "store:"
# SQLite's index of a log that it makes again from the log, and what is in a bucket.
_NOT_COPIED = shutil.ignore_patterns("*-shm", "*.fifo", COPIES)


def snapshot(paths: NodePaths, target: Path) -> int:
    """Copy every store's folder below `target`; gives their number."""
    copied = 0
    for folder in sorted(paths.stores.glob("*/*")):
        account_id, kind = folder.parent.name, folder.name
        if folder.is_dir() and (kind not in KINDS or KINDS[kind].kept):
            if kind == OWNED:
                for script in folder.iterdir():
                    with _stopped(paths.root, _cells_of(paths, script.name)):
                        copy = target / account_id / kind / script.name
                        # Some of it has two names.
                        shutil.copytree(script, copy, symlinks=True, ignore=_NOT_COPIED)
                    copied += 1
                continue
            with _stopped(paths.root, (f"{ROLE}{kind}-{account_id}:",)):
                shutil.copytree(folder, target / account_id / kind, ignore=_NOT_COPIED)
            copied += 1
    return copied


def _cells_of(paths: NodePaths, script_id: str) -> tuple[str, ...]:
    """The roles of all cells of a script, from the agent's own records."""
    database = sqlite3.connect(f"file:{paths.database}?mode=ro", uri=True, timeout=10)
    try:
        rows = database.execute("SELECT id FROM cells WHERE script_id = ?", (script_id,)).fetchall()
    finally:
        database.close()
    return tuple(f"cell:c{id_}" for (id_,) in rows)


@contextmanager
def _stopped(node: Path, roles: tuple[str, ...]) -> Iterator[None]:
    """`roles` that end with a colon are the beginnings of some."""
    stopped: list[Identity] = []
    try:
        for identity, found in node_processes(node):
            if any(found == role or (role[-1] == ":" and found.startswith(role)) for role in roles):
                stopped.append(identity)
                _send(identity, signal.SIGSTOP)
        yield
    finally:
        for identity in stopped:
            _send(identity, signal.SIGCONT)


def _send(identity: Identity, number: signal.Signals) -> None:
    """To this very process: one that got its pid later is not meant."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if identity.alive():
            signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)
