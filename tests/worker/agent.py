"""The node's side of a push, for tests of the worker: strict about the protocol, told how to behave.

It terminates TLS with a certificate that the control plane's own CA signed at an enrolment, refuses a
wrong key or a malformed body, and counts what it was sent.
"""

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.orm import Session

from api.nodes import service


class Agent:
    """An enrolled node that answers pushes as `state` says, after `delay_seconds`."""

    def __init__(self, session: Session, name: str, folder: Path) -> None:
        self.state, self.reason, self.delay_seconds = "live", None, 0.0
        self.pushes: list[dict[str, Any]] = []
        self.refused = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._answering())
        self.server.daemon_threads = True
        port = self.server.server_address[1]
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        csr = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        token = service.issue_join_token(session)
        self.enrolment = service.enrol(
            session, token, name, f"https://127.0.0.1:{port}", csr.decode()
        )
        session.commit()
        pem = folder / f"{name}.pem"
        pem.write_bytes(
            self.enrolment.certificate.encode()
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _answering(agent) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - the handler has a self
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = f"Bearer {agent.enrolment.push_key}"
                if self.path != "/push" or self.headers["Authorization"] != key:
                    agent.refused += 1
                    self._send(401, {"error": "who are you?"})
                    return
                agent.pushes.append(body)
                time.sleep(agent.delay_seconds)
                slots = [
                    {
                        "script_id": slot["script_id"],
                        "generation": slot["generation"],
                        "state": agent.state,
                        "reason": agent.reason,
                    }
                    for slot in body["slots"]
                ]
                self._send(200, {"generation": body["generation"], "slots": slots})

            def _send(self, status: int, answer: dict[str, Any]) -> None:
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                del format, arguments

        return Handler
