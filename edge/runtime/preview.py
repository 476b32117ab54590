"""One request to a throw-away cell: what it answers and what it logs.

The cell has no way out, and the limits of the check at upload.
"""

import base64
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edge.runtime import messages
from edge.runtime.binary import Runtime
from edge.runtime.config import CF_HEADER, MARKER_HEADER, PROTO_HEADER, Build, preview_config
from edge.runtime.sandbox import Sandbox
from edge.runtime.trial import UnixConnection, throw_away
from edge.wire import Fields, WireError

# Together with the start-up below what the API waits for.
ANSWER_SECONDS = 8.0
# What a cell has on a node by default.
HEAP_MIB = 128
BODY_BYTES = 256 * 1024
LOG_BYTES = 64 * 1024
LOG_LINES = 200
# How long after the answer the cell may go on logging, for what it gave to `waitUntil`.
AFTERWARDS_SECONDS = 0.2

# The first word of a line of thrown.js; and what the runtime's own line about the same counts as.
_THROWN, _UNCAUGHT = "skerry-thrown", "uncaught"

_CF = json.dumps({"colo": "PREVIEW", "httpProtocol": "HTTP/1.1"})
_METHOD = re.compile(r"[A-Z]{1,20}")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# The connection is ours, and so is what the front tells a cell.
_OURS = frozenset(
    {"connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "expect", PROTO_HEADER, CF_HEADER}
)


@dataclass(frozen=True)
class Asked:
    """The request, as it is sent."""

    method: str
    scheme: str
    host: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass
class Shown:
    """What came of it."""

    started: bool = False
    timed_out: bool = False
    said: str = ""
    startup_ms: int = 0
    duration_ms: int = 0
    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    cut: bool = False
    threw: bool = False
    failure: str = ""

    def told(self) -> dict[str, object]:
        response = None
        if self.status is not None:
            response = {
                "status": self.status,
                "headers": self.headers,
                "body": base64.b64encode(self.body).decode(),
                "cut": self.cut,
            }
        return {
            "startup_ms": self.startup_ms,
            "duration_ms": self.duration_ms,
            "response": response,
            "threw": self.threw,
            "failure": self.failure,
            "logs": _logs(self.said),
        }


def read_asked(request: object) -> Asked:
    """The `request` of what the API sent; raises WireError."""
    fields = Fields(Fields(request, "request").get("request"), "request.request")
    url = urlsplit(fields.text("url"))
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = fields.objects("headers", lambda one: (one.text("name"), one.text("value")))
    asked = Asked(
        fields.text("method"),
        url.scheme,
        url.netloc,
        target,
        headers,
        base64.b64decode(fields.text("body")),
    )
    legal = _METHOD.fullmatch(asked.method) and _TARGET.fullmatch(target)
    for name, value in headers:
        legal = legal and _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)
    if not legal:
        raise WireError("request.request is no HTTP request")
    return asked


def run(
    runtime: Runtime,
    build: Build,
    asked: Asked,
    timeout: float,
    sandbox: Sandbox,
    options: Sequence[str] = (),
) -> Shown:
    """Start the build within `timeout` seconds and ask it; `options` are more of the sandbox's."""
    shown = Shown()
    config = preview_config(runtime, build, HEAP_MIB)
    reading, writing = os.pipe()
    log = _Log(reading)
    log.start()
    with throw_away(runtime, config, sandbox, writing, writing, options) as running:
        os.close(writing)
        event = running.first_event(timeout)
        shown.started, shown.timed_out = bool(event), event is None
        shown.startup_ms = running.elapsed_ms()
        if event:
            _ask(UnixConnection(running.address, ANSWER_SECONDS), asked, shown)
    log.join()
    shown.said = log.text()
    if messages.ran_out_of_memory(shown.said):
        shown.failure = f"The Worker ran out of memory: it may use {HEAP_MIB} MiB."
    return shown


class _Log(threading.Thread):
    """Reads what the cell prints to its end, and keeps the beginning."""

    def __init__(self, reading: int) -> None:
        super().__init__(daemon=True)
        self._reading = reading
        self._kept = b""

    def run(self) -> None:
        with open(self._reading, "rb", buffering=0) as stream:
            while chunk := stream.read(LOG_BYTES):
                self._kept += chunk[: LOG_BYTES - len(self._kept)]

    def text(self) -> str:
        return self._kept.decode(errors="replace")


def _ask(connection: UnixConnection, asked: Asked, shown: Shown) -> None:
    began = time.monotonic()
    try:
        _send(connection, asked)
        response = connection.getresponse()
        shown.status = response.status
        shown.threw = response.getheader(MARKER_HEADER) is None
        shown.headers = [
            (name, value)
            for name, value in response.getheaders()
            if name.lower() not in (MARKER_HEADER, "connection")
        ]
        _read(connection, response, shown, began + ANSWER_SECONDS)
    except TimeoutError:
        shown.failure = f"The Worker had not answered in full after {ANSWER_SECONDS:.0f} seconds."
    except (OSError, http.client.HTTPException):
        shown.failure = "The Worker ended while it was answering."
    finally:
        shown.duration_ms = round((time.monotonic() - began) * 1000)
        connection.close()
    if not shown.failure:
        time.sleep(AFTERWARDS_SECONDS)


def _send(connection: UnixConnection, asked: Asked) -> None:
    connection.putrequest(asked.method, asked.target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", asked.host)
    connection.putheader(PROTO_HEADER, asked.scheme)
    connection.putheader(CF_HEADER, _CF)
    for name, value in asked.headers:
        if name.lower() not in _OURS:
            connection.putheader(name, value.encode("latin-1"))
    if asked.body:
        connection.putheader("Content-Length", str(len(asked.body)))
    connection.endheaders(asked.body or None)


def _read(
    connection: UnixConnection, response: http.client.HTTPResponse, shown: Shown, ends: float
) -> None:
    """The body until its end, the limit, or the time: a stream may have no end."""
    while len(shown.body) <= BODY_BYTES:
        if connection.sock is not None:
            connection.sock.settimeout(max(ends - time.monotonic(), 0.01))
        chunk = response.read1(BODY_BYTES)
        if not chunk:
            return
        if time.monotonic() > ends:
            raise TimeoutError
        shown.body += chunk
    shown.body, shown.cut = shown.body[:BODY_BYTES], True


def _logs(said: str) -> list[dict[str, str]]:
    """The script's own lines, and what it threw. The runtime's lines have a `source`."""
    found = [line for line in map(_log_line, said.splitlines()) if line]
    if any(line["level"] == _THROWN for line in found):
        # Each was said twice: by the runtime, and with its stack by thrown.js.
        found = [line for line in found if line["level"] != _UNCAUGHT]
    levels = {_THROWN: "error", _UNCAUGHT: "error"}
    return [
        {**line, "level": levels.get(line["level"], line["level"])} for line in found[:LOG_LINES]
    ]


def _log_line(line: str) -> dict[str, str] | None:
    try:
        entry = json.loads(line)
        message = str(entry["message"])
    except (ValueError, KeyError, TypeError):
        return None
    if "source" in entry:
        thrown = messages.uncaught(message)
        return {"level": _UNCAUGHT, "text": thrown} if thrown else None
    if message.startswith(f"{_THROWN} "):
        return {"level": _THROWN, "text": message.removeprefix(f"{_THROWN} ").rstrip()}
    return {"level": str(entry.get("level", "log")), "text": message}
