"""A copy of all data of a node's stores, whether they run or not: `python -m edge.agent snapshot`.

A store is stopped while its files are copied, so that they are of one moment, as after a power failure:
SQLite finds every acknowledged write in them.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.agent.processes import node_processes
from edge.paths import NodePaths
from edge.proc import Identity
from edge.runtime.stores import KINDS

ROLE = "store:"
# Only SQLite's index of a log that it makes again from the log.
_NOT_COPIED = shutil.ignore_patterns("*-shm", "*.fifo")


def snapshot(paths: NodePaths, target: Path) -> int:
    """Copy every store's folder below `target`; gives their number."""
    copied = 0
    for folder in sorted(paths.stores.glob("*/*")):
        account_id, kind = folder.parent.name, folder.name
        if folder.is_dir() and (kind not in KINDS or KINDS[kind].kept):
            with _stopped(paths.root, f"{ROLE}{kind}-{account_id}:"):
                shutil.copytree(folder, target / account_id / kind, ignore=_NOT_COPIED)
            copied += 1
    return copied


@contextmanager
def _stopped(node: Path, role: str) -> Iterator[None]:
    stopped: list[Identity] = []
    try:
        for identity, found in node_processes(node):
            if found.startswith(role):
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
