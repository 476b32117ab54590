"""The front's line per request: a FIFO that HAProxy writes and never waits for.

HAProxy and the keeper hold both ends, so what was written while no agent lived is read by the next one, whichever
of them died meanwhile. A full pipe costs the line and nothing else: HAProxy counts it as dropped (`DroppedLogs` of `show info`).
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from edge.agent.front.template import LOG_FIELDS
from edge.fifo import open_fifo
from edge.paths import LOG_PIPE_BYTES

CHUNK_BYTES = 256 * 1024
# After something was read, the next look comes so much later: to be woken for each line took more of a
# busy node than all else that is done with it (measured: 40 of 60 µs a request).
PAUSE_SECONDS = 0.02
NOTHING = "-"
_ENDS = re.compile(r"Proxy \S+ stopped \(.*\)\.")


class LineError(ValueError):
    """A line that the front cannot have written whole."""


class Line(NamedTuple):
    """One request as the front saw it. Times are microseconds since 1970."""

    began_us: int
    ended_us: int
    slot: str
    cell: str
    """The server's name, empty when the request reached none."""
    ray: str
    client: str
    status: int
    termination: str
    """HAProxy's two letters: who ended the request, and when."""
    said: bool
    """Whether the script answered."""
    waited_ms: int
    """In the front, until the cell had a connection for it."""
    answered_ms: int | None
    """From there until the head of the answer; None when the cell gave none, or one in whose place
    the front answered."""
    bytes_in: int
    bytes_out: int
    scheme: str
    host: str
    method: str
    path: str
    """With the query; cut off where the line got too long."""


def read_line(text: str) -> Line | None:
    """None for a connection that brought no request for a script, for a count that was asked for, and for
    HAProxy's word that it ends. Raises LineError."""
    fields = text.split(" ", len(LOG_FIELDS) - 1)
    if len(fields) == len(LOG_FIELDS) and NOTHING in (fields[0], fields[2]):
        return None
    try:
        began, ended, slot, cell, ray, client, status, end, said, *rest = fields
        waited, connected, answered, bytes_in, bytes_out, _silent, scheme, host, method, path = rest
        answered_ms = int(answered)
        # By position, which is quicker than by name: this is done for every request.
        return Line(
            int(began),
            int(ended),
            slot,
            "" if cell.startswith("<") else cell,
            ray,
            client,
            int(status),
            end,
            said != NOTHING,
            max(int(waited), 0) + max(int(connected), 0),
            answered_ms if answered_ms >= 0 else None,
            int(bytes_in),
            int(bytes_out),
            scheme,
            host,
            method,
            path,
        )
    except ValueError as error:
        if _ENDS.fullmatch(text):
            return None
        raise LineError(f"not a line of the front: {text[:200]!r}") from error


class FrontLog:
    """The reading end. Opened for reading and writing, so that it never comes to an end."""

    def __init__(self, fifo: Path) -> None:
        self._fifo = fifo
        self._descriptor: int | None = None
        self._partial = b""
        self._pause: asyncio.TimerHandle | None = None

    def open(self, take: Callable[[list[str]], None]) -> None:
        """From here on `take` gets what the front writes, many lines at once."""
        self._descriptor = self._opened()
        self._wait(take)

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    @contextlib.contextmanager
    def writing_end(self) -> Iterator[int]:
        """A descriptor for HAProxy."""
        descriptor = self._opened()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        return open_fifo(self._fifo, LOG_PIPE_BYTES)

    def _wait(self, take: Callable[[list[str]], None]) -> None:
        """Until there is something to read."""
        if self._descriptor is not None:
            asyncio.get_running_loop().add_reader(self._descriptor, self._read, take)

    def _read(self, take: Callable[[list[str]], None]) -> None:
        if self._descriptor is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._descriptor)
        self._pause = loop.call_later(PAUSE_SECONDS, self._wait, take)
        try:
            chunk = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        take([line.decode("latin-1") for line in lines if line])
