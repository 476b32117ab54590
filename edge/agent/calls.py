"""Which script leads to which on this node: the sockets by which scripts of one account call each other.

Each cell of a script that is called listens on a socket for each way into it (an `Entrance`), in the
cell's own folder. Each cell that calls sees one folder, its own, with a hard link for each of its service
bindings and for nothing else. When another cell of the callee takes over, the links are exchanged and
the callers are told to turn: their next call makes a new connection, and what has begun ends on the old.
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from edge.agent.cells.calling import post
from edge.agent.cells.cell import Cell
from edge.agent.cells.confinement import Confinement, Mount
from edge.agent.desired import Version
from edge.agent.sockets import Sockets
from edge.agent.state import Slot, State
from edge.runtime.callees import Callee, Entrance, Reach, callees_of
from edge.runtime.sandbox import Level

# Where a sandboxed cell sees the sockets that it may connect to.
CALLEES_FOLDER = "/callees"
# A cell that does not answer this long is busy with something else; its calls go on to the old callee.
TURN_SECONDS = 3.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass
class Called:
    """Who is called, as all slots of the node have it."""

    revision: int
    entrances: dict[tuple[str, str], set[Entrance]] = field(default_factory=dict)
    """By account and name of the callee."""
    scripts: dict[tuple[str, str], str] = field(default_factory=dict)
    """The script's id by account and name."""


