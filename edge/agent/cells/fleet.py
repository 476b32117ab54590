"""All cells of a node: which exist, how each is made, and how it is taken away again."""

import asyncio
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import structlog

from edge.agent.assets import AssetFolders, ManifestError
from edge.agent.bundles import Bundles, DigestError
from edge.agent.calls import Calls
from edge.agent.cells.cell import Cell, CellKilledError, CellPaths, StartError, build_digest
from edge.agent.cells.confinement import Confinement, Mount, Reaches
from edge.agent.cells.limits import Limits
from edge.agent.desired import Version, script_of
from edge.agent.doors import Doors
from edge.agent.observability import observed, without
from edge.agent.processes import Process
from edge.agent.settings import Settings
from edge.agent.sockets import Sockets
from edge.agent.state import CellRecord, Slot, State
from edge.agent.stores.owned import Owned
from edge.agent.stores.stores import Stores
from edge.keeper import KeeperError
from edge.paths import NodePaths
from edge.proc import Identity
from edge.runtime import caching
from edge.runtime.binary import Runtime
from edge.runtime.callees import TURNS, Entrance
from edge.runtime.compatibility import effective_date, read_flags, refused_flag
from edge.runtime.config import Build, Telling, cell_config
from edge.runtime.reach import StoreDoor, kinds_of
from edge.runtime.stores import KINDS
from edge.spec import Spec, SpecError, read_spec
from edge.wire import WireError

