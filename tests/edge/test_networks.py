"""Scripts that open connections themselves: TLS, what they reach, what they do not, and what survives."""

import contextlib
import datetime
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.agent.background import Background
from edge.agent.cells.networks import RESOLVER, Networks
from edge.agent.egress import denied_addresses
from edge.runtime.network import Network, dials, missing
from edge.runtime.sandbox import Level
from edge.spec import read_spec
from tests.edge.bundles import Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = [
    pytest.mark.edge,
    pytest.mark.skipif(
        bool(missing(Level.FULL)) or os.geteuid() != 0, reason="cells have no networks here"
    ),
]

DIALER = """
import { connect } from "cloudflare:sockets";

export default {
  async fetch(request) {
    const asked = new URL(request.url).searchParams;
    const to = asked.get("to");
    try {
      if (asked.get("by") === "fetch") {
        const answer = await fetch(`http://${to}/`);
        return Response.json({ text: await answer.text() });
      }
      let tcp = connect(to, { secureTransport: asked.get("by") });
      // As drivers of databases do it: some words in the clear, then TLS.
      if (asked.has("name")) tcp = tcp.startTls({ expectedServerHostname: asked.get("name") });
      const writer = tcp.writable.getWriter();
      await writer.write(new TextEncoder().encode("GET / HTTP/1.0\\r\\n\\r\\n"));
      return Response.json({ text: await new Response(tcp.readable).text() });
    } catch (error) {
      return Response.json({ error: String(error) });
    }
  },
};
"""
NAME = "db.example.test"
SAID = "HTTP/1.0 200 OK\r\n\r\nreached"
CODE = "socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"


def own_address() -> str:
    found = [one.removesuffix("/32") for one in denied_addresses("", ()) if "." in one]
    return found[0] if found else pytest.skip("this machine has no address but loopback")


@pytest.fixture(scope="module")
def certificate(folder: Path) -> Path:
    """Of NAME, by nobody that the system knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "database.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, *form)
    )
    return path


class Server:
    """Says the same to everybody, in the clear or by TLS."""

    def __init__(self, certificate: Path | None) -> None:
        self.seen = 0
        self._listener = socket.create_server(("0.0.0.0", 0))
        self.port = self._listener.getsockname()[1]
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self._context and certificate:
            self._context.load_cert_chain(certificate)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.seen += 1
                with contextlib.suppress(OSError), connection:
                    connection.settimeout(10)
                    if self._context:
                        connection = self._context.wrap_socket(connection, server_side=True)
                    connection.recv(1000)
                    connection.sendall(SAID.encode())
                    connection.close()

    def stop(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    server = Server(None)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def encrypted(certificate: Path) -> Iterator[Server]:
    server = Server(certificate)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def open_node(gateway: Gateway, folder: Path, certificate: Path) -> Iterator[TestNode]:
    settings = {
        "SKERRY_EGRESS_ALLOW": f"{own_address()},127.0.0.1",
        "SKERRY_EGRESS_AUTHORITIES": str(certificate),
    }
    with running_node(gateway, folder, "dialing", **settings) as node:
        node.deploy("dialer", Bundle(DIALER))
        yield node


@pytest.fixture(scope="module")
def closed(node: TestNode) -> TestNode:
    node.deploy("dialer", Bundle(DIALER))
    return node


def ask(node: TestNode, to: str, by: str = "off", **more: str) -> Json:
    answer = node.visit("dialer", f"/?{urlencode({'to': to, 'by': by, **more})}")
    assert answer.status == 200, answer.text
    return answer.json()


def test_tls_as_drivers_of_databases_speak_it(open_node: TestNode, encrypted: Server) -> None:
    address = f"{own_address()}:{encrypted.port}"
    assert ask(open_node, address, "starttls", name=NAME) == {"text": SAID}
    wrong = ask(open_node, address, "starttls", name="other.example.test")
    assert "error" in wrong
    assert "error" in ask(open_node, address, "on")  # not in the certificate either


def test_plain_connections_and_fetch(open_node: TestNode, plain: Server) -> None:
    address = f"{own_address()}:{plain.port}"
    assert ask(open_node, address) == {"text": SAID}
    assert ask(open_node, address, "fetch") == {"text": "reached"}
    assert ask(open_node, f"127.0.0.1:{plain.port}") == {"text": SAID}
    assert ask(open_node, f"localhost:{plain.port}") == {"text": SAID}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "198.18.0.2",
        "10.0.0.1",
        "169.254.169.254",
        "own",
    ],
)
def test_not_public_is_refused(closed: TestNode, plain: Server, host: str) -> None:
    before = plain.seen
    address = own_address() if host == "own" else host
    assert "error" in ask(closed, f"{address}:{plain.port}")
    assert "reached" not in str(ask(closed, f"{address}:{plain.port}", "fetch"))
    assert plain.seen == before


@pytest.mark.parametrize("host", ["127.0.0.1", "198.18.0.2", "10.0.0.1", "own"])
def test_who_breaks_out_of_the_runtime_reaches_no_more(
    closed: TestNode, plain: Server, host: str
) -> None:
    """From the cell's network namespace, as somebody who is not workerd."""
    ask(closed, "127.0.0.1:1")  # there is a cell
    (cell,) = closed.pids("cell:")
    before = plain.seen
    address = own_address() if host == "own" else host
    inside = [
        "nsenter",
        f"--net=/proc/{cell}/ns/net",
        sys.executable,
        "-c",
        f"import socket, sys; {CODE}",
    ]
    done = subprocess.run([*inside, address, str(plain.port)], capture_output=True, check=False)
    assert done.returncode, done
    assert plain.seen == before


