"""python -m edge.agent --dir NODE_DIR --name … | python -m edge.agent stop --dir NODE_DIR
| python -m edge.agent snapshot --dir NODE_DIR --to FOLDER
| python -m edge.agent move --dir NODE_DIR"""

import argparse
import asyncio
import os
import resource
import signal
import sys
from pathlib import Path

import structlog

from edge.agent import logs
from edge.agent.ending import AgentRunningError, end_agent, end_node, take_lock
from edge.agent.enrolment import EnrolmentError
from edge.agent.front.haproxy import FrontError
from edge.agent.node import Node
from edge.agent.sealing import SealError
from edge.agent.settings import Settings, SettingsError, read_settings
from edge.agent.stores.moving import MoveError, move
from edge.agent.stores.snapshot import snapshot
from edge.keeper import KeeperError, raise_descriptor_limit
from edge.paths import NodePaths
from edge.runtime.binary import RuntimeMissingError, find_runtime
from edge.runtime.compatibility import CompatibilityUnknownError
from edge.runtime.stores.cluster import BucketError, read_bucket

EXPECTED = (
    AgentRunningError,
    BucketError,
    CompatibilityUnknownError,
    EnrolmentError,
    FrontError,
    KeeperError,
    MoveError,
    PermissionError,
    RuntimeMissingError,
    SealError,
    SettingsError,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def run(settings: Settings, paths: NodePaths) -> None:
    """Until SIGTERM or SIGINT."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    node = Node(settings, paths)
    try:
        await node.start(asked.set)
        await asked.wait()
    finally:
        await node.stop()
        if settings.stop_all_on_exit:
            await end_node(paths)
    log.info("agent_stopped")
    node.raise_failure()


async def stop(paths: NodePaths) -> None:
    await end_agent(paths)
    await end_node(paths)


def carry(arguments: list[str]) -> int:
    """What a node that does not run has on its disk into the bucket; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m edge.agent move")
    parser.add_argument("--dir", required=True, type=Path)
    paths = NodePaths.of(parser.parse_args(arguments).dir)
    bucket = read_bucket(os.environ, "127.0.0.1", "")
    if bucket is None:
        raise SettingsError("SKERRY_BUCKET is not set")
    lock = take_lock(paths)
    try:
        moved = move(paths, find_runtime(), bucket, _say)
    finally:
        os.close(lock)
    _say("There is nothing else to carry over." if moved else "There was nothing to carry over.")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    logs.set_up()
    try:
        if arguments[:1] == ["stop"]:
            parser = argparse.ArgumentParser(prog="python -m edge.agent stop")
            parser.add_argument("--dir", required=True, type=Path)
            asyncio.run(stop(NodePaths.of(parser.parse_args(arguments[1:]).dir)))
            return 0
        if arguments[:1] == ["snapshot"]:
            parser = argparse.ArgumentParser(prog="python -m edge.agent snapshot")
            parser.add_argument("--dir", required=True, type=Path)
            parser.add_argument("--to", required=True, type=Path)
            given = parser.parse_args(arguments[1:])
            log.info("stores_copied", count=snapshot(NodePaths.of(given.dir), given.to))
            return 0
        if arguments[:1] == ["move"]:
            return carry(arguments[1:])
        settings = read_settings(arguments)
        paths = NodePaths.of(settings.directory)
        paths.make()
        lock = take_lock(paths)
        # No core dump may hold a decrypted spec.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        raise_descriptor_limit()
        asyncio.run(run(settings, paths))
        os.close(lock)
    except EXPECTED as error:
        log.error("agent_failed", reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
