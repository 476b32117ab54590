"""Ends everything of a node: `python -m edge.agent stop`, and an agent with --stop-all-on-exit."""

import asyncio
import json
import os
import shutil
import signal
import time
from dataclasses import asdict
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

import structlog

from edge.agent.cells.networks import ROLE as NETWORK_ROLE
from edge.agent.processes import Process, node_processes
from edge.paths import NodePaths
from edge.proc import Identity

FRONT_GRACE_SECONDS = 3.0
CELL_GRACE_SECONDS = 5.0
AGENT_GRACE_SECONDS = 15.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class AgentRunningError(RuntimeError):
    """Another agent has this NODE_DIR."""


def take_lock(paths: NodePaths) -> int:
    """One agent per NODE_DIR. The lock ends with the process that holds the descriptor."""
    descriptor = os.open(paths.agent_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AgentRunningError(f"An agent runs on {paths.root} already.") from error
    identity = Identity.of(os.getpid())
    os.ftruncate(descriptor, 0)
    if identity:
        os.pwrite(descriptor, json.dumps(asdict(identity)).encode(), 0)
    return descriptor


async def end_agent(paths: NodePaths) -> None:
    """Ask a running agent to end, and make it."""
    identity = _agent_identity(paths.agent_lock)
    process = Process.adopt(identity) if identity else None
    if process:
        await process.end(grace=AGENT_GRACE_SECONDS)


async def end_node(paths: NodePaths) -> None:
    """Front first (it finishes what it has), then cells, then the sockets themselves."""
    await _end_role(paths, "front", signal.SIGUSR1, FRONT_GRACE_SECONDS)
    await _end_role(paths, "cell:", signal.SIGTERM, CELL_GRACE_SECONDS)
    await _end_role(paths, "store:", signal.SIGTERM, CELL_GRACE_SECONDS)
    await _end_role(paths, NETWORK_ROLE, signal.SIGTERM, CELL_GRACE_SECONDS)
    await _end_role(paths, "egress", signal.SIGTERM, CELL_GRACE_SECONDS)
    await _end_role(paths, "sandbox:", signal.SIGKILL, CELL_GRACE_SECONDS)
    await _end_role(paths, "keeper", signal.SIGTERM, CELL_GRACE_SECONDS)
    await asyncio.to_thread(shutil.rmtree, paths.doors, ignore_errors=True)
    if not paths.sockets.is_relative_to(paths.root):
        await asyncio.to_thread(shutil.rmtree, paths.sockets, ignore_errors=True)


async def _end_role(paths: NodePaths, role: str, first: signal.Signals, grace: float) -> None:
    began = time.monotonic()
    processes = [
        process
        for identity, found in node_processes(paths.root)
        if found.startswith(role) and (process := Process.adopt(identity))
    ]
    await asyncio.gather(*(process.end(first, grace) for process in processes))
    if processes:
        seconds = round(time.monotonic() - began, 2)
        log.info("processes_ended", role=role, count=len(processes), seconds=seconds)


def _agent_identity(lock: Path) -> Identity | None:
    try:
        return Identity(**json.loads(lock.read_text()))
    except (OSError, ValueError, TypeError):
        return None
