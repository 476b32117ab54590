"""The control plane's side of the contract, small and strict: enrolment, desired state, modules,
reports, and pushes to nodes. Anything it is not promised fails the test that caused it."""

import base64
import contextlib
import datetime
import gzip
import hashlib
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.edge.bundles import Beside, Bundle, Json, base64_files, slot

NAME = "skerry-control"

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def pem(thing: x509.Certificate) -> str:
    return thing.public_bytes(serialization.Encoding.PEM).decode()


class Authority:
    """A CA, as the control plane makes one at its bootstrap."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.sign("skerry test CA", self.key.public_key(), None)

    def sign(
        self, name: str, public_key: PublicKey, dns_name: str | None, *more: str
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = subject if dns_name is None else self.certificate.subject
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(
                x509.BasicConstraints(ca=dns_name is None, path_length=None), critical=True
            )
        )
        if dns_name is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(one) for one in (dns_name, *more)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def fingerprint(self) -> bytes:
        return hashlib.sha256(self.certificate.public_bytes(serialization.Encoding.DER)).digest()


@dataclass
class EnrolledNode:
    """What the control plane knows of a node."""

    node_id: str
    name: str
    agent_url: str
    token: str
    push_key: str
    door_port: int = 0
    generation: int = 0
    slots: dict[str, Json] = field(default_factory=dict)
    reports: list[Json] = field(default_factory=list)
    batches: dict[str, Json] = field(default_factory=dict)
    """Request records by the batch's id."""
    logs: dict[str, Json] = field(default_factory=dict)
    """Stored logs by the batch's id."""
    shown: list[Json] = field(default_factory=list)
    """What it sent of scripts that are tailed."""
    sent: list[str] = field(default_factory=list)
    """The id of each batch as often as it came."""

    def requests(self) -> list[Json]:
        """Every recorded request, under the names of its columns."""
        batches = list(self.batches.values())
        timed = ("start_us", "front_us", "cell_us")
        return [
            dict(zip((*batch["columns"], *timed), (*entry, *times), strict=True))  # type: ignore[misc]
            for batch in batches
            for entry, times in zip(batch["requests"], batch["timings"], strict=True)  # type: ignore[call-overload]
        ]

    def added_up(self, script_id: str = "") -> int:
        """How many requests, of one script or of all, were added up instead."""
        return sum(
            count
            for batch in list(self.batches.values())
            for one in batch.get("sums", [])  # type: ignore[attr-defined]
            if script_id in ("", one[1])
            for _, count in one[-1]
        )

    def reported(self) -> dict[str, Json]:
        """The newest reported state by script id."""
        found: dict[str, Json] = {}
        for report in self.reports:
            for entry in report["slots"]:  # type: ignore[attr-defined]
                found[entry["script_id"]] = entry
        return found


