"""Tells a cell's platform worker something, through the control socket."""

import asyncio
from pathlib import Path


async def post(control: Path, path: str, body: bytes) -> bytes:
    """The body of the answer. Raises OSError or EOFError when the cell ends before it answers."""
    reader, writer = await asyncio.open_unix_connection(control)
    try:
        head = f"POST {path} HTTP/1.1\r\nHost: cell\r\nConnection: close\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.read()
    finally:
        writer.close()
    head_of_answer, _, content = answer.partition(b"\r\n\r\n")
    if not head_of_answer.startswith(b"HTTP/1.1 200"):
        raise EOFError(f"it answered {head_of_answer[:60]!r}")
    return content
