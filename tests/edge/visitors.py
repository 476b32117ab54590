"""Visitors of every kind, who come again and again and check every byte of every answer."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from websockets.sync.client import connect

from tests.edge.bundles import host_of
from tests.edge.nodes import TestNode

UPLOAD_BYTES = 100_000_000
PIECE = bytes(1_000_000)
CHUNKS, CHUNK_BYTES = 30, 65536
EVENTS = 30
PATIENCE_SECONDS = 120

SCRIPT = """
const version = "VERSION";
const headers = { "x-version": version };
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function streamed(count, chunk, type) {
  let i = 0;
  const body = new ReadableStream({ async pull(controller) {
    if (i === count) return controller.close();
    await pause(100);
    controller.enqueue(chunk(i++));
  } });
  return new Response(body, { headers: { ...headers, "content-type": type } });
}

const pages = {
  async "/"() { await pause(2); return new Response(version); },
  async "/echo"(request) { return new Response(await request.arrayBuffer(), { headers }); },
  async "/upload"(request) {
    let bytes = 0;
    for await (const chunk of request.body) bytes += chunk.byteLength;
    return Response.json(bytes, { headers });
  },
  "/download"() {
    return streamed(CHUNKS, (i) => new Uint8Array(CHUNK_BYTES).fill(i), "text/plain");
  },
  "/events"() {
    const event = (i) => new TextEncoder().encode(`id: ${i}\\ndata: ${version}\\n\\n`);
    return streamed(EVENTS, event, "text/event-stream");
  },
  "/socket"() {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener("message", (event) => server.send(`${version} ${event.data}`));
    server.addEventListener("close", (event) => server.close(event.code, "as you wish"));
    return new Response(null, { status: 101, webSocket: client });
  },
};

