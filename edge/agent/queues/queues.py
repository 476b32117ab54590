"""All accounts with queues: each store that runs is followed, each that rests is started when something in
it is due."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from edge.agent.background import Background
from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.queues.delivery import Deliveries
from edge.agent.queues.following import Following
from edge.agent.stores.stores import StoreRecord, Stores
from edge.paths import NodePaths

KIND = "queues"
NEVER = "never"


class DueFile:
    """When a store that rests has something to deliver. There is no file while it runs: what is due then is
    known to the store alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> float | None:
        """Seconds since 1970, infinite for never, None when nobody knows."""
        try:
            text = self._path.read_text()
            return float("inf") if text == NEVER else float(text)
        except (OSError, ValueError):
            return None

    def write(self, due: float) -> None:
        part = self._path.with_suffix(".part")
        part.write_text(NEVER if due == float("inf") else str(due))
        part.replace(self._path)

    def remove(self) -> None:
        """Before anything can be stored: after a power failure it must not be there again."""
        if not self._path.exists():
            return
        self._path.unlink()
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Queues:
    def __init__(
        self,
        paths: NodePaths,
        stores: Stores,
        fleet: Fleet,
        background: Background,
        delivers: Callable[[str], bool],
    ) -> None:
        """`delivers`: whether this node is the one that works on the queues of an account."""
        self._paths = paths
        self._stores = stores
        self._background = background
        # Leases of another agent are void: nobody waits for what it had on its way.
        self._agent = secrets.token_hex(16)
        self._deliveries = Deliveries(fleet, background)
        self._following: dict[str, Following] = {}
        self._delivers = delivers
        stores.on_start = self._started
        stores.on_open = self._opened

    def open(self) -> None:
        """Take up the work of every account that has queues."""
        for account_id in self._stores.accounts(KIND):
            self._follow(account_id)

    def held(self, cell: Cell) -> int:
        """Connections to a store that say nothing about whether somebody uses it."""
        record = cell.record
        if not isinstance(record, StoreRecord) or record.kind != KIND or self._stores.shared(cell):
            return 0  # where others send, too, it does not rest: nobody would hear of it
        following = self._following.get(record.account_id)
        return 1 if following and following.connected else 0

    def _opened(self, cell: Cell) -> None:
        record = cell.record
        if isinstance(record, StoreRecord) and record.kind == KIND and self._stores.shared(cell):
            self._follow(record.account_id)

    def _started(self, record: StoreRecord) -> None:
        """The process of a store is about to start."""
        if record.kind == KIND:
            self._follow(record.account_id).up()

    def _follow(self, account_id: str) -> Following:
        following = self._following.get(account_id)
        if following is None:
            due = DueFile(self._paths.stores / account_id / f"{KIND}.due")
            following = Following(
                account_id,
                self._agent,
                self._stores,
                due.read(),
                due,
                self._deliveries,
                self._delivers,
            )
            self._following[account_id] = following
            self._background.run(following.run(), f"queues of {account_id}")
        return following
