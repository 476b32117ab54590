"""What a node holds after its enrolment, in files of mode 0600."""

import json
import ssl
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.agent.sealing import write_private

GATEWAY_NAME = "skerry-control"


@dataclass(frozen=True)
class Credential:
    node_id: str
    control: str
    """URL of the gateway."""
    token: str
    """Shown by the node to the gateway."""
    push_key: str
    """Shown by the control plane to the node."""
    certificate: str
    key: str
    ca: str

    def save(self, path: Path) -> None:
        write_private(path, json.dumps(asdict(self)).encode())
        certificate, key = tls_files(path)
        write_private(key, self.key.encode())
        write_private(certificate, self.certificate.encode())

    def trust(self) -> ssl.SSLContext:
        """TLS to the gateway: this one CA and nobody else's."""
        return ssl.create_default_context(cadata=self.ca)


def load_credential(path: Path) -> Credential | None:
    if not path.exists():
        return None
    return Credential(**json.loads(path.read_text()))


def tls_files(path: Path) -> tuple[Path, Path]:
    """(certificate, key) beside the credential, for the agent's own TLS port."""
    return path.with_name("node-certificate.pem"), path.with_name("node-key.pem")
