"""The way out of a cell: what is reached, what is refused, and what survives."""

import base64
import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from edge.agent.egress import denied_addresses
from edge.paths import NodePaths
from tests.edge.bundles import ACCOUNT_ID, Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

FETCHER = """
// A script that names the module has a network of its own (test_networks.py).
const sockets = ["cloudflare", "sockets"].join(":");

async function viaFetch(url) {
  const forged = { "x-skerry-script": "forged", "x-skerry-account": "forged" };
  const answer = await fetch(url, { headers: forged });
  return { status: answer.status, text: await answer.text() };
}

async function viaWebSocket(url) {
  const answer = await fetch(url, { headers: { Upgrade: "websocket" } });
  if (!answer.webSocket) return { status: answer.status };
  answer.webSocket.accept();
  const echoed = new Promise((resolve) =>
    answer.webSocket.addEventListener("message", (event) => resolve(event.data)));
  answer.webSocket.send("hello");
  return { echoed: await echoed };
}

async function viaSocket(url) {
  const { connect } = await import(sockets);
  const tcp = connect(new URL(url).host);
  const writer = tcp.writable.getWriter();
  await writer.write(new TextEncoder().encode("GET / HTTP/1.0\\r\\n\\r\\n"));
  return { text: await new Response(tcp.readable).text() };
}

const ways = { fetch: viaFetch, socket: viaSocket, websocket: viaWebSocket };

export default {
  async fetch(request) {
    const asked = new URL(request.url).searchParams;
    try {
      return Response.json(await ways[asked.get("way")](asked.get("url")));
    } catch (error) {
      return Response.json({ error: String(error) });
    }
  },
};
"""

SERVER_SAID = "the server was reached"
# What a script gets for an address that the egress does not let it reach.
REFUSED = 500


