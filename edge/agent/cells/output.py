"""What a cell prints: a FIFO that neither ends nor blocks the cell when nobody reads it."""

import asyncio
import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from edge.fifo import open_fifo
from edge.runtime import messages

# Enough to explain why a cell ended; tails will ship more.
RING_LINES = 500
# A script that prints in a loop must not take the agent's time from the other cells.
LINES_PER_SECOND = 200
CHUNK_BYTES = 256 * 1024
LINE_BYTES = 8 * 1024
# Of a tail's event, and of what is kept while a line is not complete.
LONGEST_BYTES = 256 * 1024
# So that one event fits; a pipe has 64 kB unless it is told otherwise.
PIPE_BYTES = 512 * 1024

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Output:
    """The reading end. Opened for reading and writing, so that it outlives every writer: there is
    no end of file when a cell dies, and no SIGPIPE for a cell when the agent does. What is written
    while the pipe is full is lost to the reader, never to the visitor."""

    def __init__(self, fifo: Path, cell: str, script_id: str, version_id: str) -> None:
        self._fifo = fifo
        self._log = log.bind(cell=cell, script_id=script_id, version_id=version_id)
        self._ring: deque[str] = deque(maxlen=RING_LINES)
        self._partial = b""
        self._second = 0
        self._lines = 0
        self._dropped = 0
        self._descriptor: int | None = None
        self.listener: Callable[[bytes], bool] | None = None
        """Hears every line; one that it answers True to is not the script's."""
        self._listeners: list[Callable[[str], None]] = []

    def belongs_to(self, version_id: str) -> None:
        """What is printed from now on comes from another version."""
        self._log = self._log.bind(version_id=version_id)

    @contextlib.contextmanager
    def heard(self, listener: Callable[[str], None]) -> Iterator[None]:
        """Give the listener every line that is printed meanwhile, whatever it is about."""
        self._listeners.append(listener)
        try:
            yield
            self.said()  # what is in the pipe was printed before this
        finally:
            self._listeners.remove(listener)

    def open(self) -> None:
        """From here on what is printed is read. A cell without a process has nothing open."""
        if self._descriptor is not None:
            return
        self._descriptor = open_fifo(self._fifo, PIPE_BYTES)
        asyncio.get_running_loop().add_reader(self._descriptor, self._on_readable)

    def writing_end(self) -> int:
        """A descriptor for a cell's stdout and stderr; whoever starts the cell closes it."""
        return os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)

    def said(self) -> str:
        """What is remembered of everything printed since the last `clear`."""
        with contextlib.suppress(BlockingIOError):
            self._on_readable()
        return "\n".join(self._ring)

    def clear(self) -> None:
        self._ring.clear()

    def close(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def remove(self) -> None:
        self.close()
        self._fifo.unlink(missing_ok=True)

    def _on_readable(self) -> None:
        if self._descriptor is None:
            return
        try:
            chunk = os.read(self._descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > LONGEST_BYTES:
            lines, self._partial = [*lines, self._partial], b""
        for line in lines:
            if line and not _is_expected(line) and not (self.listener and self.listener(line)):
                self._keep(line[:LINE_BYTES].decode(errors="replace"))

    def _keep(self, line: str) -> None:
        self._ring.append(line)
        second = int(time.monotonic())
        if second != self._second:
            if self._dropped:
                self._log.warning("log_lines_dropped", lines=self._dropped)
            self._second, self._lines, self._dropped = second, 0, 0
        self._lines += 1
        if self._lines > LINES_PER_SECOND:
            self._dropped += 1
        else:
            parsed = _parsed(line)
            for listener in self._listeners:
                listener(str(parsed["line"]))
            self._log.info("log_line", **parsed)


def _is_expected(line: bytes) -> bool:
    """Whether it is what each start of the runtime says of V8's options (`heap_flags`). Only the runtime's own
    lines have a source."""
    return messages.CACHE_REFUSED in line and "source" in _fields(line)


def _parsed(line: str) -> dict[str, object]:
    """Level and text of workerd's JSON line; a line that is none is text."""
    fields = _fields(line)
    if "message" not in fields:
        return {"line": line}
    return {"line_level": fields.get("level"), "line": fields["message"]}


def _fields(line: str | bytes) -> dict[str, object]:
    """Of a line of JSON; none of any other."""
    try:
        fields = json.loads(line)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
