"""How many requests of a cell had no line in the front's log: asked of the front, which says it there.

Into the log and not as an answer, so that it is told in one way only and waits there for whoever reads it.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path

import structlog

ANSWER_SECONDS = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Silent:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def ask(self, cells: Collection[str]) -> None:
        """Have a line written for each of these cells. A front that is away has forgotten its counts."""
        if not cells:
            return
        *first, last = (f"GET /{cell} HTTP/1.1\r\nHost: log\r\n" for cell in cells)
        requests = "\r\n".join([*first, f"{last}Connection: close\r\n\r\n"])
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(requests.encode())
                    await reader.read()
                finally:
                    writer.close()
        except OSError as error:
            log.warning("silent_not_asked", reason=repr(error))
