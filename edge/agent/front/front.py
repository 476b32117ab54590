"""What the front should have, written to its files first, then told to it, then compared."""

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from edge.agent.front.admin import Admin, AdminError
from edge.agent.front.maps import (
    Map,
    Maps,
    change,
    lines,
    longest_first,
    map_text,
    read_map,
    still_led_to,
)
from edge.agent.front.silent import Silent
from edge.agent.front.template import (
    HOMES,
    SERVER_OPTIONS,
    FrontFiles,
    slot_name,
    slots_text,
    word,
)

READY = 0
REGISTERED, PREPARED = "New server registered.", "New version created: "
# HAProxy refuses to delete a server for a moment after its last connection has gone.
DELETE_TRIES = 50
DELETE_PAUSE_SECONDS = 0.1

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class FrontRefusedError(RuntimeError):
    """HAProxy runs and does not do what it is told."""


@dataclass
class Table:
    """The desired content of the front."""

    servers: dict[int, dict[str, Path]] = field(default_factory=dict)
    """Socket by cell name by slot number: the cells that take new requests."""
    maps: Maps = field(default_factory=Maps)
    """Where visitors are led."""
    homes: dict[str, str] = field(default_factory=dict)
    """Address and port of the other nodes' doors, with a slash between, by the node's id."""
    held: set[str] = field(default_factory=set)
    """Cells that cannot be started now: their visitors get a 503 at once."""
    leaving: set[str] = field(default_factory=set)
    """Cells that drain; no comparison may touch them."""
    sampled: Map = field(default_factory=dict)
    """Of how many ordinary requests one has a line in the front's log, by cell."""
    functions: dict[int, str] = field(default_factory=dict)
    """What answers while no cell of a slot can, as backups.py writes it."""

    def fallbacks(self) -> dict[str, str]:
        """The functions that answer now, by the name of their slot."""
        return {
            slot_name(number): function
            for number, function in self.functions.items()
            if not self.servers.get(number, {}).keys() - self.held
        }


