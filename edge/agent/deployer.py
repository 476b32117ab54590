"""Makes one slot run what it should: start, probe, exchange, drain; or withdraw."""

import asyncio
from collections import defaultdict
from dataclasses import replace
from functools import partial

import structlog

from edge.agent.background import Background
from edge.agent.cells.cell import Cell, StartError
from edge.agent.cells.fleet import Fleet
from edge.agent.cells.guard import guard
from edge.agent.desired import Version
from edge.agent.draining import Draining
from edge.agent.files import Files
from edge.agent.front.backups import Backups
from edge.agent.front.front import Front, FrontRefusedError
from edge.agent.front.template import home_name, slot_name
from edge.agent.numbers import SlotNumbers
from edge.agent.settings import Settings
from edge.agent.state import Phase, Slot, SlotState, State
from edge.keeper import KeeperError

_SETTLED = (SlotState.LIVE, SlotState.WITHDRAWN)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Deployer:
    def __init__(
        self,
        *,
        settings: Settings,
        state: State,
        files: Files,
        fleet: Fleet,
        front: Front,
        backups: Backups,
        draining: Draining,
        background: Background,
    ) -> None:
        self._settings = settings
        self._state = state
        self._files = files
        self._fleet = fleet
        self._front = front
        self._backups = backups
        self._draining = draining
        self._background = background
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        taken = {slot.number for slot in state.slots() if slot.number is not None}
        self._numbers = SlotNumbers(settings.slots, taken)
        self._routing = asyncio.Lock()
        self._unrouted = False

    async def converge(self, script_id: str) -> Slot | None:
        """Bring a slot to its desired state, and answer how that went. Safe to call at any time."""
        await self._admit_callers(script_id)
        async with self.changing(script_id):
            slot = self._state.slot(script_id)
            if slot is None:
                return None
            try:
                slot = await (self._deploy(slot) if slot.desired.versions else self._let_go(slot))
            except Exception as error:
                # One script must not stop the pull of all others; the control plane hears of it.
                log.exception("converge_failed", script_id=script_id)
                slot = self._settle(slot, SlotState.FAILED, f"The node failed: {error!r}")
        self._files.prune_soon(self._fleet.draining)
        return slot

    def changing(self, script_id: str) -> asyncio.Lock:
        """Hold it while changing which cells serve a script."""
        return self._locks[script_id]

    def unfinished(self, slot: Slot) -> bool:
        """Whether this slot needs work although nothing new was received."""
        if slot.state in _SETTLED and not slot.desired.versions:
            return slot.number is not None
        if slot.state is not SlotState.LIVE:
            return True
        return self._to_exchange(slot, slot.desired.versions[0])

    def watch(self, cell: Cell, version: Version) -> None:
        """Start the cell for whoever waits for it, from now until it has drained."""
        start = partial(self._fleet.restart, cell, version)
        watching = guard(cell, start, self._health, self._block)
        self._background.run(watching, f"guard {cell.name}")

    def drain(self, cell: Cell) -> None:
        """Take a cell away without losing what it has begun."""
        self._fleet.retire(cell)
        self._background.run(self._drain(cell), f"drain {cell.name}")

    async def route(self) -> None:
        """Bring the front's hostnames up to date. Many who ask at once are served by one change."""
        self._unrouted = True
        async with self._routing:
            if self._unrouted:
                self._unrouted = False
                await self._front.route(hosts(self._state.slots()))
                # Names are looked up for it: nobody waits for that.
                self._background.run(self._backups.update(), "backups")

    # Deploy

    async def _deploy(self, slot: Slot) -> Slot:
        try:
            version = _only_version(slot)
            if self._to_exchange(slot, version):
                slot = await self._exchange(slot, version)
            else:
                failing = [cell.failing for cell in self._fleet.serving(slot.script_id)]
                if all(failing):
                    raise StartError(str(failing[0]))
                slot = self._settle(slot, SlotState.LIVE, None)
        except (StartError, FrontRefusedError) as error:
            log.warning("deploy_failed", script_id=slot.script_id, reason=str(error))
            slot = self._settle(slot, SlotState.FAILED, str(error))
            slot = self._with_number(slot)
        await self.route()
        return slot

    def _to_exchange(self, slot: Slot, version: Version) -> bool:
        """Whether what serves is not what this version would be built to today."""
        serving = self._fleet.serving(slot.script_id)
        return not serving or any(self._fleet.outdated(cell, version) for cell in serving)

    async def _exchange(self, slot: Slot, version: Version) -> Slot:
        """Start a new cell and let it take over; raises StartError, and then nothing changed."""
        await self._files.ensure(slot.script_id, version)
        slot = self._with_number(slot)
        number = slot.number
        if number is None:
            raise StartError(f"This node has no free slot: all {self._settings.slots} are in use.")
        if slot.live and slot.live.owned and version.owned:
            slot = await self._replace(slot, number, version)
        else:
            cell = await self._fleet.create(slot.script_id, number, version)
            slot = replace(slot, live=version, state=SlotState.LIVE, reason=None, reported=False)
            await self.take_turn(slot, cell, version)
        log.info("version_deployed", script_id=slot.script_id, version_id=version.version_id)
        return slot

    async def _replace(self, slot: Slot, number: int, version: Version) -> Slot:
        """Stop, then start, because two processes must not have one storage open: visitors wait at
        the new cell's socket meanwhile. Raises StartError or FrontRefusedError, and then the version
        before answers them."""
        before = self._fleet.serving(slot.script_id)
        cell = await self._fleet.create_idle(slot.script_id, number, version)
        await self._add(cell)
        # What is live stays the version before: its files are needed if this one does not start.
        self._state.save_serving(slot, cell.record)
        self._fleet.serve(cell)
        for one in before:
            self._fleet.retire(one)
        await self._front.exchange(number, cell.name, [one.name for one in before])
        await self._fleet.calls.point(slot.script_id)
        await asyncio.gather(*(self._draining.end(one) for one in before))
        for one in before:
            self._background.run(self._draining.forget(one), f"forget {one.name}")
        try:
            await self._fleet.start(cell, version)
        except StartError:
            await self._bring_back(slot, cell, version)
            raise
        slot = replace(slot, live=version, state=SlotState.LIVE, reason=None, reported=False)
        self._state.save([slot])
        self.watch(cell, version)
        return slot

    async def _bring_back(self, slot: Slot, cell: Cell, version: Version) -> None:
        """Let the version before answer whoever waits for one that does not start."""
        earlier = slot.live or version
        if earlier.version_id != version.version_id:
            self._fleet.recast(cell, earlier)
            self._state.save_serving(slot, cell.record)
            try:
                await self._fleet.start(cell, earlier)
            except StartError as error:  # its guard goes on trying
                log.error("version_not_back", script_id=slot.script_id, reason=str(error))
        self.watch(cell, earlier)

    async def take_turn(self, slot: Slot, cell: Cell, version: Version) -> None:
        """New requests go to this cell from now on, and those before it drain. Raises
        FrontRefusedError, and then the cell is gone and nothing changed."""
        await self._add(cell)
        before = self._fleet.serving(slot.script_id)
        self._state.save_serving(slot, cell.record)
        self._fleet.serve(cell)
        self.watch(cell, version)
        for one in before:
            self._fleet.retire(one)
        # Before the answer: who deploys and then looks must not see the old version.
        number = cell.record.slot_number
        await self._front.exchange(number, cell.name, [one.name for one in before])
        self._fleet.end_oldest(slot.script_id)
        await self._fleet.calls.point(slot.script_id)
        for one in before:
            self.drain(one)

    async def renew(self, script_id: str) -> None:
        """Exchange what serves for the same, newly started. Raises StartError or FrontRefusedError,
        and then nothing changed."""
        async with self.changing(script_id):
            slot = self._state.slot(script_id)
            serving = self._fleet.serving(script_id)
            if slot and slot.live and serving:
                number = serving[0].record.slot_number
                if slot.live.owned:
                    await self._replace(slot, number, slot.live)
                    return
                cell = await self._fleet.create(script_id, number, slot.live)
                await self.take_turn(slot, cell, slot.live)

    async def _admit_callers(self, script_id: str) -> None:
        """Have every script that this one is to call listen for it. Before its own lock is taken: two
        scripts may call each other."""
        slot = self._state.slot(script_id)
        for callee in self._fleet.calls.script_ids(slot) if slot else ():
            try:
                if await self._fleet.admit(callee):
                    await self.renew(callee)
                await self._fleet.calls.point(callee)
            except (StartError, FrontRefusedError, KeeperError, OSError) as error:
                # Its calls fail until the callee is deployed again; the caller itself is fine.
                log.warning("callee_not_ready", script_id=callee, reason=str(error))

    async def show(self, cell: Cell) -> None:
        """New requests go to this cell, too. It is gone when FrontRefusedError is raised."""
        await self._add(cell)
        await self._front.exchange(cell.record.slot_number, cell.name, [])

    async def _add(self, cell: Cell) -> None:
        try:
            await self._front.add(cell.record.slot_number, cell.name, cell.paths.main)
        except FrontRefusedError:
            await self._fleet.remove(cell)
            raise

    def leave(self, cell: Cell) -> None:
        """One cell less of those that serve a script side by side."""
        self._state.save_phase(cell.record, Phase.DRAINING)
        self.drain(cell)
        pointing = self._fleet.calls.point(cell.record.script_id)
        self._background.run(pointing, f"callers of {cell.record.script_id}")

    def _with_number(self, slot: Slot) -> Slot:
        """The slot with one of the front's slots assigned, if one is free."""
        if slot.number is not None:
            return slot
        slot = replace(slot, number=self._numbers.take())
        self._state.save([slot])
        return slot

    def _settle(self, slot: Slot, state: SlotState, reason: str | None) -> Slot:
        if (slot.state, slot.reason) == (state, reason):
            return slot
        slot = replace(slot, state=state, reason=reason, reported=False)
        self._state.save([slot])
        return slot

    async def _health(self, cell: Cell, reason: str | None) -> None:
        """A cell died and cannot be started (a reason), or is back (none)."""
        if cell.retired():
            if reason:
                cell.refuse_waiting()
            return
        number = cell.record.slot_number
        others = [one for one in self._fleet.serving(cell.record.script_id) if one is not cell]
        if reason is None:
            await self._front.unhold(number, cell.name)
        elif others:
            self.leave(cell)
            return
        else:
            await self._front.hold(number, cell.name)
        slot = self._state.slot(cell.record.script_id)
        desired = {version.version_id for version in slot.desired.versions} if slot else set()
        if slot and cell.record.version_id in desired:
            self._settle(slot, SlotState.FAILED if reason else SlotState.LIVE, reason)

    async def _block(self, cell: Cell) -> None:
        """A cell is killed again and again: 503 for its visitors until it is back. The version is
        deployed none the less, so its state stays."""
        if not cell.retired():
            await self._front.hold(cell.record.slot_number, cell.name)
        cell.refuse_waiting()

    # Withdraw, or leave it to another node

    async def _let_go(self, slot: Slot) -> Slot:
        home = slot.desired.home
        slot = self._settle(slot, SlotState.LIVE if home else SlotState.WITHDRAWN, None)
        if slot.live:
            slot = replace(slot, live=None)
            self._state.save([slot])
        await self.route()
        self._state.drain_cells(slot.script_id)
        serving = self._fleet.serving(slot.script_id)
        for cell in serving:
            self.drain(cell)
        await self._fleet.calls.point(slot.script_id)
        if not serving:
            self._free_number(slot.script_id)
        if home:
            log.info("script_forwarded", script_id=slot.script_id, home=home.name)
        else:
            log.info("script_withdrawn", script_id=slot.script_id)
        return self._state.slot(slot.script_id) or slot

    def _free_number(self, script_id: str) -> None:
        """Give the front's slot back once nothing of a withdrawn script is left in it."""
        slot = self._state.slot(script_id)
        busy = any(cell.record.script_id == script_id for cell in self._fleet.all())
        if slot and not slot.desired.versions and slot.number is not None and not busy:
            self._state.save([replace(slot, number=None)])
            self._numbers.give_back(slot.number)

    async def _drain(self, cell: Cell) -> None:
        slot = self._state.slot(cell.record.script_id)
        if slot and slot.live and slot.live.owned:
            # The cell that has its turn cannot start before this one has ended.
            await self._front.drain(cell.record.slot_number, cell.name)
            await self._draining.end(cell)
            await self._draining.forget(cell)
        else:
            await self._draining.drain(cell)
        self._free_number(cell.record.script_id)
        self._files.prune_soon(self._fleet.draining)


def hosts(slots: list[Slot]) -> dict[str, str]:
    """Where the front leads each hostname. Two scripts may claim one hostname while it moves from one
    to the other: the newer decision wins."""
    table: dict[str, str] = {}
    for slot in sorted(slots, key=lambda one: one.generation):
        if slot.desired.home:
            table.update(
                dict.fromkeys(slot.desired.hostnames, home_name(slot.desired.home.node_id))
            )
        elif slot.number is not None and slot.desired.versions:
            table.update(dict.fromkeys(slot.desired.hostnames, slot_name(slot.number)))
    return table


def _only_version(slot: Slot) -> Version:
    if len(slot.desired.versions) > 1:
        raise StartError("This node cannot split traffic between versions yet.")
    return slot.desired.versions[0]
