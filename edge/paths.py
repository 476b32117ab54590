"""Where a node keeps what on its own disk."""

import hashlib
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

# A unix socket's path has at most 107 bytes; ours add at most 30 to the directory's.
LONGEST_SOCKET_ROOT = 75
# Of the pipe of the front's log, some 4,000 requests: what may come while the agent does something else. More
# needs a privilege.
LOG_PIPE_BYTES = 1024 * 1024
# HAProxy and workerd read these paths as parts of addresses.
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")


def _name_of(root: Path) -> str:
    return hashlib.sha256(str(root).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class NodePaths:
    """NODE_DIR and the folder of sockets, which is elsewhere when NODE_DIR cannot be part of an address."""

    root: Path
    sockets: Path

    @classmethod
    def of(cls, directory: Path) -> "NodePaths":
        root = directory.resolve()
        sockets = root / "sockets"
        if len(str(sockets)) > LONGEST_SOCKET_ROOT or not _PLAIN.fullmatch(str(sockets)):
            sockets = Path(tempfile.gettempdir()) / f"skerry-{_name_of(root)}"
        return cls(root, sockets)

    def make(self) -> None:
        """Create the folders, open to nobody else."""
        folders = (
            self.root,
            self.sockets,
            self.modules,
            self.assets,
            self.front,
            self.cells,
            self.spool,
            self.log_spool,
            self.stores,
            self.locks,
            self.points,
        )
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._owned(self.sockets, 0o077)

    def make_doors(self) -> None:
        """Others may pass through this folder, and list nothing."""
        if not self.doors.exists():
            self.doors.mkdir(mode=0o700)
            self.doors.chmod(0o711)
        self._owned(self.doors, 0o066)
        for place in self.mount_points:
            place.mkdir(mode=0o711, exist_ok=True)

    def _owned(self, folder: Path, forbidden: int) -> None:
        """Others may have made it before us where everybody may write."""
        found = folder.lstat()
        link = stat.S_ISLNK(found.st_mode)
        if link or found.st_uid != self.root.stat().st_uid or found.st_mode & forbidden:
            raise PermissionError(f"{folder} is open to others; remove it")

    @property
    def doors(self) -> Path:
        """What a cell may reach, and all it may: mounted into every sandbox, and so outside of
        NODE_DIR, where a cell's user cannot come."""
        return Path(tempfile.gettempdir()) / f"skerry-{_name_of(self.root)}-doors"

    @property
    def mount_points(self) -> tuple[Path, ...]:
        """Empty here. In a cell's own view folders of NODE_DIR are mounted on them, which its user
        could not come to otherwise."""
        return tuple(self.doors / f"mount-{number}" for number in range(3))

    @property
    def egress_socket(self) -> Path:
        return self.doors / "egress.sock"

    def store_socket(self, account_id: str, kind: str) -> Path:
        """In a folder that only the account's cells can pass."""
        return self.doors / account_id / f"{kind}.sock"

    @property
    def stores(self) -> Path:
        return self.root / "stores"

    def store_data(self, account_id: str, kind: str) -> Path:
        """All of an account's data of one kind."""
        return self.stores / account_id / kind

    @property
    def locks(self) -> Path:
        """A file for each piece of storage that one process at a time may open."""
        return self.root / "locks"

    @property
    def points(self) -> Path:
        """Copies of D1 databases, by account and file; not in a store's view."""
        return self.root / "points"

    @property
    def keeper_socket(self) -> Path:
        return self.sockets / "keeper.sock"

    @property
    def front_socket(self) -> Path:
        return self.sockets / "front.sock"

    @property
    def silent_socket(self) -> Path:
        """Where the front is asked how many requests had no line."""
        return self.sockets / "silent.sock"

    @property
    def database(self) -> Path:
        return self.root / "state.sqlite"

    @property
    def idle_cell(self) -> Path:
        return self.root / "idle-cell.json"

    @property
    def node_key(self) -> Path:
        return self.root / "node.key"

    @property
    def credential(self) -> Path:
        return self.root / "credential.json"

    @property
    def agent_lock(self) -> Path:
        return self.root / "agent.lock"

    @property
    def modules(self) -> Path:
        return self.root / "modules"

    @property
    def assets(self) -> Path:
        return self.root / "assets"

    @property
    def front(self) -> Path:
        return self.root / "front"

    @property
    def front_log(self) -> Path:
        return self.front / "requests.fifo"

    @property
    def spool(self) -> Path:
        """Records that the control plane has not taken yet."""
        return self.root / "spool"

    @property
    def log_spool(self) -> Path:
        """Stored logs that the control plane has not taken yet."""
        return self.root / "log-spool"

    @property
    def cells(self) -> Path:
        return self.root / "cells"