class Front:
    def __init__(self, files: FrontFiles, admin: Admin, silent: Silent, slots: int) -> None:
        self._files = files
        self._admin = admin
        self._silent = silent
        self._slots = slots
        self._table = Table()
        self._lock = asyncio.Lock()
        self._fallbacks: dict[str, str] = {}
        """As HAProxy was told."""

    def load(
        self,
        servers: dict[int, dict[str, Path]],
        maps: Maps,
        leaving: set[str],
        functions: dict[int, str],
    ) -> None:
        """Set the whole table and write it, before HAProxy is started or compared. Where other nodes
        are is known from the file: the control plane may be away. So is which cells are sampled: while
        they are, the front has requests of theirs that nobody has heard of."""
        homes, sampled = (
            read_map(file.read_text()) if file.exists() else {}
            for file in (self._files.homes, self._files.sampled)
        )
        self._table = Table(
            servers=servers,
            maps=maps,
            homes=homes,
            sampled=sampled,
            leaving=leaving,
            functions=functions,
        )
        self._fallbacks = self._table.fallbacks()
        self._write_slots()
        self._write_maps()

    async def add(self, number: int, cell: str, socket: Path) -> None:
        """Make a cell known; `exchange` sends requests to it. Raises FrontRefusedError, and then
        nothing has changed. A front that is away will find the cell in its files."""
        async with self._lock:
            before = dict(self._table.servers.get(number, {}))
            self._table.servers.setdefault(number, {})[cell] = socket
            self._write_slots()
            answer = await self._tell(_addition(number, cell, socket))
            if answer is not None and REGISTERED not in answer:
                self._table.servers[number] = before
                self._write_slots()
                raise FrontRefusedError(f"The front does not take the cell: {answer}")

    async def exchange(self, number: int, cell: str, before: Collection[str]) -> None:
        """New requests go to this cell from now on, and to none of those before it. Said in one
        breath: between two, visitors would see both versions in turn."""
        async with self._lock:
            self._leave(number, before)
            server = slot_name(number)
            draining = [f"set server {server}/{one} state drain" for one in before]
            await self._tell(f"enable server {server}/{cell}", *draining)
            await self._fall_back()

    async def drain(self, number: int, cell: str) -> None:
        """No new request goes to this cell; what it has begun goes on."""
        async with self._lock:
            self._leave(number, [cell])
            await self._tell(f"set server {slot_name(number)}/{cell} state drain")
            await self._fall_back()

    def _leave(self, number: int, cells: Collection[str]) -> None:
        self._table.leaving.update(cells)
        self._table.held.difference_update(cells)
        servers = self._table.servers.get(number, {})
        gone = [servers.pop(cell, None) for cell in cells]
        if any(gone):
            self._write_slots()

    async def connections(self, number: int, cell: str) -> tuple[int, int]:
        """Requests that are open on a cell, and connections that are kept for more."""
        try:
            return await self._admin.connections(slot_name(number), cell)
        except AdminError:
            return 0, 0  # a front that is away has none

    async def end_sessions(self, number: int, cell: str) -> None:
        await self._tell(f"shutdown sessions server {slot_name(number)}/{cell}")

    async def delete(self, number: int, cell: str) -> None:
        """Take a drained cell out for good."""
        server = f"{slot_name(number)}/{cell}"
        for _ in range(DELETE_TRIES):
            if await self._deleted(server):
                break
            await asyncio.sleep(DELETE_PAUSE_SECONDS)
        else:
            log.error("front_server_left", server=server)
        self._table.leaving.discard(cell)

    async def hold(self, number: int, cell: str) -> None:
        """Answer 503 for this cell: it cannot be started."""
        server = f"{slot_name(number)}/{cell}"
        async with self._lock:
            self._table.held.add(cell)
            self._write_slots()
            # First: between the two, visitors would see the page for nobody.
            await self._fall_back()
            await self._tell(
                f"set server {server} state maint", f"shutdown sessions server {server}"
            )

    async def unhold(self, number: int, cell: str) -> None:
        async with self._lock:
            if cell in self._table.held:
                self._table.held.discard(cell)
                self._write_slots()
                await self._tell(f"set server {slot_name(number)}/{cell} state ready")
                await self._fall_back()

    async def back_up(self, functions: dict[int, str]) -> None:
        """Have exactly these functions answer for slots without a cell that could."""
        async with self._lock:
            self._table.functions = functions
            await self._fall_back()

    async def _fall_back(self) -> None:
        before, self._fallbacks = self._fallbacks, self._table.fallbacks()
        if before == self._fallbacks:
            return
        _replace(self._files.functions, map_text(self._fallbacks))
        await self._tell_map(self._files.functions, before, self._fallbacks)
        log.info("front_fell_back", slots=sorted(self._fallbacks))

    async def route(self, maps: Maps) -> None:
        """Lead visitors by exactly these maps. Nobody may be led to a split or to a table of routes that
        is not there or not yet whole, not even for a moment, nor find nothing because a hostname is
        just being named."""
        async with self._lock:
            before, self._table.maps = self._table.maps, maps
            if before == maps:
                return
            self._write_maps()
            files = self._files
            splits = before.splits | maps.splits
            routes = still_led_to(before.routes, maps.routes)
            endings = longest_first(before.endings | maps.endings)
            await self._tell_map(files.splits, before.splits, splits)
            await self._tell_map(files.routes, before.routes, routes)
            await self._tell_endings(before.endings, endings)
            await self._tell_map(files.hosts, before.hosts, maps.hosts)
            await self._tell_endings(endings, maps.endings)
            await self._tell_map(files.routes, routes, maps.routes)
            await self._tell_map(files.splits, splits, maps.splits)

    async def know(self, homes: dict[str, str]) -> None:
        """Make exactly these nodes the ones that are forwarded to and accepted at the door."""
        async with self._lock:
            before, self._table.homes = self._table.homes, homes
            if before != homes:
                self._write_maps()
                await self._tell_map(self._files.homes, before, homes)

    @property
    def sampled(self) -> dict[str, int]:
        """Of how many ordinary requests one has a line, by cell."""
        return {cell: int(count) for cell, count in self._table.sampled.items()}

    async def sample(self, wanted: dict[str, int]) -> None:
        """Have exactly these cells be sampled, and the log say how many requests of theirs, and of those that
        were sampled before, had no line."""
        async with self._lock:
            before = self._table.sampled
            self._table.sampled = {cell: str(count) for cell, count in sorted(wanted.items())}
            if before != self._table.sampled:
                _replace(self._files.sampled, map_text(self._table.sampled))
                await self._tell_map(self._files.sampled, before, self._table.sampled)
        await self._silent.ask(sorted(before.keys() | wanted.keys()))

    async def dropped_lines(self) -> int:
        """How many lines of its log HAProxy could not write since this was asked the last time."""
        try:
            process, total = await self._admin.dropped_lines()
        except AdminError:
            return 0
        known, before = self._known_drops()
        if (known, before) != (process, total):
            _replace(self._files.drops, f"{process} {total}")
        return max(total - before, 0) if known == process else total

    def _known_drops(self) -> tuple[int, int]:
        """On the disk, since HAProxy lives on when the agent ends."""
        try:
            process, total = self._files.drops.read_text().split()
            return int(process), int(total)
        except (FileNotFoundError, ValueError):
            return 0, 0

    async def compare(self) -> int:
        """Make HAProxy have what it should; answers how many things differed."""
        async with self._lock:
            try:
                repairs = await self._repair_servers()
                for path, wanted in self._maps():
                    repairs += await self._tell_map(path, await self._admin.map(path), wanted)
                endings = await self._admin.map(self._files.endings)
                repairs += await self._tell_endings(endings, self._table.maps.endings)
            except AdminError as error:
                log.warning("front_compare_failed", reason=str(error))
                return 0
        if repairs:
            log.warning("front_repaired", differences=repairs)
        return repairs

    async def _repair_servers(self) -> int:
        found = {
            one: state for one, state in (await self._admin.servers()).items() if one[0] != HOMES
        }
        wanted = {
            (slot_name(number), cell): (number, socket)
            for number, cells in self._table.servers.items()
            for cell, socket in cells.items()
        }
        repairs = 0
        for (slot, cell), (number, socket) in wanted.items():
            ready = found.get((slot, cell)) == READY
            if (slot, cell) not in found:
                enable = f"enable server {slot}/{cell}"
                await self._tell(_addition(number, cell, socket), enable)
            if cell in self._table.held:
                await self._tell(f"set server {slot}/{cell} state maint")
            elif (slot, cell) in found and not ready:
                await self._tell(f"set server {slot}/{cell} state ready")
            repairs += not ready and cell not in self._table.held
        for slot, cell in found.keys() - wanted.keys():
            if cell not in self._table.leaving:
                repairs += 1
                await self._deleted(f"{slot}/{cell}")
            elif found[slot, cell] == READY:
                # It began to drain after a front that was starting had read the files.
                repairs += 1
                await self._tell(f"set server {slot}/{cell} state drain")
        return repairs

    async def _deleted(self, server: str) -> bool:
        try:
            answer = await self._admin.ask(
                f"shutdown sessions server {server}",
                f"set server {server} state maint",
                f"del server {server}",
            )
        except AdminError:
            return True  # it starts again from files that do not have the server
        return "deleted" in answer or "No such" in answer

    def _maps(self) -> tuple[tuple[Path, Map], ...]:
        """All whose order is nothing to HAProxy."""
        maps = self._table.maps
        return (
            (self._files.splits, maps.splits),
            (self._files.routes, maps.routes),
            (self._files.hosts, maps.hosts),
            (self._files.homes, self._table.homes),
            (self._files.sampled, self._table.sampled),
            (self._files.functions, self._fallbacks),
        )

    async def _tell_map(self, file: Path, before: Map, wanted: Map) -> int:
        """Change a map in HAProxy from what it has to what it should have."""
        changes = change(word(file), before, wanted)
        for some in lines(changes):
            await self._tell(*some)
        return len(changes)

    async def _tell_endings(self, before: Map, wanted: Map) -> int:
        """As a whole and at once, because what is added to a map comes last in it."""
        if list(before.items()) == list(wanted.items()):
            return 0
        path = word(self._files.endings)
        answer = await self._tell(f"prepare map {path}") or ""
        version = answer.removeprefix(PREPARED)
        if version.isdigit():
            additions = [f"add map @{version} {path} {key} {wanted[key]}" for key in wanted]
            for some in lines(additions):
                await self._tell(*some)
            await self._tell(f"commit map @{version} {path}")
        return len(before.items() ^ wanted.items()) or 1

    async def _tell(self, *commands: str) -> str | None:
        """Say it to HAProxy. One that is away (None) reads the files when it starts."""
        try:
            answer = await self._admin.ask(*commands)
        except AdminError as error:
            log.warning("front_away", reason=str(error))
            return None
        if answer and answer != REGISTERED and not answer.startswith(PREPARED):
            log.warning("front_answered", commands=commands[:3], answer=answer[:500])
        return answer

    def _write_slots(self) -> None:
        servers = {number: cells.items() for number, cells in self._table.servers.items()}
        _replace(self._files.slots, slots_text(self._slots, servers, self._table.held))

    def _write_maps(self) -> None:
        for path, table in self._maps():
            _replace(path, map_text(dict(sorted(table.items()))))
        _replace(self._files.endings, map_text(self._table.maps.endings))


def _addition(number: int, cell: str, socket: Path) -> str:
    """A server that is added gets no request until it is enabled."""
    return f"add server {slot_name(number)}/{cell} unix@{socket} {SERVER_OPTIONS}"


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(text)
    os.replace(draft, path)
