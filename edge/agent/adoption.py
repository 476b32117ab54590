"""After the agent started: what runs already is taken over, what is lost is started again, and what
nobody answers for is ended."""

import shutil
import signal
from collections.abc import Iterable, Iterator
from dataclasses import replace

import structlog

from edge.agent.cells.fleet import Fleet
from edge.agent.deployer import Deployer
from edge.agent.processes import Process, node_processes
from edge.agent.sockets import Sockets
from edge.agent.state import CellRecord, Phase, State
from edge.agent.stores.stores import STORES
from edge.paths import NodePaths

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def end_processes(paths: NodePaths, role: str, keep: set[int] | None = None) -> int:
    """Kill this node's processes of a role except these pids. Each was started with this node's
    name in its environment, so nobody else's can be hit."""
    ended = 0
    for identity, found in node_processes(paths.root):
        if not found.startswith(role) or identity.pid in (keep or ()):
            continue
        process = Process.adopt(identity)
        if process:
            log.warning("stray_ended", pid=process.pid, role=found)
            await process.end(signal.SIGKILL)
            ended += 1
    return ended


async def take_over_cells(paths: NodePaths, state: State, sockets: Sockets, fleet: Fleet) -> None:
    """Open every recorded cell that serves or drains, with its process where that still lives."""
    records = _worth_keeping(_with_processes(paths, state), state, fleet)
    await fleet.hold(records)
    kept: set[int] = set()
    held = await sockets.names()
    for record in records:
        slot = state.slot(record.slot_id)
        version = (
            slot.live if slot and slot.live and slot.live.version_id == record.version_id else None
        )
        cell = await fleet.open(record, version, record.identity, held)
        if cell.process:
            log.info("cell_adopted", cell=cell.name, phase=record.phase)
        if record.phase is Phase.SERVING:
            fleet.serve(cell)
        else:
            fleet.retire(cell)
        if cell.process:
            kept.add(cell.process.pid)
    for script_id in {cell.record.script_id for cell in fleet.all()}:
        await fleet.calls.point(script_id)
    await end_processes(paths, "cell:", kept)
    await _release_unknown(paths, sockets, fleet)


def _with_processes(paths: NodePaths, state: State) -> Iterator[CellRecord]:
    """What was recorded, with processes that are not: whoever started one takes its pid down after that, and
    may have been killed in between, while a visitor who had waited was with it already."""
    running = {role: identity for identity, role in node_processes(paths.root)}
    for record in state.cells():
        found = running.get(record.role)
        if record.phase is Phase.SERVING and found and not _lives(record):
            log.info("cell_found", cell=record.name, pid=found.pid)
            state.save_process(record, found)
            yield replace(record, identity=found)
        else:
            yield record


def _worth_keeping(records: Iterable[CellRecord], state: State, fleet: Fleet) -> list[CellRecord]:
    """Cells that serve what is live, and those with a process that drain. All others are forgotten."""
    kept: list[CellRecord] = []
    renewed: list[CellRecord] = []
    gone: list[CellRecord] = []
    served: set[str] = set()
    # Those that live first: of a script that has none, one cell is enough to wait for visitors.
    for record in sorted(records, key=_lives, reverse=True):
        slot = state.slot(record.slot_id)
        live = slot.live if slot else None
        if record.phase is Phase.SERVING and live and live.version_id == record.version_id:
            if _lives(record):
                kept.append(record)
            elif record.slot_id in served:
                gone.append(record)
            else:
                renewed.append(fleet.renewed(record, live))
            served.add(record.slot_id)
        elif record.phase is Phase.DRAINING and _lives(record):
            kept.append(record)
        else:
            gone.append(record)
    state.save_digests(renewed)
    state.remove_cells(gone)
    return kept + renewed


def _lives(record: CellRecord) -> bool:
    return record.identity is not None and record.identity.alive()


async def _release_unknown(paths: NodePaths, sockets: Sockets, fleet: Fleet) -> None:
    """Sockets and folders of cells that no longer exist."""
    known = {cell.name for cell in fleet.all()}
    for name in await sockets.names():
        cell, _, kind = name.partition("/")
        if kind and cell not in known:
            await sockets.release(name)
    _remove_leftovers(paths, known)


def _remove_leftovers(paths: NodePaths, known: set[str]) -> None:
    for folder in paths.sockets.iterdir():
        if folder.is_dir() and folder.name not in known | {STORES}:
            shutil.rmtree(folder, ignore_errors=True)
    for fifo in paths.cells.iterdir():
        if fifo.stem not in known:
            fifo.unlink(missing_ok=True)


async def resume(state: State, fleet: Fleet, deployer: Deployer) -> None:
    """Watch what serves (its next visitor starts what has no process) and go on draining what drained."""
    for cell in fleet.all():
        slot = state.slot(cell.record.slot_id)
        if cell.retired():
            deployer.drain(cell)
        elif slot and slot.live:
            deployer.watch(cell, slot.live)
