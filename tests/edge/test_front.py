"""What visitors and scripts see of the front."""

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.edge.bundles import Bundle, Json, answering, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.visitors import wrk

pytestmark = pytest.mark.edge

ECHO = """
export default { async fetch(request) {
  const { pathname } = new URL(request.url);
  if (pathname === "/throw") throw new Error("boom");
  if (pathname === "/hang") return new Promise(() => {});
  if (pathname === "/own") return new Response("mine", { status: 500 });
  if (pathname === "/own503") return new Response("mine too", { status: 503 });
  if (pathname === "/big") return new Response("x", { headers: { "x-big": "b".repeat(64000) } });
  if (pathname === "/marker") return new Response("x", { status: 500, headers: { "x-skerry": "0" } });
  if (pathname === "/unread") return new Response("unread");
  const headers = Object.fromEntries(request.headers);
  return Response.json({ url: request.url, headers, cf: request.cf, body: await request.text() });
} };
"""


@pytest.fixture(scope="module", autouse=True)
def echo(node: TestNode) -> None:
    assert node.deploy("echo", Bundle(ECHO))["state"] == "live"


def test_a_hostname_nobody_has(node: TestNode) -> None:
    answer = node.visit("nobody")
    assert answer.status == 404
    assert "There is nothing here yet" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_url_and_host_are_the_visitors(node: TestNode) -> None:
    host = f"{host_of('echo')}:{node.http_port}"
    seen = node.visit("echo", "/path?q=1", host=host).json()
    assert seen["url"] == f"http://{host}/path?q=1"


@pytest.mark.parametrize("form", ["{}:80", "{}.", "{}.:8080", "ECHO.Dev.LOCALHOST"])
def test_forms_of_a_hostname(node: TestNode, form: str) -> None:
    assert node.visit("", host=form.format(host_of("echo"))).status == 200


def test_visitors_cannot_forge_what_the_platform_says(node: TestNode) -> None:
    forged = {
        "CF-Connecting-IP": "6.6.6.6",
        "X-Forwarded-For": "6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "X-Forwarded-Proto": "https",
        "CF-Visitor": '{"scheme":"https"}',
        "CF-Ray": "forged",
        "CF-IPCountry": "XX",
        "True-Client-IP": "6.6.6.6",
        "X-Skerry": "1",
        "X-Skerry-Proto": "https",
        "X-Skerry-Cf": '{"country":"XX"}',
        # A script that hands its visitor's request to `caches.default` asks that one.
        "CF-Cache-Namespace": "another",
    }
    seen = node.visit("echo", headers=forged).json()
    headers = seen["headers"]
    assert isinstance(headers, dict)
    assert headers["cf-connecting-ip"] == headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-real-ip"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "http"
    assert headers["cf-visitor"] == '{"scheme":"http"}'
    assert len(headers["cf-ray"].split("-")[0]) == 16
    assert str(seen["url"]).startswith("http://")
    assert seen["cf"] == {
        "colo": "EDGE-1",
        "httpProtocol": "HTTP/1.1",
        "tlsVersion": "",
        "tlsCipher": "",
    }
    left = [name for name in headers if name.startswith("x-skerry") or "country" in name]
    assert left == []
    assert not {"true-client-ip", "cf-cache-namespace"} & headers.keys()


def test_what_only_looks_like_a_claim_passes(node: TestNode) -> None:
    honest = {
        "CF-Access-Client-Id": "abc",
        "CF-Rays": "1",
        "X-Forwarded-Host": "example.com",
        "My-X-Skerry": "1",
        "X-Real-IPs": "1",
    }
    twice = [("X-Forwarded-For", "6.6.6.6"), ("x-FORWARDED-for", "7.7.7.7")]
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=20)
    connection.putrequest("GET", "/", skip_host=True)
    for name, value in [("Host", host_of("echo")), *honest.items(), *twice]:
        connection.putheader(name, value)
    connection.endheaders()
    headers = json.loads(connection.getresponse().read())["headers"]
    connection.close()
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert {name: headers[name.lower()] for name in honest} == honest


def test_ray_ids_differ_and_grow_with_time(node: TestNode) -> None:
    def ray() -> str:
        return node.visit("echo").headers["cf-ray"].partition("-")[0]

    first = ray()
    with ThreadPoolExecutor(8) as visitors:
        rays = list(visitors.map(lambda _: ray(), range(400)))
    assert len({first, *rays}) == 401
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in rays)
    # Once in six days they begin again.
    began, ended = int(first, 16), int(ray(), 16)
    if began < ended:
        assert all(began < int(one, 16) < ended for one in rays)