def test_the_device_has_no_privilege_and_the_cell_cannot_change_the_rules(
    closed: TestNode,
) -> None:
    ask(closed, "127.0.0.1:1")
    (cell,), (device,) = closed.pids("cell:"), closed.pids("network:")
    for pid, allowed in ((cell, 0), (device, 1 << 10)):  # CAP_NET_BIND_SERVICE
        status = Path(f"/proc/{pid}/status").read_text()
        assert status.split("NoNewPrivs:")[1].split()[0] == "1"
        assert int(status.split("CapEff:")[1].split()[0], 16) & ~allowed == 0
    assert Path(f"/proc/{cell}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def test_a_script_that_does_not_dial_has_none(node: TestNode) -> None:
    node.deploy("quiet", Bundle("export default { fetch: () => new Response('quiet') };"))
    before = node.pids("network:")
    assert node.visit("quiet").text == "quiet"
    assert node.pids("network:") == before


def test_it_survives_the_agent_and_comes_back_when_killed(
    open_node: TestNode, plain: Server
) -> None:
    address = f"{own_address()}:{plain.port}"
    assert ask(open_node, address) == {"text": SAID}
    cells, before = open_node.pids("cell:"), open_node.pids("network:")
    open_node.kill_agent()
    assert ask(open_node, address) == {"text": SAID}
    open_node.start()
    assert (open_node.pids("cell:"), open_node.pids("network:")) == (cells, before)

    os.kill(before[0], signal.SIGKILL)
    until(lambda: "text" in ask(open_node, address), what="the network is back")
    assert open_node.pids("cell:") == cells
    assert len(open_node.pids("network:")) == 1

    open_node.kill_agent()
    os.kill(open_node.pids("network:")[0], signal.SIGKILL)
    inside = ["nsenter", f"--net=/proc/{cells[0]}/ns/net", "nft"]
    subprocess.run([*inside, "flush", "ruleset"], check=True)
    open_node.start()
    until(lambda: "text" in ask(open_node, address), what="a new agent attaches what is missing")
    rules = subprocess.run([*inside, "list", "ruleset"], capture_output=True, check=True).stdout
    assert b"10.0.0.0/8" in rules
    assert open_node.pids("cell:") == cells

    open_node.deploy("dialer", Bundle(DIALER + "// again"))
    until(lambda: len(open_node.pids("network:")) == 1, what="it ends with its cell")
    assert ask(open_node, address) == {"text": SAID}


def test_another_allow_list_is_another_network(
    gateway: Gateway, folder: Path, plain: Server
) -> None:
    with running_node(gateway, folder, "redialing") as node:
        node.deploy("dialer", Bundle(DIALER))
        address = f"{own_address()}:{plain.port}"
        assert "error" in ask(node, address)
        node.kill_agent()
        node.configure(SKERRY_EGRESS_ALLOW=own_address())
        node.start()
        until(lambda: "text" in ask(node, address), what="the list is in force")


def test_what_names_the_modules_of_sockets() -> None:
    files = {
        "a": b'import { connect } from "cloudflare:sockets";',
        "b": b'import net from "node:net";',
        "c": b"const tls = require('tls');",
        "d": b"export default {} // a net and a tls",
    }

    def dialing(digest: str, *flags: str) -> bool:
        hexed = {f"sha256:{key * 64}": text for key, text in files.items()}
        name = f"sha256:{digest * 64}"
        spec = Bundle(files[digest].decode()).spec() | {"compatibility_flags": list(flags)}
        spec["modules"] = [{"name": spec["main_module"], "type": "esm", "digest": name}]
        return dials(read_spec(spec), hexed)

    assert dialing("a")
    assert [dialing(one) for one in "bcd"] == [False] * 3
    assert [dialing(one, "nodejs_compat") for one in "bcd"] == [True, True, False]


def test_rules_that_nft_takes(tmp_path: Path) -> None:
    network = Network(("10.1.0.0/16", "10.1.2.0/24", "fd00::/8"), ("192.0.2.7/32",))
    rules = Networks(tmp_path, network, Background()).rules()
    nft = shutil.which("nft")
    assert nft
    done = subprocess.run([nft, "-c", "-f", "-"], input=rules, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    order = [rules.index(one) for one in (RESOLVER, "192.0.2.7", "{ 10.1.0.0/16 }", "10.0.0.0/8")]
    assert order == sorted(order)
