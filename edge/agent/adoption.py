"""After the agent started: what runs already is taken over, what is lost is started again, and what
nobody answers for is ended."""

import shutil
import signal

import structlog

from edge.agent.cells.cell import Cell
from edge.agent.cells.fleet import Fleet
from edge.agent.deployer import Deployer
from edge.agent.processes import Process, node_processes
from edge.agent.sockets import Sockets
from edge.agent.state import CellRecord, Phase, Slot, State
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
    kept: set[int] = set()
    for record in state.cells():
        cell = await _take_over(record, state, fleet)
        if cell and cell.process:
            kept.add(cell.process.pid)
    await end_processes(paths, "cell:", kept)
    await _release_unknown(paths, sockets, fleet)


async def _take_over(record: CellRecord, state: State, fleet: Fleet) -> Cell | None:
    slot = state.slot(record.script_id)
    serves = record.phase is Phase.SERVING and _live_version(slot) == record.version_id
    lives = record.identity is not None and record.identity.alive()
    if not serves and not (lives and record.phase is Phase.DRAINING):
        state.remove_cell(record)
        return None
    cell = await fleet.open(record)
    adopted = record.identity is not None and cell.adopt(record.identity)
    log.info("cell_adopted" if adopted else "cell_lost", cell=cell.name, phase=record.phase)
    if serves:
        fleet.serve(cell)
    else:
        fleet.retire(cell)
    return cell


def _live_version(slot: Slot | None) -> str | None:
    return slot.live.version_id if slot and slot.live else None


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
        if folder.is_dir() and folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)
    for fifo in paths.cells.iterdir():
        if fifo.stem not in known:
            fifo.unlink(missing_ok=True)


async def resume(state: State, fleet: Fleet, deployer: Deployer) -> None:
    """Watch what serves (which starts what has no process) and go on draining what drained."""
    for cell in fleet.all():
        slot = state.slot(cell.record.script_id)
        if cell.retired():
            deployer.drain(cell)
        elif slot and slot.live:
            deployer.watch(cell, slot.live)