def test_a_throw_is_told_apart_from_a_scripts_own_500(node: TestNode) -> None:
    for path in ("/throw", "/hang"):
        answer = node.visit("echo", path)
        assert answer.status == 500
        assert "Error 1101" in answer.text
        assert answer.headers["cf-ray"].split("-")[0] in answer.text
    own = node.visit("echo", "/own")
    assert (own.status, own.text) == (500, "mine")
    marker = node.visit("echo", "/marker")
    assert (marker.status, marker.text) == (500, "x")
    other = node.visit("echo", "/own503")
    assert (other.status, other.text) == (503, "mine too")
    for answer in (own, marker, node.visit("echo")):
        assert "x-skerry" not in answer.headers


def test_64_kilobytes_of_headers_both_ways(node: TestNode) -> None:
    seen = node.visit("echo", headers={"X-Big": "b" * 64_000}).json()
    headers = seen["headers"]
    assert isinstance(headers, dict)
    assert len(headers["x-big"]) == 64_000
    # Python's own client takes no line this long.
    assert len(raw_head(node, "/big")) > 64_000


def raw_head(node: TestNode, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", node.http_port), 10) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host_of('echo')}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    return answer.partition(b"\r\n\r\n")[0]


def test_bodies_pass(node: TestNode) -> None:
    body = b"0123456789" * 50_000
    assert node.visit("echo", method="POST", body=body).json()["body"] == body.decode()


def said_to(node: TestNode, head: str, *parts: bytes, pause: float = 0.01) -> bytes:
    """All of the answer to a request whose parts come one after the other."""
    with socket.create_connection(("127.0.0.1", node.http_port), 10) as connection:
        text = f"{head}\r\nHost: {host_of('echo')}\r\nConnection: close\r\n\r\n"
        connection.sendall(text.encode())
        for part in parts:
            time.sleep(pause)
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def test_an_answer_to_a_body_that_nobody_reads_passes_the_rules(node: TestNode) -> None:
    def ask(parts: tuple[bytes, ...]) -> str:
        size = sum(map(len, parts))
        answer = said_to(node, f"POST /unread HTTP/1.1\r\nContent-Length: {size}", *parts)
        head, _, body = answer.decode().partition("\r\n\r\n")
        return f"{body.strip()} {'cf-ray' in head.lower()} {'x-skerry' in head.lower()}"

    bodies = [(b"body",), (b"a body", b" in two"), (b"x" * 10_000, b"y" * 20_000, b"z")] * 60
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, bodies)) == {"unread True False"}


def test_bodies_that_are_empty_late_or_announced(node: TestNode) -> None:
    empty = said_to(node, "POST /x HTTP/1.1\r\nContent-Length: 0")
    assert b'"body":""' in empty
    late = said_to(node, "POST /x HTTP/1.1\r\nContent-Length: 4", b"la", b"te", pause=0.5)
    assert b'"body":"late"' in late
    announced = said_to(
        node,
        "POST /x HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue",
        b"told",
        pause=0.3,
    )
    assert announced.startswith(b"HTTP/1.1 100 ")
    assert b'"body":"told"' in announced


