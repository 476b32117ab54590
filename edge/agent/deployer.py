"""Makes one slot run what it should: start, probe, exchange, drain; or withdraw."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import structlog

from edge.agent.background import Background
from edge.agent.cells.cell import Cell, StartError
from edge.agent.cells.fleet import Fleet
from edge.agent.cells.guard import guard
from edge.agent.desired import Version, companion_of
from edge.agent.draining import Draining
from edge.agent.files import Files
from edge.agent.front.backups import Backups
from edge.agent.front.front import Front, FrontRefusedError
from edge.agent.numbers import SlotNumbers
from edge.agent.routing import maps
from edge.agent.settings import Settings
from edge.agent.splitting import placed
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
        # This one first, always: whoever else changes something takes one of the two only.
        async with self.changing(script_id), self.changing(companion_of(script_id)):
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

    def changing(self, slot_id: str) -> asyncio.Lock:
        """Hold it while changing which cells serve a slot."""
        return self._locks[slot_id]

    def unfinished(self, slot: Slot) -> bool:
        """Whether this slot needs work although nothing new was received."""
        if slot.desired.companion:
            return False  # its script's slot says it
        companion = self._companion(slot)
        if slot.state in _SETTLED and not slot.desired.versions:
            return slot.number is not None or companion is not None
        if slot.state is not SlotState.LIVE:
            return True
        version, other = placed(slot, companion)
        if self._to_exchange(slot, version) or (companion is None) != (other is None):
            return True
        return bool(companion and other and self._to_exchange(companion, other))

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
        """Bring the front's hostnames and routes up to date. Many who ask at once are served by one change."""
        self._unrouted = True
        async with self._routing:
            if self._unrouted:
                self._unrouted = False
                await self._front.route(maps(self._state.slots()))
                # Names are looked up for it: nobody waits for that.
                self._background.run(self._backups.update(), "backups")

    # Deploy

    async def _deploy(self, slot: Slot) -> Slot:
        slot = self._with_number(slot)
        companion = self._companion(slot)
        try:
            version, other = placed(slot, companion)
            if other:
                slot = await self._deploy_two(slot, version, other)
            else:
                if companion and companion.live and companion.live.version_id == version.version_id:
                    slot, _ = self._swap(slot, companion)
                slot = await self._deploy_one(slot, version)
                await self._end_companion(slot)
        except (StartError, FrontRefusedError) as error:
            log.warning("deploy_failed", script_id=slot.script_id, reason=str(error))
            slot = self._settle(slot, SlotState.FAILED, str(error))
            companion = self._companion(slot)
            if companion and not companion.live:
                await self._end_companion(slot)
        await self.route()
        return slot

    async def _deploy_one(self, slot: Slot, version: Version) -> Slot:
        """Raises StartError, and then nothing changed."""
        if not self._to_exchange(slot, version):
            self._check(slot)
            return self._alive(slot, version)
        if slot.live and slot.live.owned and version.owned:
            await self._files.ensure(slot.script_id, version)
            slot = await self._replace(slot, version)
        else:
            cell = await self._prepare(slot, version)
            slot = replace(slot, live=version, state=SlotState.LIVE, reason=None, reported=False)
            await self.take_turn(slot, cell, version)
        log.info("version_deployed", script_id=slot.script_id, version_id=version.version_id)
        return slot

    async def _deploy_two(self, slot: Slot, version: Version, other: Version) -> Slot:
        """Both, or StartError is raised and nothing changed: no visitor sees a version before the other
        one is ready, and shares change at once, by what `routing.splits` makes of what is live."""
        companion = self._companion(slot)
        desired = replace(slot.desired, companion=True, hostnames=(), routes=(), versions=(other,))
        if companion is None:
            companion = Slot(desired, None, None, SlotState.LIVE, None, reported=True)
        companion = replace(companion, desired=desired)
        self._state.save([companion])
        companion = self._with_number(companion)
        ready: list[tuple[Slot, Cell, Version]] = []
        try:
            for place, wanted in ((companion, other), (slot, version)):
                if self._to_exchange(place, wanted):
                    ready.append((place, await self._prepare(place, wanted), wanted))
                else:
                    self._check(place)
        except StartError:
            for _, cell, _ in ready:
                await self._fleet.remove(cell)
            raise
        for place, cell, wanted in ready:
            await self.take_turn(replace(place, live=wanted), cell, wanted)
            log.info("version_deployed", script_id=place.script_id, version_id=wanted.version_id)
        slot, companion = replace(slot, live=version), replace(companion, live=other)
        self._state.save([slot, companion])
        if other.percentage > version.percentage:
            slot, _ = self._swap(slot, companion)
            await self._fleet.calls.point(slot.script_id)
        return self._settle(slot, SlotState.LIVE, None)

    def _companion(self, slot: Slot) -> Slot | None:
        return self._state.slot(companion_of(slot.script_id))

    def _swap(self, slot: Slot, companion: Slot) -> tuple[Slot, Slot]:
        """Let the companion's cells be the script's, as they run. Visitors notice nothing of it: the
        numbers of the front's slots go with them."""
        slot, companion = self._state.swap(slot, companion)
        self._fleet.swap(slot.id, companion.id)
        log.info("companion_took_over", script_id=slot.script_id)
        return slot, companion

    async def _end_companion(self, slot: Slot) -> None:
        """Nobody is led to the companion any more, and what it has begun ends."""
        companion = self._companion(slot)
        if companion is None:
            return
        desired = replace(companion.desired, versions=())
        self._state.save([replace(companion, desired=desired, live=None)])
        await self.route()
        await self._empty(companion)

    def _to_exchange(self, slot: Slot, version: Version) -> bool:
        """Whether what serves is not what this version would be built to today."""
        serving = self._fleet.serving(slot.id)
        return not serving or any(self._fleet.outdated(cell, version) for cell in serving)

    def _check(self, slot: Slot) -> None:
        """Raises StartError if none of the cells that serve can be started."""
        failing = [cell.failing for cell in self._fleet.serving(slot.id)]
        if all(failing):
            raise StartError(str(failing[0]))

    async def _prepare(self, slot: Slot, version: Version) -> Cell:
        """Start a new cell that can take over; raises StartError, and then nothing changed."""
        await self._files.ensure(slot.script_id, version)
        return await self._fleet.create(slot.id, self._number(slot), version)

    def _number(self, slot: Slot) -> int:
        if slot.number is None:
            raise StartError(f"This node has no free slot: all {self._settings.slots} are in use.")
        return slot.number

    async def _replace(self, slot: Slot, version: Version) -> Slot:
        """Stop, then start, because two processes must not have one storage open: visitors wait at
        the new cell's socket meanwhile. Raises StartError or FrontRefusedError, and then the version
        before answers them."""
        number = self._number(slot)
        before = self._fleet.serving(slot.id)
        cell = await self._fleet.create_idle(slot.id, number, version)
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
        before = self._fleet.serving(slot.id)
        self._state.save_serving(slot, cell.record)
        self._fleet.serve(cell)
        self.watch(cell, version)
        for one in before:
            self._fleet.retire(one)
        # Before the answer: who deploys and then looks must not see the old version.
        number = cell.record.slot_number
        await self._front.exchange(number, cell.name, [one.name for one in before])
        self._fleet.end_oldest(slot.id)
        await self._fleet.calls.point(slot.script_id)
        for one in before:
            self.drain(one)

    async def renew(self, slot_id: str) -> None:
        """Exchange what serves for the same, newly started. Raises StartError or FrontRefusedError,
        and then nothing changed."""
        async with self.changing(slot_id):
            slot = self._state.slot(slot_id)
            serving = self._fleet.serving(slot_id)
            if slot and slot.live and serving:
                if slot.live.owned:
                    await self._replace(slot, slot.live)
                    return
                number = serving[0].record.slot_number
                cell = await self._fleet.create(slot_id, number, slot.live)
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

    def _alive(self, slot: Slot, version: Version) -> Slot:
        """What serves is this version already: only its share may be another one."""
        if slot.live != version:
            slot = replace(slot, live=version)
            self._state.save([slot])
        return self._settle(slot, SlotState.LIVE, None)

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
        others = [one for one in self._fleet.serving(cell.record.slot_id) if one is not cell]
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
            if reason:
                self._settle(slot, SlotState.FAILED, reason)
            else:
                self._recover(slot)

    def _recover(self, slot: Slot) -> None:
        """A desired version is back: of two, the other one may be failing, or have never come up."""
        live = _shares(self._live(slot))
        desired = _shares(slot.desired.versions)
        cells = [*self._fleet.serving(slot.id), *self._fleet.serving(companion_of(slot.id))]
        reason = next((one.failing for one in cells if one.failing), None)
        if reason or live == desired:
            self._settle(slot, SlotState.FAILED if reason else SlotState.LIVE, reason)
        elif desired.keys() <= live.keys():
            self._background.run(self.converge(slot.script_id), "converge at last")

    def _live(self, slot: Slot) -> list[Version]:
        companion = self._companion(slot)
        return [one.live for one in (slot, companion) if one and one.live]

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
        await self._end_companion(slot)
        await self._empty(slot)
        if home:
            log.info("script_forwarded", script_id=slot.script_id, home=home.name)
        else:
            log.info("script_withdrawn", script_id=slot.script_id)
        return self._state.slot(slot.script_id) or slot

    async def _empty(self, slot: Slot) -> None:
        """Let all cells of a slot drain, to which nobody is led any more."""
        self._state.drain_cells(slot.id)
        serving = self._fleet.serving(slot.id)
        for cell in serving:
            self.drain(cell)
        await self._fleet.calls.point(slot.script_id)
        if not serving:
            self._free_number(slot.id)

    def _free_number(self, slot_id: str) -> None:
        """Give the front's slot back once nothing of a withdrawn script is left in it."""
        slot = self._state.slot(slot_id)
        busy = any(cell.record.slot_id == slot_id for cell in self._fleet.all())
        if slot is None or slot.desired.versions or busy:
            return
        if slot.desired.companion:
            self._state.remove_slot(slot)
        elif slot.number is not None:
            self._state.save([replace(slot, number=None)])
        if slot.number is not None:
            self._numbers.give_back(slot.number)

    async def _drain(self, cell: Cell) -> None:
        slot = self._state.slot(cell.record.slot_id)
        if slot and slot.live and slot.live.owned:
            # The cell that has its turn cannot start before this one has ended.
            await self._front.drain(cell.record.slot_number, cell.name)
            await self._draining.end(cell)
            await self._draining.forget(cell)
        else:
            await self._draining.drain(cell)
        self._free_number(cell.record.slot_id)
        self._files.prune_soon(self._fleet.draining)


def _shares(versions: Iterable[Version]) -> dict[str, float]:
    return {version.version_id: version.percentage for version in versions}
