"""The certificate authority between control plane and nodes.

Certificates have no user-visible validity to renew by hand: they live as long as an installation may,
and a node that is replaced enrols again.
"""

import base64
import hashlib
import tempfile
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import sealing
from api.certificates import Authority, key_pem, new_key, pem
from api.clock import now
from api.db import transaction
from api.errors import Refused
from api.nodes.models import CertificateAuthority

CONTROL_NAME = "skerry-control"
LIFETIME = timedelta(days=20 * 365)


def node_name(node_id: str) -> str:
    """The DNS name in a node's certificate."""
    return f"{node_id}.node.skerry"


def ensure(session: Session) -> CertificateAuthority:
    """The installation's CA, made when there is none."""
    found = session.scalar(select(CertificateAuthority).limit(1))
    if found is not None:
        return found
    made = Authority.make("Skerry nodes", LIFETIME)
    session.execute(
        insert(CertificateAuthority)
        .values(
            id=1,
            certificate=pem(made.certificate),
            sealed_key=sealing.seal(key_pem(made.key)),
            created_at=now(),
        )
        .on_conflict_do_nothing()
    )
    return session.scalars(select(CertificateAuthority)).one()


def fingerprint(authority: CertificateAuthority) -> str:
    """Base32 of the SHA-256 of the CA certificate: what a join token carries, so that a node
    recognises the control plane before it trusts anything."""
    der = x509.load_pem_x509_certificate(authority.certificate.encode()).public_bytes(Encoding.DER)
    return base64.b32encode(hashlib.sha256(der).digest()).decode().rstrip("=").lower()


def sign_request(authority: CertificateAuthority, csr: str, name: str) -> str:
    """A certificate for the public key of a node's request; raises Refused for a broken one."""
    try:
        request = x509.load_pem_x509_csr(csr.encode())
    except ValueError as error:
        raise Refused(f"`csr` is not a certificate request in PEM: {error}.") from error
    if not request.is_signature_valid:
        raise Refused("The certificate request is not signed by its own key.")
    return pem(_opened(authority).sign(request.public_key(), name, [name], LIFETIME))


@lru_cache
def gateway_tls() -> tuple[str, str]:
    """Paths of certificate chain and key for the node gateway, in a private temporary folder."""
    with transaction() as session:
        authority = ensure(session)
        key = new_key()
        leaf = _opened(authority).sign(key.public_key(), CONTROL_NAME, [CONTROL_NAME], LIFETIME)
        chain = pem(leaf) + authority.certificate
    folder = Path(tempfile.mkdtemp(prefix="skerry-gateway-"))  # mode 0700
    certificate, private = folder / "chain.pem", folder / "key.pem"
    certificate.write_text(chain)
    private.touch(mode=0o600)
    private.write_text(key_pem(key))
    return str(certificate), str(private)


def _opened(authority: CertificateAuthority) -> Authority:
    return Authority.read(authority.certificate, sealing.unseal(authority.sealed_key))