class Server:
    """Somebody on the network: HTTP, and an echo for one WebSocket message."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        server = self

        class Requests(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.headers.append({key.lower(): value for key, value in self.headers.items()})
                if self.headers.get("Upgrade") == "websocket":
                    self._echo()
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(SERVER_SAID.encode())

            def _echo(self) -> None:
                magic = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                accept = base64.b64encode(hashlib.sha1(magic.encode()).digest()).decode()  # noqa: S324 the protocol's
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.send_header("Sec-WebSocket-Accept", accept)
                self.end_headers()
                head = self.rfile.read(6)
                masked = self.rfile.read(head[1] & 0x7F)
                text = bytes(byte ^ head[2 + at % 4] for at, byte in enumerate(masked))
                self.wfile.write(bytes([0x81, len(text)]) + text)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base's name
                return

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Requests)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def closed(node: TestNode) -> TestNode:
    node.deploy("fetcher", Bundle(FETCHER))
    return node


@pytest.fixture(scope="module")
def open_node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, "open", SKERRY_EGRESS_ALLOW="127.0.0.0/8") as node:
        node.deploy("fetcher", Bundle(FETCHER))
        yield node


def ask(node: TestNode, way: str, url: str) -> Json:
    answer = node.visit("fetcher", f"/?way={way}&url={quote(url, safe='')}")
    assert answer.status == 200, answer.text
    return answer.json()


def own_address() -> str:
    found = [one.removesuffix("/32") for one in denied_addresses("", ()) if "." in one]
    return found[0] if found else pytest.skip("this machine has no address but loopback")


@pytest.mark.parametrize("way", ["fetch", "websocket", "socket"])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1.2.3",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "own",
    ],
)
def test_not_public_is_refused(closed: TestNode, server: Server, way: str, host: str) -> None:
    before = len(server.headers)
    address = own_address() if host == "own" else host
    said = ask(closed, way, f"http://{address}:{server.port}/")
    assert SERVER_SAID not in json.dumps(said)
    assert said.get("status") == REFUSED or "error" in said, said
    assert len(server.headers) == before


def test_the_nodes_own_ports_are_refused(closed: TestNode) -> None:
    agent_port = closed.enrolled.agent_url.rpartition(":")[2]
    for url in (f"http://127.0.0.1:{closed.http_port}/", f"https://127.0.0.1:{agent_port}/status"):
        assert ask(closed, "fetch", url)["status"] == REFUSED


def test_what_the_operator_allows_is_reached(open_node: TestNode, server: Server) -> None:
    said = ask(open_node, "fetch", f"http://127.0.0.1:{server.port}/")
    assert said == {"status": 200, "text": SERVER_SAID}
    seen = server.headers[-1]
    assert seen["host"] == f"127.0.0.1:{server.port}"
    assert [name for name in seen if name.startswith("x-skerry")] == []
    assert ask(open_node, "fetch", f"http://10.0.0.1:{server.port}/")["status"] == REFUSED


def test_websocket_and_plain_connect(open_node: TestNode, server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    assert ask(open_node, "websocket", url) == {"echoed": "hello"}
    assert str(ask(open_node, "socket", url)["text"]).endswith(SERVER_SAID)


def test_the_nodes_own_address_is_refused_whatever_is_allowed(
    gateway: Gateway, folder: Path, server: Server
) -> None:
    with running_node(gateway, folder, "wide", SKERRY_EGRESS_ALLOW="0.0.0.0/0") as node:
        node.deploy("fetcher", Bundle(FETCHER))
        assert ask(node, "fetch", f"http://127.0.0.1:{server.port}/")["status"] == 200
        assert ask(node, "fetch", f"http://{own_address()}:{server.port}/")["status"] == REFUSED


def test_https_is_spoken_and_certificates_are_checked(open_node: TestNode, folder: Path) -> None:
    """The only complaint is the client's about our certificate: it came by TLS, as it should."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "gateway.pem")
    greeted: list[object] = []
    context.sni_callback = lambda *told: greeted.append(told)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError), connection:
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        said = ask(open_node, "fetch", f"https://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join(10)
    assert said["status"] == REFUSED
    assert len(greeted) == 1
    complaint = "invalid peer certificate: UnknownIssuer"
    until(lambda: complaint in open_node.log(), what="the egress says why")


def test_a_cell_says_who_is_asking(closed: TestNode) -> None:
    """Heard on the egress's own socket, while those who accept there are stopped."""
    pids = closed.pids("egress")
    said: list[Json] = []
    visitor = threading.Thread(
        target=lambda: said.append(ask(closed, "fetch", "https://example.com/path"))
    )
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        listener = egress_listener(closed)
        visitor.start()
        assert select.select([listener], [], [], 10)[0]
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            lines = connection.recv(65536).decode().lower().splitlines()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            visitor.join(10)
        listener.close()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert said == [{"status": 200, "text": "ok"}]
    assert lines[0] == "get /path http/1.1"
    asking = [line for line in lines if line.startswith("x-skerry")]
    expected = ["x-skerry-account: " + ACCOUNT_ID, "x-skerry-proto: https"]
    assert sorted(asking) == [*expected, "x-skerry-script: my-app"]
    assert "host: example.com" in lines


def egress_listener(node: TestNode) -> socket.socket:
    """From the keeper, as an agent gets it."""
    paths = NodePaths.of(node.folder)
    request = {"op": "bind", "name": "egress", "address": f"unix:{paths.egress_socket}"}
    with socket.socket(socket.AF_UNIX) as keeper:
        keeper.connect(str(paths.keeper_socket))
        keeper.sendall(json.dumps(request).encode() + b"\n")
        _, (descriptor,), _, _ = socket.recv_fds(keeper, 4096, 1)
    return socket.socket(fileno=descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the egress a user of its own")
def test_the_egress_is_an_unprivileged_user(closed: TestNode) -> None:
    cells = {Path(f"/proc/{pid}").stat().st_uid for pid in closed.pids("cell:")}
    pids = closed.pids("egress")
    assert len(pids) == 2
    for pid in pids:
        status = Path(f"/proc/{pid}/status").read_text()
        uid = int(status.split("Uid:")[1].split()[0])
        assert uid not in {0, *cells}
        assert status.split("NoNewPrivs:")[1].split()[0] == "1"
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status.split(f"{capabilities}:")[1].split()[0], 16) == 0


def test_a_new_agent_adopts_it(open_node: TestNode, server: Server) -> None:
    before = open_node.pids("egress")
    open_node.kill_agent()
    url = f"http://127.0.0.1:{server.port}/"
    assert ask(open_node, "fetch", url)["status"] == 200
    open_node.start()
    assert open_node.pids("egress") == before
    assert ask(open_node, "fetch", url)["status"] == 200


def test_killed_it_comes_back(open_node: TestNode, server: Server) -> None:
    before = open_node.pids("egress")
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    url = f"http://127.0.0.1:{server.port}/"
    until(lambda: ask(open_node, "fetch", url).get("status") == 200, what="the egress is back")
    until(lambda: len(open_node.pids("egress")) == 2, what="both are back")
    assert set(open_node.pids("egress")) & set(before) == set()
    assert len(open_node.pids("cell:")) == 1


def test_another_allow_list_is_another_egress(
    gateway: Gateway, folder: Path, server: Server
) -> None:
    with running_node(gateway, folder, "changed") as node:
        node.deploy("fetcher", Bundle(FETCHER))
        url = f"http://127.0.0.1:{server.port}/"
        assert ask(node, "fetch", url)["status"] == REFUSED
        cells = node.pids("cell:")
        node.kill_agent()
        node._settings["SKERRY_EGRESS_ALLOW"] = "127.0.0.1"
        node.start()
        until(lambda: ask(node, "fetch", url).get("status") == 200, what="the list is in force")
        assert node.pids("cell:") == cells
