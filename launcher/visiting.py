"""A visitor of a front: what was asked, what came back, and when."""

import http.client
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

# A front or a cell that is started again keeps a visitor waiting for as long as that takes on a busy machine.
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Visit:
    """One request and its end."""

    node: str
    began: float
    ended: float
    status: int
    """0: no answer at all."""
    text: str
    """The body, or why there is none."""
    ray: str = ""
    """The Ray id; empty when no answer said one."""

    def overlaps(self, began: float, ended: float) -> bool:
        return self.began < ended and self.ended > began


def visit(
    connection: http.client.HTTPConnection,
    node: str,
    hostname: str,
    *,
    method: str = "GET",
    path: str = "/",
    body: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Visit:
    """One request on this connection; times are of `time.monotonic`."""
    began = time.monotonic()
    status, text, ray = 0, "", ""
    try:
        connection.request(method, path, body, {"Host": hostname, **(headers or {})})
        answer = connection.getresponse()
        ray = (answer.getheader("CF-Ray") or "").partition("-")[0]
        text = answer.read().decode(errors="replace")
        status = answer.status
    except (OSError, http.client.HTTPException) as error:
        text = repr(error)
    return Visit(node, began, time.monotonic(), status, text, ray)


def visit_once(node: str, port: int, hostname: str) -> Visit:
    """One request on a connection of its own."""
    with closing(connect(port)) as connection:
        return visit(connection, node, hostname)


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
