"""Asking a cell from the agent: a script through its control socket, a store through its main one."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.agent.cells.cell import Cell
from edge.agent.cells.limits import Outcome
from edge.agent.cells.probe import ProbeError, probe

START_TRIES_SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes


def ended(cell: Cell, said: str) -> tuple[str, str]:
    """Outcome and reason, in Cloudflare's words, of a cell that was asked and did not answer."""
    match cell.killed_for:
        case Outcome.EXCEEDED_CPU:
            return "exceededCpu", "It used more CPU than it may."
        case Outcome.EXCEEDED_MEMORY:
            return "exceededMemory", "It used more memory than it may."
    return "canceled", f"The cell ended while it ran. {said}".strip()


async def answering(cell: Cell) -> bool:
    """Wait until the cell answers its probe; the connection to its main socket makes it start."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_TRIES_SECONDS):
            while not cell.closed():
                with contextlib.suppress(OSError, ProbeError):
                    await probe(cell.paths.control, cell.record.version_id)
                    return True
                if cell.failing:
                    return False
                await asyncio.sleep(POLL_SECONDS)
    return False


@contextlib.contextmanager
def visiting(main: Path) -> Iterator[None]:
    """A connection that asks nothing: a cell at rest is started for it as for any visitor, and is
    not at rest while it is there."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.connect(str(main))
        yield


async def post(
    path: Path, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Answer:
    """Raises OSError or EOFError when the cell ends before it answers. Answers without a length end
    with the connection."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        head = f"POST {target} HTTP/1.1\r\nHost: cell\r\nConnection: close\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return _read(await reader.read())
    finally:
        writer.close()


def _read(answer: bytes) -> Answer:
    head, found, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not found or version != "HTTP/1.1" or not status[:3].isdigit():
        raise EOFError(f"it answered {answer[:60]!r}")
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    if len(body) < int(headers.get("content-length", 0)):
        raise EOFError("it ended in the middle of its answer")
    return Answer(int(status[:3]), headers, body)