# A start that somebody kills is made again this often before the version counts as failed.
KILLED_STARTS = 2
# Where a sandboxed cell sees its static files.
ASSETS_FOLDER = "/assets"
# Of those that were removed: more than are exchanged while a line of the front is on its way.
REMEMBERED_CELLS = 1000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Fleet:
    """Makes and ends cells; knows which one serves each script."""

    def __init__(
        self,
        *,
        settings: Settings,
        paths: NodePaths,
        runtime: Runtime,
        limits: Limits,
        newest_date: str,
        sockets: Sockets,
        state: State,
        bundles: Bundles,
        confinement: Confinement,
        doors: Doors,
        assets: AssetFolders,
        stores: Stores,
        owned: Owned,
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._runtime = runtime
        self._limits = limits
        self._newest_date = newest_date
        self._sockets = sockets
        self._state = state
        self._bundles = bundles
        self._confinement = confinement
        self._doors = doors
        self._assets = assets
        self._stores = stores
        self._owned = owned
        self.calls = Calls(
            state=state, sockets=sockets, confinement=confinement, serving=self.serving
        )
        self._flags = read_flags(runtime)
        self._serving: dict[str, list[Cell]] = {}
        self._retiring: dict[int, Cell] = {}
        self._warm: dict[int, Cell] = {}
        self._known: dict[str, Cell] = {}
        self.tailed: set[str] = set()
        """Scripts that somebody looks at: their next cells tell what they do."""
        self.hear: Callable[[Cell, bytes], bool] | None = None
        """Hears every line that a cell prints; True for one of the platform's own."""
        self._removed: deque[str] = deque()
        # A start is 27 ms of CPU; more at once than this only makes all of them late.
        self._starts = asyncio.Semaphore(2 * (os.cpu_count() or 1))

    def serving(self, slot_id: str) -> list[Cell]:
        """Every cell that takes new requests of a slot: all of one version, oldest first. The slot of
        a script's id has the version that most visitors get."""
        return list(self._serving.get(slot_id, ()))

    def all(self) -> list[Cell]:
        serving = [cell for cells in self._serving.values() for cell in cells]
        return [*serving, *self._retiring.values()]

    def draining(self) -> bool:
        """Whether any cell still finishes what it has begun."""
        return bool(self._retiring)

    def owns_storage(self, slot_id: str) -> bool:
        """Whether only one cell of it may run at a time, and it is exchanged for a deploy only."""
        slot = self._state.slot(slot_id)
        return slot is not None and slot.live is not None and bool(slot.live.owned)

    def observed(self, slot_id: str) -> bool:
        """Whether what it does is stored: then its cells tell it, whoever looks."""
        slot = self._state.slot(slot_id)
        return slot is not None and slot.live is not None and observed(slot.live) is not None

    def known(self, name: str) -> Cell | None:
        """The cell of that name, also one that was removed a moment ago: the front's last lines
        about it are read later."""
        return self._known.get(name)

    def running(self) -> list[Cell]:
        """Every cell that has a process and visitors. Most scripts of a full node have none, so
        whoever looks often must not look through all."""
        self._warm = {number: cell for number, cell in self._warm.items() if cell.running}
        return list(self._warm.values())

    def front_servers(self) -> dict[int, dict[str, Path]]:
        """Socket by cell name by slot number, of every cell that serves."""
        servers: dict[int, dict[str, Path]] = {}
        for cells in self._serving.values():
            for cell in cells:
                servers.setdefault(cell.record.slot_number, {})[cell.name] = cell.paths.main
        return servers

    def cut_off(self) -> list[Cell]:
        """Serving cells from which nothing can be reached any more. Raises OSError when there is
        nothing to reach at all."""
        return [
            cell
            for cell in self.running()
            if cell.process
            and not cell.retired()
            and not self._confinement.shows_doors(cell.process)
        ]

    def outdated(self, cell: Cell, version: Version) -> bool:
        """Whether this cell is not what this version would be built to today."""
        same = cell.record.version_id == version.version_id
        digest = self._digest(cell.record.script_id, version)
        return not same or cell.record.digest != digest or self.calls.lacks(cell) or cell.misplaced

    async def admit(self, script_id: str) -> bool:
        """Let whoever binds this script call it, where that needs no other process; whether it does
        need one. Raises KeeperError or OSError."""
        for cell in self.serving(script_id):
            async with cell.starting:
                if not cell.running and self.calls.lacks(cell):
                    await self.calls.listen(cell)
        return any(self.calls.lacks(cell) for cell in self.serving(script_id))

    async def create(self, slot_id: str, number: int, version: Version) -> Cell:
        """A new cell that answers its probe and has no visitor yet. Raises StartError, and then
        nothing of it is left."""
        build = await self._build(script_of(slot_id), version)
        cell = await self.create_idle(slot_id, number, version)
        try:
            await self._run_to_probe(cell, version, build)
        except StartError:
            await self.remove(cell)
            raise
        return cell

    async def create_idle(self, slot_id: str, number: int, version: Version) -> Cell:
        """A new cell that its first visitor starts. Raises StartError."""
        record = self._state.add_cell(
            slot_id, version.version_id, self._digest(script_of(slot_id), version), number
        )
        try:
            return await self.open(record, version)
        except (KeeperError, OSError) as error:
            self._state.remove_cell(record)
            raise StartError(f"The node cannot open the cell's socket: {error}") from error

    async def start(self, cell: Cell, version: Version) -> None:
        """Start an idle cell that nobody watches yet. Raises StartError."""
        build = await self._build(cell.record.script_id, version)
        await self._run_to_probe(cell, version, build)

    def recast(self, cell: Cell, version: Version) -> None:
        """Whoever waits at this cell, which has no process, is answered by another version."""
        digest = self._digest(cell.record.script_id, version)
        cell.recast(replace(cell.record, version_id=version.version_id, digest=digest))
        self.calls.unregister(cell)
        self.calls.register(cell, version)
        self._state.save_version(cell.record)

    async def _run_to_probe(self, cell: Cell, version: Version, build: Build) -> None:
        for _ in range(KILLED_STARTS):
            try:
                await self._start(cell, version, build)
            except CellKilledError:
                log.warning("cell_killed_at_start", cell=cell.name)
            else:
                return
        await self._start(cell, version, build)

    async def open(
        self,
        record: CellRecord,
        version: Version | None,
        identity: Identity | None = None,
        held: Iterable[str] = (),
    ) -> Cell:
        """The cell of a record, with its sockets held: without a process, or with the one that an
        earlier agent started for it, if it still lives, and what that was given of all that is `held`."""
        paths = self._cell_paths(record)
        listener = await self._sockets.bind(_socket_name(record), f"unix:{paths.main}")
        cell = Cell(record, paths, listener, self._paths.root)
        cell.cpu_ms = self._cpu_ms(record)
        self._known[cell.name] = cell
        if identity and cell.adopt(identity) and cell.process:
            cell.misplaced = not self._confinement.adopt(cell.process)
            self._warm[cell.record.id] = cell
            await self.calls.adopt(cell, held)
        else:
            await self.calls.listen(cell)
        self.calls.register(cell, version)
        cell.output.listener = lambda line: self.hear is not None and self.hear(cell, line)
        return cell

    def _cpu_ms(self, record: CellRecord) -> int | None:
        """What the version of a recorded cell asks for, as far as the node still knows that version."""
        slot = self._state.slot(record.slot_id)
        known = [slot.live, *slot.desired.versions] if slot else []
        specs = [one.spec for one in known if one and one.version_id == record.version_id]
        found = specs[0].get("cpu_ms") if specs and isinstance(specs[0], dict) else None
        return found if isinstance(found, int) else None

    async def hold(self, records: Iterable[CellRecord]) -> None:
        """Get the sockets of many cells at once."""
        paths = {record: self._cell_paths(record) for record in records}
        await self._sockets.bind_all(
            {_socket_name(record): f"unix:{path.main}" for record, path in paths.items()}
        )

    def renewed(self, record: CellRecord, version: Version) -> CellRecord:
        """The record of a cell without a process: it will be built as cells are built today."""
        return replace(record, digest=self._digest(record.script_id, version))

    async def restart(self, cell: Cell, version: Version) -> None:
        """Start a process for a cell that has none. Raises StartError."""
        await self._start(cell, version, await self._build(cell.record.script_id, version))

    async def _start(self, cell: Cell, version: Version, build: Build) -> None:
        try:
            await self._run(cell, version, build)
        except StartError:
            absent = absent_entrances(cell)
            if not absent:
                raise
            # What others bind is their affair: this version does not have it, and starts without.
            self.calls.note_absent(cell, absent)
            await self.calls.unlisten(cell, absent)
            await self._run(cell, version, build)

    def serve(self, cell: Cell) -> None:
        """From now on this cell serves its script, beside those that do already."""
        self._serving.setdefault(cell.record.slot_id, []).append(cell)
        if cell.running:
            self._warm[cell.record.id] = cell

    def retire(self, cell: Cell) -> None:
        """It serves nobody new; whoever drains it calls `remove` in the end."""
        cell.retire()
        self._retiring[cell.record.id] = cell
        others = [one for one in self.serving(cell.record.slot_id) if one is not cell]
        if others:
            self._serving[cell.record.slot_id] = others
        else:
            self._serving.pop(cell.record.slot_id, None)

    def swap(self, one: str, other: str) -> None:
        """Each of two slots has the other's cells from now on, as `State.swap` has written."""
        to = {one: other, other: one}
        for cell in self.all():
            if slot_id := to.get(cell.record.slot_id):
                cell.recast(replace(cell.record, slot_id=slot_id))
        self._serving = {
            to.get(slot_id, slot_id): cells for slot_id, cells in self._serving.items()
        }

    def end_oldest(self, slot_id: str) -> None:
        """End those cells of a slot that have been exchanged so often since that its callers would
        come back to their connections to them, with the next exchange: by then they know of the end."""
        old = [one for one in self._retiring.values() if one.record.slot_id == slot_id]
        called = sorted(
            (one for one in old if one.running and one.passed_sockets),
            key=lambda one: one.record.id,
        )
        for cell in called[: -(TURNS - 2)]:
            log.warning("calls_cut", cell=cell.name, script_id=cell.record.script_id)
            cell.close()
            cell.rest()

    async def remove(self, cell: Cell) -> None:
        """End the process, close the socket, forget the cell."""
        cell.close()
        async with cell.starting:
            await cell.end()
        self.calls.unregister(cell)
        await self.calls.unlisten(cell, cell.entrances)
        await self._sockets.release(_socket_name(cell.record))
        await asyncio.to_thread(shutil.rmtree, cell.paths.main.parent, ignore_errors=True)
        cell.output.remove()
        self._state.remove_cell(cell.record)
        self._retiring.pop(cell.record.id, None)
        self._removed.append(cell.name)
        if len(self._removed) > REMEMBERED_CELLS:
            self._known.pop(self._removed.popleft(), None)
        log.info("cell_removed", cell=cell.name, script_id=cell.record.script_id)

    def forget(self) -> None:
        """Let every cell go on without the agent."""
        for cell in self.all():
            cell.close()
            cell.forget()

    async def _run(self, cell: Cell, version: Version, build: Build) -> Process:
        script_id = cell.record.script_id
        spec = build.spec
        taken = self._owned.taken(_account(build), script_id, spec.owned(), spec.aliases())
        async with cell.starting, taken as locks, self._starts:
            if cell.closed():
                raise StartError("The cell was replaced before it started.")
            try:
                await self._doors.mend()
                uid = self._state.uid_of(_account(build))
                entrances, reaches = tuple(cell.entrances), self.calls.reaches(cell, version)
                build = replace(build, entrances=entrances, reaches=reaches)
                config = cell_config(self._runtime, build, self._limits.heap_mib)
                process = await cell.spawn(
                    config,
                    self._limits,
                    self._confinement,
                    uid,
                    self._mounts(cell, build),
                    locks=locks,
                    reaches=Reaches.OWN if build.network else Reaches.NOTHING,
                )
            except (KeeperError, OSError) as error:
                raise StartError(f"The node cannot start a process: {error}") from error
            if cell.retired() or cell in self.serving(cell.record.slot_id):
                self._warm[cell.record.id] = cell
            self._state.save_process(cell.record, process.identity)
            await cell.answers(process, build.service, self._settings.start_seconds)
        log.info(
            "cell_started",
            cell=cell.name,
            script_id=cell.record.script_id,
            version_id=cell.record.version_id,
            pid=process.pid,
        )
        return process

    async def _build(self, script_id: str, version: Version) -> Build:
        """Raises StartError for a spec this node cannot run or files it does not have."""
        try:
            spec = read_spec(version.spec)
            if refusal := refused_flag(self._flags, spec.compatibility_flags):
                raise SpecError(refusal)
            files = await asyncio.to_thread(self._bundles.read, spec.digests())
            folder, ranged = "", False
            if spec.assets:
                await asyncio.to_thread(self._assets.plant, spec.assets.manifest)
                folder = self._confinement.place(self._assets_mount(spec))
                ranged = await asyncio.to_thread(self._assets.ranged, spec.assets.manifest)
        except (SpecError, WireError, ManifestError) as error:
            raise StartError(str(error)) from error
        except (DigestError, OSError) as error:
            raise StartError(f"A file of this version is not on the node: {error}") from error
        slot = self._state.slot(script_id)
        if slot is None:
            raise StartError("The script was removed before it started.")
        door = self._confinement.door(slot.desired.account_id)
        tells = self._tells(script_id, version)
        stores = await self._store_doors(slot, spec)
        build = Build(
            spec,
            files,
            self._date(spec),
            egress=door,
            assets_folder=folder,
            assets_ranged=ranged,
            tells=tells,
            stores=stores,
            script_id=script_id,
        )
        if not spec.owned():
            return build
        mount = self._owned.mount(slot.desired.account_id, script_id)
        return replace(build, owned_folder=self._confinement.place(mount))

    async def _store_doors(self, slot: Slot, spec: Spec) -> dict[str, StoreDoor]:
        """The way to each kind of store that the script needs. Raises StartError."""
        kinds, elsewhere = kinds_of(spec), slot.desired.data_node
        kept = sorted(kind for kind in kinds if KINDS[kind].kept)
        bucket = self._settings.bucket.url if self._settings.bucket else None
        if kept and elsewhere and (not bucket or bucket != slot.desired.data_bucket):
            raise StartError(
                f"This script binds storage ({', '.join(kept)}), and its account's data is on {elsewhere}. "
                "Several nodes need one bucket for that (SKERRY_BUCKET), the same on all of them."
            )
        account_id = slot.desired.account_id
        if spec.main_module:
            kinds.add(caching.KIND)
        return {kind: await self._stores.door(account_id, kind) for kind in kinds}

    def _mounts(self, cell: Cell, build: Build) -> list[Mount]:
        mounts = [self._assets_mount(build.spec)] if build.spec.assets else []
        if build.spec.owned():
            mounts.append(self._owned.mount(_account(build), cell.record.script_id))
        calls = self.calls.mount(cell)
        return [*mounts, calls] if calls else mounts

    def _assets_mount(self, spec: Spec) -> Mount:
        if spec.assets is None:
            raise StartError("This version has no static assets.")
        return Mount(self._assets.folder(spec.assets.manifest), ASSETS_FOLDER)

    def _digest(self, script_id: str, version: Version) -> str:
        # A script with objects in its process is not exchanged because somebody wants to know more.
        tells = frozenset() if version.owned else self._tells(script_id, version)
        spec = without(version.spec)
        return build_digest(self._runtime, self._limits, spec, self._confinement, tells)

    def _tells(self, script_id: str, version: Version) -> frozenset[Telling]:
        """What a cell that is built now tells of every invocation."""
        if stored := observed(version):
            return frozenset(Telling if stored.subrequests else {Telling.INVOCATIONS})
        looked_at = script_id in self.tailed and not version.owned
        return frozenset({Telling.INVOCATIONS} if looked_at else ())

    def _date(self, spec: Spec) -> str:
        return effective_date(spec.compatibility_date, self._newest_date)

    def _cell_paths(self, record: CellRecord) -> CellPaths:
        folder: Path = self._paths.sockets / record.name
        folder.mkdir(mode=0o700, exist_ok=True)
        return CellPaths(
            main=folder / "main.sock",
            control=folder / "control.sock",
            fifo=self._paths.cells / f"{record.name}.fifo",
        )


def absent_entrances(cell: Cell) -> list[Entrance]:
    """What kept it from starting: ways into the script that lead to no entrypoint."""
    said = cell.output.said()
    return [one for one in cell.entrances if one.id in said]


def _socket_name(record: CellRecord) -> str:
    return f"{record.name}/main"


def _account(build: Build) -> str:
    return build.egress.account_id if build.egress else ""
