"""Asks a cell's platform worker whether it answers."""

import asyncio
import json
from pathlib import Path

_REQUEST = b"GET /probe HTTP/1.1\r\nHost: cell\r\nConnection: close\r\n\r\n"


class ProbeError(RuntimeError):
    """The control socket answered something else than the platform worker's probe."""


async def probe(control: Path, version_id: str) -> None:
    """Returns when the cell runs this version. The held socket queues the question, so this may be
    asked before the cell listens. Raises ProbeError or OSError."""
    reader, writer = await asyncio.open_unix_connection(control)
    try:
        writer.write(_REQUEST)
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ProbeError(f"the cell answered {head[:60]!r}")
    try:
        answered = json.loads(body)["version_id"]
    except (ValueError, KeyError, TypeError) as error:
        raise ProbeError("the cell's probe is not readable") from error
    if answered != version_id:
        raise ProbeError(f"the cell runs version {answered}, not {version_id}")
