"""All stores of a node: found on its disk when it starts, made when a script or the control plane
first needs one."""

import asyncio
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from edge.agent.background import Background
from edge.agent.cells.cell import Cell, CellPaths, StartError
from edge.agent.cells.confinement import Confinement, Mount, Reaches
from edge.agent.cells.guard import guard
from edge.agent.cells.limits import Limits
from edge.agent.processes import Process, node_processes
from edge.agent.settings import Settings
from edge.agent.sockets import Sockets
from edge.agent.state import CellRecord, Phase, State
from edge.agent.stores import shares
from edge.agent.stores.points import Points
from edge.agent.stores.tickets import ID_TEXT, Tickets
from edge.keeper import KeeperError
from edge.paths import NodePaths
from edge.proc import Identity
from edge.runtime import caching
from edge.runtime.binary import Runtime
from edge.runtime.reach import StoreDoor
from edge.runtime.sandbox import Level
from edge.runtime.stores import KINDS
from edge.runtime.stores.cluster import Bucket
from edge.runtime.stores.config import (
    BLOBS,
    COPIES,
    OBJECTS,
    SERVICE,
    source_files,
    store_config,
)
from edge.runtime.stores.kind import Kind

ROLE = "store:"
STORES = "stores"
# Where a store finds its data.
DATA_FOLDER = "/data"
# In an account's folder of one kind: its data was carried into the bucket.
MOVED = "moved"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True)
class StoreRecord(CellRecord):
    """A store is a cell without a script: its version is the digest of what it is built from."""

    account_id: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.account_id}"

    @property
    def role(self) -> str:
        return f"{ROLE}{self.name}:{self.digest}"