class Calls:
    def __init__(
        self,
        *,
        state: State,
        sockets: Sockets,
        confinement: Confinement,
        serving: Callable[[str], list[Cell]],
    ) -> None:
        self._state = state
        self._sockets = sockets
        self._confinement = confinement
        self._serving = serving
        self._index: Called | None = None
        self._callees: dict[Cell, list[Callee]] = {}
        self._callers: defaultdict[tuple[str, str], set[Cell]] = defaultdict(set)
        self._absent: defaultdict[str, set[Entrance]] = defaultdict(set)
        """By version: what it was seen not to have."""

    # What is called

    def callees(self, version: Version) -> list[Callee]:
        spec = version.spec if isinstance(version.spec, dict) else {}
        return callees_of(spec.get("bindings"))

    def script_ids(self, slot: Slot) -> set[str]:
        """The other scripts that this one should be able to call, as far as they are on this node."""
        scripts = self._called().scripts
        account_id = slot.desired.account_id
        names = {one.script for version in slot.desired.versions for one in self.callees(version)}
        found = {scripts.get((account_id, name)) for name in names - {slot.desired.name}}
        return {script_id for script_id in found if script_id}

    def wanted(self, script_id: str, version_id: str) -> set[Entrance]:
        """The ways into a script that some script on this node binds, and that this version has."""
        key = self._key(script_id)
        if key is None:
            return set()
        bound = set(self._called().entrances.get(key, ()))
        for caller in self._callers.get(key, ()):
            bound |= {one.entrance for one in self._callees[caller] if one.script == key[1]}
        return bound - self._absent.get(version_id, set())

    def lacks(self, cell: Cell) -> bool:
        """Whether somebody could not call what this cell has."""
        record = cell.record
        return not self.wanted(record.script_id, record.version_id) <= cell.entrances.keys()

    def note_absent(self, cell: Cell, entrances: Iterable[Entrance]) -> None:
        """Its version has no such entrypoints, so nobody may wait there."""
        self._absent[cell.record.version_id] |= set(entrances)

    def _key(self, script_id: str) -> tuple[str, str] | None:
        slot = self._state.slot(script_id)
        return (slot.desired.account_id, slot.desired.name) if slot else None

    def _called(self) -> Called:
        index = self._index
        if index is None or index.revision != self._state.revision:
            index = self._index = self._look()
        return index

    def _look(self) -> Called:
        found = Called(self._state.revision)
        for slot in self._state.slots():
            account_id, name = slot.desired.account_id, slot.desired.name
            if slot.desired.versions or slot.live:
                found.scripts[account_id, name] = slot.script_id
            live = [slot.live] if slot.live else []
            for version in [*slot.desired.versions, *live]:
                for one in self.callees(version):
                    if one.script != name:
                        found.entrances.setdefault((account_id, one.script), set()).add(
                            one.entrance
                        )
        return found

    # The callee's side

    async def listen(self, cell: Cell) -> None:
        """Hold a socket for each way into this cell; safe to repeat. Only while it has no process.
        Raises KeeperError or OSError."""
        for entrance in self.wanted(cell.record.script_id, cell.record.version_id):
            await self._listen(cell, entrance)

    async def adopt(self, cell: Cell, held: Iterable[str]) -> None:
        """For a cell with a process: the sockets that it was given, of all that the keeper holds."""
        own = {name for name in held if name.startswith(f"{cell.name}/")} - {f"{cell.name}/main"}
        cell.passed_sockets = len(own)
        for entrance in self.wanted(cell.record.script_id, cell.record.version_id):
            if _socket_name(cell, entrance) in own:
                await self._listen(cell, entrance)

    async def _listen(self, cell: Cell, entrance: Entrance) -> None:
        path = socket_path(cell, entrance)
        listener = await self._sockets.bind(_socket_name(cell, entrance), f"unix:{path}")
        if uid := self._outer_uid(cell):
            os.chown(path, 0, uid)
            path.chmod(0o660)
        cell.entrances[entrance] = listener

    def called_cell(self, script_id: str, entrance: Entrance) -> Cell | None:
        """Whoever calls the script so calls this cell now."""
        cells = self._serving(script_id)
        return next((cell for cell in cells if entrance in cell.entrances), None)

    def has_none(self, script_id: str, entrance: Entrance) -> bool:
        """Whether what serves the script was seen not to have such an entrypoint."""
        serving = [cell.record.version_id for cell in self._serving(script_id)]
        return bool(serving) and all(entrance in self._absent.get(one, ()) for one in serving)

    async def unlisten(self, cell: Cell, entrances: Iterable[Entrance]) -> None:
        for entrance in list(entrances):
            cell.entrances.pop(entrance, None)
            await self._sockets.release(_socket_name(cell, entrance))

    # The caller's side

    def register(self, cell: Cell, version: Version | None) -> None:
        """Make the cell's folder, with a link for each script that it calls. Raises OSError."""
        key = self._key(cell.record.script_id)
        own = key[1] if key else ""
        callees = [one for one in (self.callees(version) if version else []) if one.script != own]
        if key is None or not callees:
            return
        self._callees[cell] = callees
        folder = _links(cell)
        folder.mkdir(mode=0o700, exist_ok=True)
        if uid := self._outer_uid(cell):
            os.chown(folder, 0, uid)
            folder.chmod(0o710)
        if self._confinement.sandbox.level is not Level.NONE:
            cell.calls_into = str(cell.paths.main.parent.parent)
        for callee in callees:
            self._callers[key[0], callee.script].add(cell)
            self._link(cell, key[0], callee)

    def unregister(self, cell: Cell) -> None:
        self._callees.pop(cell, None)
        for key, callers in list(self._callers.items()):
            callers.discard(cell)
            if not callers:
                del self._callers[key]

    def mount(self, cell: Cell) -> Mount | None:
        """What the cell has to see to make its calls."""
        return Mount(_links(cell), CALLEES_FOLDER) if cell in self._callees else None

    def reaches(self, cell: Cell, version: Version) -> tuple[Reach, ...]:
        """Where each of its service bindings leads."""
        folder = self._confinement.place(Mount(_links(cell), CALLEES_FOLDER))
        key = self._key(cell.record.script_id)
        own = key[1] if key else ""
        return tuple(
            Reach(one, "" if one.script == own else f"{folder}/{one.number}.sock")
            for one in self.callees(version)
        )

    async def point(self, script_id: str) -> None:
        """Whoever calls this script calls the cell that serves it now, from its next call on."""
        key = self._key(script_id)
        if key is None:
            return
        turning: list[tuple[Cell, list[int]]] = []
        for cell in list(self._callers.get(key, ())):
            mine = [one for one in self._callees[cell] if one.script == key[1]]
            changed = [one.number for one in mine if self._link(cell, key[0], one)]
            if changed and cell.running:
                turning.append((cell, changed))
        await asyncio.gather(*(_turn(cell, numbers) for cell, numbers in turning))

    def _link(self, cell: Cell, account_id: str, callee: Callee) -> bool:
        """Let the binding lead to where its callee listens now; whether that changed."""
        place = _links(cell) / f"{callee.number}.sock"
        target = self._target(account_id, callee)
        try:
            if target is None:
                place.unlink()
            elif place.exists() and place.samefile(target):
                return False
            else:
                fresh = place.with_suffix(".new")
                fresh.unlink(missing_ok=True)
                os.link(target, fresh)
                os.replace(fresh, place)
        except FileNotFoundError:
            return False  # there was no link, or one of the two cells is gone
        return True

    def _target(self, account_id: str, callee: Callee) -> Path | None:
        script_id = self._called().scripts.get((account_id, callee.script))
        cell = self.called_cell(script_id, callee.entrance) if script_id else None
        return socket_path(cell, callee.entrance) if cell else None

    def _outer_uid(self, cell: Cell) -> int | None:
        """The user of the account's cells, where they have one."""
        key = self._key(cell.record.script_id)
        if key is None or self._confinement.sandbox.level is not Level.FULL:
            return None
        return self._state.uid_of(key[0])


async def _turn(cell: Cell, numbers: list[int]) -> None:
    """Let its next calls by these bindings make a connection of their own."""
    try:
        async with asyncio.timeout(TURN_SECONDS):
            answer = await post(cell.paths.control, "/turn", json.dumps(numbers).encode())
        if answer.status != 200:
            raise EOFError(f"it answered {answer.status}")
    except (OSError, EOFError, TimeoutError) as error:
        if cell.running:
            log.warning("caller_did_not_turn", cell=cell.name, reason=repr(error))


def _socket_name(cell: Cell, entrance: Entrance) -> str:
    return f"{cell.name}/{entrance.id}"


def socket_path(cell: Cell, entrance: Entrance) -> Path:
    return cell.paths.main.parent / f"{entrance.id}.sock"


def _links(cell: Cell) -> Path:
    return cell.paths.main.parent / "to"