export default { fetch: (request) => pages[new URL(request.url).pathname](request) };
"""


def script(version: int) -> str:
    """A script with a page for each kind of visitor. It says its version in every answer."""
    values = {"VERSION": version, "CHUNKS": CHUNKS, "CHUNK_BYTES": CHUNK_BYTES, "EVENTS": EVENTS}
    text = SCRIPT
    for name in sorted(values, key=len, reverse=True):
        text = re.sub(rf"\b{name}\b", str(values[name]), text)
    return text


class Crowd:
    """Everybody who visits one script while it is deployed again and again."""

    def __init__(self, node: TestNode, name: str) -> None:
        self.host = host_of(name)
        self.port = node.http_port
        self.finished: Counter[str] = Counter()
        self.outlived: Counter[str] = Counter()
        """Visits that began with a version and were finished by it when a newer one was live."""
        self.failures: list[str] = []
        self._newest = 0
        self._over = False
        self._changed = threading.Condition()

    def deployed(self, version: int) -> None:
        with self._changed:
            self._newest = version
            self._changed.notify_all()

    def end(self) -> None:
        """Nobody begins a visit any more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    @property
    def newest(self) -> int:
        return self._newest

    def wait_for(self, version: int, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until this version is live or the crowd goes home; whether one of them happened."""
        with self._changed:
            return self._changed.wait_for(lambda: self._over or self._newest >= version, seconds)

    def visit_often(self, kind: str, visit: Callable[["Crowd"], int]) -> None:
        while not self._over:
            try:
                version = visit(self)
            except Exception as error:
                self.failures.append(f"{kind}: {error!r}")
            else:
                self.finished[kind] += 1
                self.outlived[kind] += version < self.newest


@contextmanager
def crowd(node: TestNode, name: str, size: dict[str, int]) -> Iterator[Crowd]:
    """So many visitors of each kind; in the end all of them have finished what they began."""
    people = Crowd(node, name)
    threads = [
        threading.Thread(target=people.visit_often, args=(kind, VISITS[kind]))
        for kind, count in size.items()
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield people
    finally:
        people.end()
        for thread in threads:
            thread.join()


def _expect(truth: bool, what: object) -> None:
    if not truth:
        raise ValueError(what)


@contextmanager
def _connection(people: Crowd) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", people.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        yield connection


def _answer(connection: http.client.HTTPConnection) -> tuple[int, bytes]:
    answer = connection.getresponse()
    body = answer.read()
    _expect(answer.status == 200, (answer.status, body[:300]))
    return int(answer.headers["x-version"]), body


def post(people: Crowd) -> int:
    """Bodies of many sizes over one connection; each comes back as it was."""
    versions = []
    with _connection(people) as connection:
        for size in (1, 1000, 20_000, 300_000):
            body = os.urandom(size)
            connection.request("POST", "/echo", body, {"Host": people.host})
            version, echo = _answer(connection)
            _expect(echo == body, f"{size} bytes came back as {len(echo)} others")
            versions.append(version)
    _expect(versions == sorted(versions), f"an older version came back: {versions}")
    return versions[-1]


DOWNLOAD_DIGEST = hashlib.sha256(b"".join(bytes([i]) * CHUNK_BYTES for i in range(CHUNKS))).digest()


def download(people: Crowd) -> int:
    with _connection(people) as connection:
        connection.request("GET", "/download", headers={"Host": people.host})
        version, body = _answer(connection)
    _expect(hashlib.sha256(body).digest() == DOWNLOAD_DIGEST, f"other {len(body)} bytes")
    return version


def upload(people: Crowd) -> int:
    return _upload(people, lambda: None)


def slow_upload(people: Crowd) -> int:
    """The second half is sent when at least one other version is live."""
    newest = people.newest
    # While this one connects, the next version may already take over.
    return _upload(people, lambda: people.wait_for(newest + 2))


def _upload(people: Crowd, half_way: Callable[[], object]) -> int:
    pieces = UPLOAD_BYTES // len(PIECE)
    with _connection(people) as connection:
        connection.putrequest("POST", "/upload", skip_host=True)
        connection.putheader("Host", people.host)
        connection.putheader("Content-Length", str(UPLOAD_BYTES))
        connection.endheaders()
        for number in range(pieces):
            connection.send(PIECE)
            if number == pieces // 2:
                half_way()
        version, body = _answer(connection)
    _expect(json.loads(body) == UPLOAD_BYTES, f"the script counted {body!r}")
    return version


def events(people: Crowd) -> int:
    with _connection(people) as connection:
        connection.request("GET", "/events", headers={"Host": people.host})
        version, body = _answer(connection)
    wanted = "".join(f"id: {number}\ndata: {version}\n\n" for number in range(EVENTS))
    _expect(body.decode() == wanted, body)
    return version


def echoes(people: Crowd) -> int:
    """One WebSocket, used until another version is live and then some."""
    raw = socket.create_connection(("127.0.0.1", people.port), PATIENCE_SECONDS)
    with connect(f"ws://{people.host}/socket", sock=raw, proxy=None) as connection:
        connection.send("0")
        version = int(str(connection.recv(PATIENCE_SECONDS)).split()[0])
        last = number = 1
        while number <= last + 5:
            connection.send(str(number))
            answer = connection.recv(PATIENCE_SECONDS)
            _expect(answer == f"{version} {number}", answer)
            number += 1
            if not people.wait_for(version + 1, 0.02):
                last = number
    _expect(connection.close_code == 1000, f"closed with {connection.close_code}")
    return version


VISITS: dict[str, Callable[[Crowd], int]] = {
    "POST": post,
    "download": download,
    "upload": upload,
    "slow upload": slow_upload,
    "events": events,
    "WebSocket": echoes,
}


@contextmanager
def wrk(node: TestNode, name: str, *arguments: str) -> Iterator[list[int]]:
    """16 keep-alive connections without a pause until the block is left; then the list has the
    number of answers, and every one of them was a good one."""
    counted: list[int] = []
    process = subprocess.Popen(
        [
            *("wrk", "-t1", "-c16", "-d600s", "-H", f"Host: {host_of(name)}", *arguments),
            f"http://127.0.0.1:{node.http_port}/",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield counted
    finally:
        process.send_signal(signal.SIGINT)
        report = process.communicate(timeout=60)[0]
    assert "Non-2xx" not in report, report
    assert "Socket errors" not in report, report
    requests = re.search(r"(\d+) requests in", report)
    assert requests, report
    counted.append(int(requests[1]))