def test_the_front_keeps_its_buffers(node: TestNode) -> None:
    """Else the kernel takes them away and gives others with each request, a page at a time."""
    (front,) = node.pids("front")

    def faults() -> int:
        stat = Path(f"/proc/{front}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[7])

    with wrk(node, "echo"):
        time.sleep(1)
    before = faults()
    with wrk(node, "echo") as answers:
        time.sleep(2)
    assert faults() - before < answers[0] / 10


def test_front_and_cells_wait_for_their_turn(node: TestNode) -> None:
    """They do not push each other from a CPU whenever one has said something (SCHED_BATCH)."""
    pids = [*node.pids("front"), node.serving_pid()]
    assert [os.sched_getscheduler(pid) for pid in pids] == [os.SCHED_BATCH] * 2
    threads = os.listdir(f"/proc/{pids[1]}/task")
    assert {os.sched_getscheduler(int(thread)) for thread in threads} == {os.SCHED_BATCH}


def test_https_with_the_nodes_own_certificate(node: TestNode) -> None:
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", node.https_port, context=trust)
    connection.request("GET", "/x", headers={"Host": host_of("echo")})
    answer = connection.getresponse()
    assert answer.status == 200
    connection.close()


def over_http2(node: TestNode, path: str, body: bytes = b"") -> bytes:
    host = host_of("echo")
    done = subprocess.run(
        [
            *("curl", "--silent", "--insecure", "--http2", "--noproxy", "*", "--max-time", "20"),
            *("--resolve", f"{host}:{node.https_port}:127.0.0.1"),
            *(["--data-binary", "@-"] if body else []),
            f"https://{host}:{node.https_port}{path}",
        ],
        capture_output=True,
        check=True,
        input=body,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("scheme", "version", "expected"),
    [("http", "1.0", "HTTP/1.0"), ("http", "1.1", "HTTP/1.1"), ("https", "1.1", "HTTP/1.1")],
)
def test_a_script_hears_the_protocol(
    node: TestNode, scheme: str, version: str, expected: str
) -> None:
    port = {"http": node.http_port, "https": node.https_port}[scheme]
    done = subprocess.run(
        ["curl", "--silent", "--insecure", f"--http{version}", "--noproxy", "*", "--max-time", "20",
         "--header", f"Host: {host_of('echo')}", f"{scheme}://127.0.0.1:{port}/"],
        capture_output=True, check=True,
    )  # fmt: skip
    cf = json.loads(done.stdout)["cf"]
    assert cf["httpProtocol"] == expected
    assert (cf["tlsVersion"], bool(cf["tlsCipher"])) == (
        ("TLSv1.3", True) if scheme == "https" else ("", False)
    )


def test_http2_over_tls(node: TestNode) -> None:
    seen: Json = json.loads(over_http2(node, "/x"))
    assert seen["url"] == f"https://{host_of('echo')}:{node.https_port}/x"
    cf = seen["cf"]
    assert isinstance(cf, dict)
    assert (cf["httpProtocol"], cf["tlsVersion"]) == ("HTTP/2", "TLSv1.3")


@pytest.mark.parametrize("size", [10, 65_535, 65_536, 70_000, 2_000_000])
def test_bodies_pass_over_http2(node: TestNode, size: int) -> None:
    """The window of a stream and what the front waits for are nearly as large as each other."""
    assert json.loads(over_http2(node, "/x", b"b" * size))["body"] == "b" * size


@pytest.mark.parametrize("size", [10, 65_535])
def test_a_body_that_nobody_reads_over_http2(node: TestNode, size: int) -> None:
    assert over_http2(node, "/unread", b"b" * size) == b"unread"


def test_the_front_is_repaired_when_it_differs(node: TestNode) -> None:
    node.deploy("repaired", Bundle(answering("repaired")))
    servers = [line.split() for line in node.admin("show servers state").splitlines()]
    slot = next(line.split()[2] for line in hosts(node) if host_of("repaired") in line)
    (server,) = [fields[3] for fields in servers if len(fields) > 6 and fields[1] == slot]
    node.admin(f"set server {slot}/{server} state maint")
    node.admin(f"del server {slot}/{server}")
    node.admin(f"clear map {node.folder.resolve()}/front/hosts.map")
    assert node.visit("repaired").status == 404
    node.kill_agent()
    node.start()  # compares at its start, as it does every minute
    assert node.visit("repaired").text == "repaired"
    until(lambda: node.events("front_repaired"), what="the repair is logged")


def hosts(node: TestNode) -> list[str]:
    return node.admin(f"show map {node.folder.resolve()}/front/hosts.map").splitlines()


SOCKETS = """
export default { async fetch(request) {
  if (request.headers.get("upgrade") === "websocket") {
    const [client, server] = Object.values(new WebSocketPair());
    server.accept();
    server.addEventListener("message", (event) => server.send(`echo ${event.data}`));
    return new Response(null, { status: 101, webSocket: client });
  }
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  const say = (text) => writer.write(new TextEncoder().encode(`data: ${text}\\n\\n`));
  say("first");
  setTimeout(() => say("second"), 2000);
  return new Response(readable, { headers: { "content-type": "text/event-stream" } });
} };"""


def test_websockets_and_event_streams_pass_at_once(node: TestNode) -> None:
    node.deploy("sockets", Bundle(SOCKETS))
    raw = socket.create_connection(("127.0.0.1", node.http_port), 10)
    with connect(
        f"ws://{host_of('sockets')}/", sock=raw, proxy=None, close_timeout=0.5
    ) as websocket:
        websocket.send("hello")
        assert websocket.recv(10) == "echo hello"
    connection = http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=10)
    began = time.monotonic()
    connection.request("GET", "/", headers={"Host": host_of("sockets")})
    answer = connection.getresponse()
    assert answer.readline() == b"data: first\n"
    assert time.monotonic() - began < 1.5  # not held back until the second
    connection.close()


def test_a_node_in_a_folder_with_blanks(gateway: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "my own node #1"
    folder.mkdir()
    with running_node(gateway, folder, name="blanks") as node:
        node.deploy("blanks", Bundle(answering("fine")))
        assert node.visit("blanks").text == "fine"
        assert node.visit("nobody").status == 404


def test_connections_to_a_cell_are_kept(node: TestNode) -> None:
    """A server that was added at run time keeps its connections like one from the file."""
    node.deploy("kept", Bundle(answering("kept")))
    for _ in range(20):
        assert node.visit("kept").text == "kept"
    header, *rows = node.admin("show stat").splitlines()
    columns = header.removeprefix("# ").split(",")
    servers = [dict(zip(columns, row.split(","), strict=False)) for row in rows]
    cells = [one for one in servers if one["svname"].startswith("c") and one["stot"] == "20"]
    (cell,) = cells
    assert int(cell["connect"]) <= (os.cpu_count() or 1)  # each thread of HAProxy keeps its own
    assert int(cell["connect"]) + int(cell["reuse"]) == 20