class Stores:
    def __init__(
        self,
        *,
        settings: Settings,
        paths: NodePaths,
        runtime: Runtime,
        limits: Limits,
        sockets: Sockets,
        state: State,
        confinement: Confinement,
        tickets: Tickets,
        background: Background,
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._runtime = runtime
        self._limits = limits
        self._sockets = sockets
        self._state = state
        self._confinement = confinement
        self._tickets = tickets
        self._background = background
        self.points = Points(settings, paths)
        self._cells: dict[tuple[str, str], Cell] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._starts = asyncio.Semaphore(2 * (os.cpu_count() or 1))
        self.on_start: Callable[[StoreRecord], None] = lambda _: None
        """Called before the process of a store starts."""
        self.hear: Callable[[StoreRecord, bytes], bool] = lambda *_: False
        """Hears every line that a store prints; True for one that is no line for a log."""
        self.on_open: Callable[[Cell], None] = lambda _: None
        """Called when a store was not there before."""

    def accounts(self, kind: str) -> list[str]:
        """Those that have a store of that kind."""
        return [account_id for account_id, found in self._cells if found == kind]

    def known(self, account_id: str, kind: str) -> Cell | None:
        return self._cells.get((account_id, kind))

    def shared(self, cell: Cell) -> bool:
        """Whether other nodes may have the data of a store, too."""
        record = cell.record
        return isinstance(record, StoreRecord) and self._bucket(KINDS[record.kind]) is not None

    def _bucket(self, kind: Kind) -> Bucket | None:
        return self._settings.bucket if kind.kept else None

    def running(self) -> list[Cell]:
        """Those that have a process."""
        return [cell for cell in self._cells.values() if cell.running]

    async def open(self) -> None:
        """Take over what an earlier agent started, and wait for whoever needs the others."""
        living = _by_role(self._paths.root)
        known = [key for key in self._on_disk() if key[1] in KINDS]
        # All data is another store's as long as its process lives: first the processes, then the rest.
        wanted = {self._record(*key).role for key in known}
        strays = [process for role, process in living if role not in wanted]
        for process in strays:
            log.warning("store_ended", pid=process.pid)
        await asyncio.gather(*(process.end() for process in strays))
        found: dict[str, Identity] = {}
        for role, process in living:
            if not process.ended:
                found[role] = process.identity
                process.forget()
        for account_id, kind in known:
            cell = await self._open(account_id, kind)
            identity = found.get(cell.record.role)
            if identity and cell.adopt(identity):
                log.info("store_adopted", store=cell.name)
            self._watch(cell)

    async def ready(self, account_id: str, kind: str) -> Cell:
        """The store of that account and kind; whoever connects to it starts it. Raises StartError."""
        if kind not in KINDS or not re.fullmatch(ID_TEXT, account_id):
            raise StartError(f"There is no store {kind} of account {account_id}.")
        key = (account_id, kind)
        async with self._locks[key]:
            cell = self._cells.get(key)
            if cell is None:
                try:
                    cell = await self._open(account_id, kind)
                except (KeeperError, OSError) as error:
                    raise StartError(f"The node cannot open a store: {error}") from error
                self._watch(cell)
                self.on_open(cell)
            return cell

    async def door(self, account_id: str, kind: str) -> StoreDoor:
        """How cells of the account reach it. Raises StartError."""
        await self.ready(account_id, kind)
        path = self._confinement.store_path(account_id, kind)
        return StoreDoor(path, partial(self.ticket, account_id, kind))

    def ticket(self, account_id: str, kind: str, name: str) -> str:
        return self._tickets.ticket(account_id, kind, name)

    async def mend(self) -> None:
        """Listen anew where the path of a socket is gone. Cheap when none is. Raises OSError or
        KeeperError."""
        for (account_id, kind), cell in list(self._cells.items()):
            if cell.paths.main.is_socket():
                continue
            async with self._locks[account_id, kind]:
                cell.close()
                await cell.end()
                await self._sockets.release(_socket_name(cell.record))
                self._watch(await self._open(account_id, kind))

    def forget(self) -> None:
        """Let all of them go on without the agent."""
        for cell in self._cells.values():
            cell.close()
            cell.forget()

    def _on_disk(self) -> list[tuple[str, str]]:
        folders = sorted(self._paths.stores.glob("*/*"))
        return [(folder.parent.name, folder.name) for folder in folders if folder.is_dir()]

    def _record(self, account_id: str, kind: str) -> StoreRecord:
        digest = self._digest(kind)
        return StoreRecord(
            id=0,
            slot_id=f"{kind} of {account_id}",
            version_id=digest,
            digest=digest,
            slot_number=0,
            phase=Phase.SERVING,
            identity=None,
            account_id=account_id,
            kind=kind,
        )

    def _digest(self, kind: str) -> str:
        sandbox = self._confinement.sandbox
        built = [self._runtime.version, self._limits.fixed_at_start(), sandbox.level]
        if bucket := self._bucket(KINDS[kind]):
            built.append(bucket.summary)
        text = json.dumps(built).encode()
        sources = b"".join(path.read_bytes() for path in source_files(KINDS[kind]))
        return hashlib.sha256(text + sources).hexdigest()[:16]

    async def _open(self, account_id: str, kind: str) -> Cell:
        """The store with its folder and its socket, without a process."""
        uid = self._state.uid_of(account_id)
        root = self._confinement.sandbox.level is Level.FULL
        folder = self._paths.store_data(account_id, kind)
        shared = self._bucket(KINDS[kind]) is not None
        await asyncio.to_thread(_make_folder, folder, uid if root else None, shared)
        paths = self._cell_paths(account_id, kind)
        _make_door(paths.main.parent, uid if root else None)
        record = self._record(account_id, kind)
        listener = await self._sockets.bind(_socket_name(record), f"unix:{paths.main}")
        if root:
            os.chown(paths.main, 0, uid)
            paths.main.chmod(0o660)
        cell = Cell(record, paths, listener, self._paths.root)
        cell.output.listener = lambda line: self.hear(record, line)
        cell.networked = shared
        self._cells[account_id, kind] = cell
        return cell

    def _cell_paths(self, account_id: str, kind: str) -> CellPaths:
        folder = self._paths.sockets / STORES
        folder.mkdir(mode=0o700, exist_ok=True)
        name = hashlib.sha256(f"{account_id}/{kind}".encode()).hexdigest()[:16]
        return CellPaths(
            main=self._paths.store_socket(account_id, kind),
            control=folder / f"{name}.sock",
            fifo=self._paths.stores / account_id / f"{kind}.fifo",
        )

    def _watch(self, cell: Cell) -> None:
        watching = guard(cell, partial(self._start, cell), _report, _block)
        self._background.run(watching, f"guard {cell.name}")

    async def _start(self, cell: Cell) -> None:
        """Start the process of a store that has none. Raises StartError."""
        record = cell.record
        if not isinstance(record, StoreRecord):
            raise StartError("This cell is no store.")
        account_id, kind = record.account_id, KINDS[record.kind]
        folder = self._paths.store_data(account_id, kind.name)
        data = Mount(folder, DATA_FOLDER, writable=True)
        bucket = self._bucket(kind)
        _check_place(folder, bucket)
        async with cell.starting, self._starts:
            if cell.closed():
                raise StartError("The store was replaced before it started.")
            config = store_config(
                self._runtime,
                kind,
                self._confinement.place(data),
                self._tickets.key(account_id, kind.name),
                record.digest,
                self._limits.heap_mib,
                await self._texts(account_id, kind.name),
                account_id,
                bucket,
            )
            uid = self._state.uid_of(account_id)
            try:
                self.on_start(record)
                self._paths.make_doors()
                process = await cell.spawn(
                    config,
                    self._limits,
                    self._confinement,
                    uid,
                    [data],
                    doors=False,
                    reaches=Reaches.NODES if bucket else Reaches.NOTHING,
                )
            except (KeeperError, OSError) as error:
                raise StartError(f"The node cannot start a process: {error}") from error
            await cell.answers(process, SERVICE, self._settings.start_seconds)
        log.info("store_started", store=cell.name, pid=process.pid)

    async def _texts(self, account_id: str, kind: str) -> dict[str, str]:
        """What a store is told at its start."""
        if kind != caching.KIND:
            return {}
        own = self._paths.store_data(account_id, kind)
        folders = self._paths.stores.glob(f"*/{kind}")
        room = self._settings.cache_mib * 2**20
        part = await asyncio.to_thread(shares.share, room, folders, own)
        running = [
            (cell.paths.main, self.ticket(account, kind, shares.AGENT_NAME))
            for (account, other), cell in self._cells.items()
            if other == kind and account != account_id and cell.running
        ]
        self._background.run(shares.tell(running, part), "tell caches their share")
        return {"LIMIT": str(part)}


def _socket_name(record: CellRecord) -> str:
    return f"store:{record.name}"


def _by_role(node: Path) -> list[tuple[str, Process]]:
    found: list[tuple[str, Process]] = []
    for identity, role in node_processes(node):
        process = Process.adopt(identity) if role.startswith(ROLE) else None
        if process:
            found.append((role, process))
    return found


def has_data(folder: Path) -> bool:
    """Whether an account's folder of one kind has what was written while there was no bucket."""
    return any(folder.glob(f"{OBJECTS}/*/*"))


def _check_place(folder: Path, bucket: Bucket | None) -> None:
    """Raises StartError rather than to serve an account without what it has written."""
    moved = (folder / MOVED).exists()
    if bucket and has_data(folder) and not moved:
        raise StartError(
            "This data was written before SKERRY_BUCKET was set, and is still on the node's disk alone. "
            "Carry it into the bucket: ./skerry storage move"
        )
    if not bucket and (moved or (folder / COPIES).exists()):
        raise StartError(
            "This data is in a bucket, and SKERRY_BUCKET is not set on this node any more. Set it."
        )


def _make_folder(folder: Path, owner: int | None, shared: bool) -> None:
    """An account's data: its store's user may come into it, nobody else."""
    parts = [folder / COPIES] if shared else [folder / OBJECTS, folder / BLOBS]
    for one in (folder.parent, folder, *parts):
        one.mkdir(mode=0o700, parents=True, exist_ok=True)
    owners = {path.stat().st_uid for path in (folder, *parts)}
    if owner is None or owners == {owner}:
        return
    # New, or out of a backup. The folder itself comes last: it says that all is done.
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            os.chown(f"{root}/{name}", owner, owner, follow_symlinks=False)
        os.chown(root, owner, owner)


def _make_door(folder: Path, group: int | None) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if group is not None:
        os.chown(folder, 0, group)
        folder.chmod(0o710)


async def _report(cell: Cell, reason: str | None) -> None:
    if reason:
        log.error("store_not_started", store=cell.name, reason=reason)
        cell.refuse_waiting()


async def _block(cell: Cell) -> None:
    cell.refuse_waiting()