class Gateway:
    """Runs in a thread on a port of its own; `stop` and `start` make it come and go."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        self.join_tokens: set[str] = set()
        self.nodes: dict[str, EnrolledNode] = {}
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        """Method and path of every request, to see what a node fetched."""
        self.slow_seconds = 0.0
        """How long an answer with modules takes."""
        self.complaints: list[str] = []
        self.certificates: list[Json] = []
        """Custom ones, for every node."""
        self.tailed: set[str] = set()
        """The ids of scripts that somebody tails."""
        self.forgetful = False
        """Takes a batch and then answers as one that failed."""
        self.database_away = False
        """Takes no batch."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.authority.sign(NAME, key.public_key(), NAME)
        chain = folder / "gateway.pem"
        chain.write_text(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode()
            + pem(leaf)
            + pem(self.authority.certificate)
        )
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(chain)
        self._server: ThreadingHTTPServer | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def start(self) -> None:
        gateway = self

        class Requests(_Requests):
            control = gateway

        server = ThreadingHTTPServer(("127.0.0.1", self._port), Requests)
        server.daemon_threads = True
        server.socket = self._tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._port = server.server_address[1]
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def join_token(self) -> str:
        fingerprint = base64.b32encode(self.authority.fingerprint()).decode().rstrip("=").lower()
        token = f"skj1.{fingerprint}.{secrets.token_urlsafe(16)}"
        self.join_tokens.add(token)
        return token

    def certificates_digest(self) -> str:
        return hashlib.sha256(json.dumps(self.certificates).encode()).hexdigest()

    # What the control plane decides

    def decide(
        self,
        node: EnrolledNode,
        name: str,
        bundle: Bundle | None,
        hostnames: list[str] | None = None,
        function: Json | None = None,
        beside: Beside | None = None,
        more: Json | None = None,
    ) -> Json:
        """Record a new desired state for one script on one node; sends nothing."""
        node.generation += 1
        decided = slot(name, node.generation, bundle, hostnames, beside, more)
        decided["function"] = function
        node.slots[str(decided["script_id"])] = decided
        for one in (bundle, beside[0] if beside else None):
            self.files |= one.files() if one else {}
        return decided

    def push(self, node: EnrolledNode, *slots: Json, files: dict[str, bytes] | None = None) -> Json:
        """Send slots to the node and return its answer."""
        body = {
            "generation": node.generation,
            "slots": list(slots),
            "modules": base64_files(files or {}),
        }
        status, answer = self.call(node, "POST", "/push", json.dumps(body).encode())
        assert status == 200, answer
        return answer

    def call(
        self,
        node: EnrolledNode,
        method: str,
        path: str,
        body: bytes | None = None,
        push_key: str | None = None,
    ) -> tuple[int, Json]:
        """One request to the agent, and the JSON of its answer."""
        status, _, content = self.ask(node, method, path, body, push_key=push_key)
        return status, json.loads(content)

    def ask(
        self,
        node: EnrolledNode,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        push_key: str | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request to the agent, verified by the node's own name: status, headers, content."""
        trust = ssl.create_default_context(cadata=pem(self.authority.certificate))
        target = urlsplit(node.agent_url)
        assert target.hostname
        assert target.port
        connection = http.client.HTTPSConnection(target.hostname, target.port, timeout=60)
        raw = socket.create_connection((target.hostname, target.port), 60)
        connection.sock = trust.wrap_socket(raw, server_hostname=f"{node.node_id}.node.skerry")
        try:
            sent = {"Authorization": f"Bearer {push_key or node.push_key}", **(headers or {})}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            lowered = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, lowered, answer.read()
        finally:
            connection.close()


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    control: Gateway

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _observe(self, node: EnrolledNode, path: str, body: bytes) -> tuple[int, Json]:
        if path.startswith("logs/"):
            batch = json.loads(gzip.decompress(body))
            assert set(batch) == {"events", "lost"}, batch
            node.logs[path.removeprefix("logs/")] = batch
            return 200, {}
        if path.startswith("batches/"):
            return self._take_batch(node, path.removeprefix("batches/"), body)
        return self._tails(node, path, json.loads(body))

    def _tails(self, node: EnrolledNode, path: str, body: Json) -> tuple[int, Json]:
        if path.endswith("-events"):
            assert isinstance(body["events"], list)
            node.shown += body["events"]
            return 200, {}
        deadline = time.monotonic() + 5
        while body["known"] == sorted(self.control.tailed) and time.monotonic() < deadline:
            time.sleep(0.02)
        return 200, {"scripts": sorted(self.control.tailed)}

    def _take_batch(self, node: EnrolledNode, identity: str, body: bytes) -> tuple[int, Json]:
        if self.control.database_away:
            return 503, {"error": "away"}
        batch = json.loads(gzip.decompress(body))
        assert set(batch) == {
            "columns",
            "requests",
            "timings",
            "sums",
            "measures",
            "points",
            "operations",
            "lost",
        }, batch
        statuses = {one[batch["columns"].index("status")] for one in batch["requests"]}
        assert all(0 <= status <= 999 for status in statuses), statuses
        node.sent.append(identity)
        node.batches[identity] = batch
        return (503, {"error": "away"}) if self.control.forgetful else (200, {})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base's name
        return

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            return  # an agent that was killed while it spoke: nothing to answer, nothing wrong
        url = urlsplit(self.path)
        self.control.asked.append(f"{self.command} {self.path}")
        try:
            status, answer = self._route(self.command, url.path, url.query, body)
        except (KeyError, ValueError, AssertionError) as error:
            self.control.complaints.append(f"{self.command} {self.path}: {error!r}")
            status, answer = 400, {"error": repr(error)}
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        kind = "octet-stream" if isinstance(answer, bytes) else "json"
        self.send_response(status)
        self.send_header("Content-Type", f"application/{kind}")
        self.send_header("Content-Length", str(len(content)))
        with contextlib.suppress(OSError):  # an agent that a test has killed meanwhile
            self.end_headers()
            self.wfile.write(content)

    def _route(self, method: str, path: str, query: str, body: bytes) -> tuple[int, Json | bytes]:
        if (method, path) == ("GET", "/edge/v1/ca"):
            return 200, {"ca": pem(self.control.authority.certificate)}
        if (method, path) == ("POST", "/edge/v1/enrolments"):
            return self._enrol(json.loads(body))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        node = next((one for one in self.control.nodes.values() if one.token == token), None)
        if node is None:
            return 401, {"error": "unknown token"}
        if path.startswith(("/edge/v1/batches/", "/edge/v1/logs/", "/edge/v1/tail")):
            return self._observe(node, path.removeprefix("/edge/v1/"), body)
        if (method, path) == ("GET", "/edge/v1/desired"):
            asked = parse_qs(query, keep_blank_values=True)
            since = int(asked["since"][0])
            newer = [one for one in node.slots.values() if int(str(one["generation"])) > since]
            newer.sort(key=lambda one: int(str(one["generation"])))
            others = [
                {"id": one.node_id, "host": "127.0.0.1", "port": one.door_port}
                for one in self.control.nodes.values()
                if one is not node and one.door_port
            ]
            return 200, {
                "generation": node.generation,
                "slots": newer,
                "nodes": others,
                "certificates": self._certificates(asked["certificates"][0]),
            }
        if path.startswith("/edge/v1/modules"):
            time.sleep(self.control.slow_seconds)
            return self._modules(path.removeprefix("/edge/v1/modules"), body)
        if (method, path) == ("POST", "/edge/v1/reports"):
            return self._report(node, json.loads(body))
        return 404, {"error": "no such path"}

    def _certificates(self, known: str) -> Json | None:
        digest = self.control.certificates_digest()
        return None if known == digest else {"digest": digest, "items": self.control.certificates}

    def _modules(self, digest: str, body: bytes) -> tuple[int, Json | bytes]:
        if digest:
            content = self.control.files.get(digest.removeprefix("/"))
            return (200, content) if content is not None else (404, {"error": "no such module"})
        wanted = json.loads(body)["digests"]
        # Half of them: the node asks again for the rest.
        half = wanted[: len(wanted) // 2 + 1]
        some = {one: self.control.files[one] for one in half if one in self.control.files}
        return 200, {"modules": base64_files(some)}

    def _enrol(self, request: Json) -> tuple[int, Json]:
        assert set(request) == {"join_token", "name", "agent_url", "csr"}, request
        if request["join_token"] not in self.control.join_tokens:
            return 403, {"error": "The join token was used already or has expired."}
        self.control.join_tokens.remove(str(request["join_token"]))
        csr = x509.load_pem_x509_csr(str(request["csr"]).encode())
        assert csr.is_signature_valid
        public_key = csr.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)
        node = EnrolledNode(
            node_id=uuid.uuid4().hex,
            name=str(request["name"]),
            agent_url=str(request["agent_url"]),
            token=secrets.token_urlsafe(32),
            push_key=secrets.token_urlsafe(32),
        )
        self.control.nodes[node.name] = node
        name = f"{node.node_id}.node.skerry"
        certificate = self.control.authority.sign(name, public_key, name)
        return 201, {
            "node_id": node.node_id,
            "token": node.token,
            "push_key": node.push_key,
            "certificate": pem(certificate),
            "ca": pem(self.control.authority.certificate),
            "generation": 0,
        }

    def _report(self, node: EnrolledNode, report: Json) -> tuple[int, Json]:
        assert set(report) == {
            "generation",
            "agent_version",
            "runtime_version",
            "runtime_compatibility_date",
            "sandbox",
            "agent_url",
            "door_port",
            "bucket",
            "slots",
            "runs",
            "condition",
        }, report
        node.door_port = int(str(report["door_port"]))
        entries = report["slots"]
        assert isinstance(entries, list)
        for entry in entries:
            assert set(entry) == {"script_id", "generation", "state", "reason"}, entry
            assert entry["state"] in ("live", "withdrawn", "failed"), entry
        node.reports.append(report)
        return 200, {"generation": node.generation}
