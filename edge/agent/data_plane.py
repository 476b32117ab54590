"""Everything a node needs to serve visitors. None of it needs the control plane."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from edge.agent.adoption import end_processes, resume, take_over_cells
from edge.agent.assets import AssetFolders
from edge.agent.background import Background
from edge.agent.bundles import Bundles
from edge.agent.cells.cell import Cell, StartError
from edge.agent.cells.confinement import Confinement
from edge.agent.cells.fleet import Fleet
from edge.agent.cells.limits import MIB, Limits
from edge.agent.cells.networks import ROLE as NETWORK_ROLE, find_networks
from edge.agent.cells.watchdog import Watchdog
from edge.agent.credential import load_credential
from edge.agent.deployer import Deployer
from edge.agent.doors import Doors
from edge.agent.draining import Draining
from edge.agent.egress import ROLE as EGRESS_ROLE, Egress, network_of
from edge.agent.ending import end_node
from edge.agent.files import Fetch, Files
from edge.agent.front.admin import Admin
from edge.agent.front.backups import Backups
from edge.agent.front.certificate import ensure_default_certificate, write_door_files
from edge.agent.front.certificates import Certificates
from edge.agent.front.front import Front, FrontRefusedError
from edge.agent.front.haproxy import ROLE as FRONT_ROLE, FrontError, HAProxy, possible_connections
from edge.agent.front.log import FrontLog
from edge.agent.front.silent import Silent
from edge.agent.front.template import FrontFiles, main_text
from edge.agent.hearing import Hearing
from edge.agent.queues.queues import Queues
from edge.agent.records.journal import Journal
from edge.agent.records.meters import Meters
from edge.agent.records.operations import Operations
from edge.agent.records.points import Points
from edge.agent.records.recorder import Recorder
from edge.agent.records.spool import Spool
from edge.agent.records.stored_logs import StoredLogs
from edge.agent.routing import maps
from edge.agent.scaling import Scaling
from edge.agent.scheduled import Scheduled
from edge.agent.sealing import Seal, write_private
from edge.agent.settings import Settings
from edge.agent.sockets import Sockets
from edge.agent.state import State
from edge.agent.stores.owned import Owned
from edge.agent.stores.resting import Resting
from edge.agent.stores.stores import ROLE as STORE_ROLE, Stores
from edge.agent.stores.tickets import Tickets
from edge.agent.tails import Tails
from edge.agent.waking import Waking
from edge.agent.workflows import Workflows
from edge.keeper import KeeperError
from edge.paths import NodePaths
from edge.runtime.binary import Runtime
from edge.runtime.idle import idle_cell
from edge.runtime.sandbox import Sandbox, first_uid

COMPARE_SECONDS = 60.0
DOORS_SECONDS = 2.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class DataPlane:
    """The parts, and the order in which they start and end."""

    def __init__(
        self,
        settings: Settings,
        paths: NodePaths,
        runtime: Runtime,
        newest_date: str,
        sandbox: Sandbox,
        fetch: Fetch,
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._files = FrontFiles(paths.front)
        self._front_log = FrontLog(paths.front_log)
        self.bundles = Bundles(paths.modules)
        assets = AssetFolders(paths.assets, self.bundles)
        limits, store_limits = _limits(settings, paths, runtime)
        self.background = Background()
        reached = network_of(settings)
        self.networks = find_networks(sandbox.level, paths.root, reached, self.background)
        confinement = Confinement(sandbox, paths, reached, self.networks)
        self.state = State(paths.database, Seal.of(paths.node_key), first_uid(paths.root))
        self.sockets = Sockets(paths)
        admin = Admin(paths.front_socket)
        silent = Silent(paths.silent_socket)
        self.front = Front(self._files, admin, silent, settings.slots)
        self.certificates = Certificates(self._files, admin, settings.haproxy)
        self.haproxy = HAProxy(settings.haproxy, paths.root, self._files, admin, self._front_log)
        self.egress = Egress(settings, paths, runtime, sandbox, self.sockets, first_uid(paths.root))
        self.stores = Stores(
            settings=settings,
            paths=paths,
            runtime=runtime,
            limits=store_limits,
            sockets=self.sockets,
            state=self.state,
            confinement=confinement,
            tickets=Tickets(paths.node_key.read_bytes()),
            background=self.background,
        )
        self.owned = Owned(paths, self.state, confinement, settings.start_seconds)
        self.doors = Doors(paths, runtime, sandbox, self.egress, self.stores)
        self.fleet = Fleet(
            settings=settings,
            paths=paths,
            runtime=runtime,
            limits=limits,
            newest_date=newest_date,
            sockets=self.sockets,
            state=self.state,
            bundles=self.bundles,
            confinement=confinement,
            doors=self.doors,
            assets=assets,
            stores=self.stores,
            owned=self.owned,
        )
        self.watchdog = Watchdog(self.fleet.running, limits)
        self.store_watchdog = Watchdog(self.stores.running, store_limits)
        self.queues = Queues(
            paths, self.stores, self.fleet, self.background, self.state.has_data_of
        )
        self.resting = Resting(
            self.store_watchdog, settings.idle_seconds, self.queues.held, self.stores.shared
        )
        self._deploying(assets, fetch)
        self._observe()

    def _deploying(self, assets: AssetFolders, fetch: Fetch) -> None:
        """The parts that make what runs what the control plane wants."""
        settings = self._settings
        self.files = Files(
            state=self.state,
            bundles=self.bundles,
            assets=assets,
            fetch=fetch,
            background=self.background,
        )
        self.backups = Backups(self.state, self.front)
        self.deployer = Deployer(
            settings=settings,
            state=self.state,
            files=self.files,
            fleet=self.fleet,
            front=self.front,
            backups=self.backups,
            draining=Draining(
                settings=settings, fleet=self.fleet, front=self.front, watchdog=self.watchdog
            ),
            background=self.background,
        )
        self.workflows = Workflows(self.state, self.fleet, self.owned)
        self.scaling = Scaling(
            settings=settings,
            state=self.state,
            fleet=self.fleet,
            watchdog=self.watchdog,
            deployer=self.deployer,
            owned=self.owned,
            workflows=self.workflows,
            background=self.background,
        )
        self.scheduled = Scheduled(self.state, self.fleet, self.background)

    def _observe(self) -> None:
        """The parts that say what happens."""
        paths, settings = self._paths, self._settings
        self.recorder = Recorder(
            spool=Spool(paths.spool, settings.spool_mib * MIB),
            journal=Journal(paths.spool),
            state=self.state,
            fleet=self.fleet,
            front=self.front,
            meters=Meters(self.fleet),
            points=Points(self.state.slot),
            operations=Operations(self.state.slot),
            limit=settings.script_records_second,
        )
        self.tails = Tails(self.fleet, self.deployer)
        self.stored_logs = StoredLogs(
            state=self.state,
            fleet=self.fleet,
            spool=Spool(paths.log_spool, settings.log_spool_mib * MIB),
        )
        hearing = Hearing(self.fleet, (self.tails, self.stored_logs))
        operations = self.recorder.operations
        self.stores.hear = operations.hear_line
        self.recorder.hearing = hearing
        self.fleet.hear = partial(
            _heard, (self.recorder.points.hear_line, operations.hear_cell, hearing.hear_line)
        )

    async def start(self) -> None:
        """Serve what the disk says. Raises KeeperError or FrontError when that is impossible."""
        kept = await self.sockets.open()
        try:
            await self._start(kept)
        except (KeeperError, FrontError):
            if not kept:
                await end_node(self._paths)  # nothing serves, so nothing stays
            raise

    async def _start(self, kept: bool) -> None:
        if not kept:
            # Whoever survived listens on sockets that no new keeper can hold.
            for role in (FRONT_ROLE, "cell:", NETWORK_ROLE, EGRESS_ROLE, STORE_ROLE):
                await end_processes(self._paths, role)
        await self.egress.open()
        await self.stores.open()
        await take_over_cells(self._paths, self.state, self.sockets, self.fleet)
        if self.networks:
            await end_processes(self._paths, NETWORK_ROLE, self.networks.pids())
        await self._open_front()
        await self.recorder.recover()
        self._front_log.open(self.recorder.take)
        self.background.run(self.recorder.collect(), "records")
        self.background.run(self.stored_logs.collect(), "stored logs")
        self.background.run(self.sockets.watch(), "keeper")
        for role in self.egress.roles:
            self.background.run(self.egress.watch(role), role)
        self.background.run(self.haproxy.watch(self._front_came_back), "front")
        self.background.run(self._compare_often(), "compare")
        self.background.run(self.backups.run(), "backups")
        self.background.run(self._keep_doors(), "doors")
        self.background.run(self.watchdog.run(), "watchdog")
        self.background.run(self.store_watchdog.run(), "store watchdog")
        self.background.run(self.resting.run(), "resting stores")
        self.background.run(self.stores.points.run(), "points of D1")
        self.background.run(self.scaling.run(), "scaling")
        waking = Waking(self.state, self.fleet, self.owned, self.workflows)
        self.background.run(waking.run(), "waking")
        await resume(self.state, self.fleet, self.deployer)
        self.files.prune_soon(self.fleet.draining)
        for slot in self.state.slots():
            if self.deployer.unfinished(slot):
                self.background.run(self.deployer.converge(slot.script_id), "converge at start")
        self.queues.open()

    async def converge(self, script_ids: list[str]) -> None:
        await asyncio.gather(*(self.deployer.converge(script_id) for script_id in script_ids))

    async def leave(self) -> None:
        """The agent goes; keeper, front and cells stay and serve on."""
        await self.background.cancel()
        self._front_log.close()
        with contextlib.suppress(OSError):
            await self.recorder.flush()
            await self.stored_logs.flush(0)
        self.fleet.forget()
        if self.networks:
            self.networks.forget()
        self.stores.forget()
        self.haproxy.forget()
        self.egress.forget()
        self.sockets.forget()
        self.state.close()

    async def _open_front(self) -> None:
        addresses = {
            "http": f"tcp:{self._settings.bind}:{self._settings.http_port}",
            "https": f"tcp:{self._settings.bind}:{self._settings.https_port}",
            "door": f"tcp:{self._settings.bind}:{self._settings.door_port}",
        }
        for name in await self.sockets.names():
            kind, _, address = name.partition("@")
            if addresses.get(kind, address) != address:
                await self.sockets.release(name)  # the ports were changed
        listeners = {
            kind: await self.sockets.bind(f"{kind}@{address}", address)
            for kind, address in addresses.items()
        }
        self.door_port = int(listeners["door"].getsockname()[1])
        ensure_default_certificate(self._files.certificate)
        write_door_files(self._files, load_credential(self._paths.credential))
        await self.certificates.load()
        self._listening = "".join(f"# {kind} is {address}\n" for kind, address in addresses.items())
        self._write_main()
        leaving = {cell.name for cell in self.fleet.all() if cell.retired()}
        functions = await self.backups.resolved()
        servers = self.fleet.front_servers()
        self.front.load(servers, maps(self.state.slots()), leaving, functions)
        await self.haproxy.open(listeners)
        await self._front_came_back()

    async def open_door(self) -> None:
        """Serve other nodes, too, once this one has enrolled. The front is another one afterwards."""
        if write_door_files(self._files, load_credential(self._paths.credential)):
            self._write_main()
            await self.haproxy.renew()

    def _write_main(self) -> None:
        text = main_text(
            self._files,
            self._paths.front_socket,
            self._paths.silent_socket,
            self._settings.slots,
            possible_connections(self._settings.front_connections),
            self._settings.front_threads,
            self._settings.name,
            self._settings.drain_seconds,
            self._settings.function_authorities,
        )
        write_private(self._files.main, (text + self._listening).encode())

    async def _front_came_back(self) -> None:
        await self.front.compare()
        await self.certificates.compare()

    async def _compare_often(self) -> None:
        while True:
            await asyncio.sleep(COMPARE_SECONDS)
            await self._front_came_back()

    async def _keep_doors(self) -> None:
        while True:
            await asyncio.sleep(DOORS_SECONDS)
            try:
                await self.doors.mend()
                cut_off = {cell.record.slot_id for cell in self.fleet.cut_off()}
            except (KeeperError, OSError) as error:
                log.error("doors_not_mended", reason=str(error))
                continue
            for slot_id in cut_off:
                await self._renew(slot_id)

    async def _renew(self, slot_id: str) -> None:
        try:
            await self.deployer.renew(slot_id)
        except (StartError, FrontRefusedError) as error:
            # What was stays as it is, and is tried again.
            log.warning("cell_cut_off", slot_id=slot_id, reason=str(error))


def _heard(listeners: Iterable[Callable[[Cell, bytes], bool]], cell: Cell, line: bytes) -> bool:
    """Whether a line that a cell printed was for one of them, and so is not the script's."""
    return any(listener(cell, line) for listener in listeners)


def _limits(settings: Settings, paths: NodePaths, runtime: Runtime) -> tuple[Limits, Limits]:
    """Of cells, and of stores."""
    idle = idle_cell(runtime, settings.cell_heap_mib, paths.idle_cell)
    return Limits.of(settings, idle), Limits.of_store(settings, idle)
