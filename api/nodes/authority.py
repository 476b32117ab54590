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
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import sealing
from api.clock import now
from api.db import transaction
from api.errors import Refused
from api.nodes.models import CertificateAuthority

CONTROL_NAME = "skerry-control"
LIFETIME = timedelta(days=20 * 365)
# A clock that is a little behind must not refuse a certificate made just now.
CLOCK_TOLERANCE = timedelta(hours=1)


def node_name(node_id: str) -> str:
    """The DNS name in a node's certificate."""
    return f"{node_id}.node.skerry"


def ensure(session: Session) -> CertificateAuthority:
    """The installation's CA, made when there is none."""
    found = session.scalar(select(CertificateAuthority).limit(1))
    if found is not None:
        return found
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("Skerry nodes")
    certificate = _builder(subject, subject, key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    signed = certificate.sign(key, hashes.SHA256())
    session.execute(
        insert(CertificateAuthority)
        .values(
            id=1, certificate=_pem(signed), sealed_key=sealing.seal(_key_pem(key)), created_at=now()
        )
        .on_conflict_do_nothing()
    )
    return session.scalars(select(CertificateAuthority)).one()


def fingerprint(authority: CertificateAuthority) -> str:
    """Base32 of the SHA-256 of the CA certificate: what a join token carries, so that a node
    recognises the control plane before it trusts anything."""
    der = x509.load_pem_x509_certificate(authority.certificate.encode()).public_bytes(
        serialization.Encoding.DER
    )
    return base64.b32encode(hashlib.sha256(der).digest()).decode().rstrip("=").lower()


def sign_request(authority: CertificateAuthority, csr: str, name: str) -> str:
    """A certificate for the public key of a node's request; raises Refused for a broken one."""
    try:
        request = x509.load_pem_x509_csr(csr.encode())
    except ValueError as error:
        raise Refused(f"`csr` is not a certificate request in PEM: {error}.") from error
    if not request.is_signature_valid:
        raise Refused("The certificate request is not signed by its own key.")
    return _pem(_leaf(authority, request.public_key(), name))


@lru_cache
def gateway_tls() -> tuple[str, str]:
    """Paths of certificate chain and key for the node gateway, in a private temporary folder."""
    with transaction() as session:
        authority = ensure(session)
        key = ec.generate_private_key(ec.SECP256R1())
        chain = _pem(_leaf(authority, key.public_key(), CONTROL_NAME)) + authority.certificate
    folder = Path(tempfile.mkdtemp(prefix="skerry-gateway-"))  # mode 0700
    certificate, private = folder / "chain.pem", folder / "key.pem"
    certificate.write_text(chain)
    private.touch(mode=0o600)
    private.write_text(_key_pem(key))
    return str(certificate), str(private)


def _leaf(
    authority: CertificateAuthority, public_key: CertificatePublicKeyTypes, name: str
) -> x509.Certificate:
    key = serialization.load_pem_private_key(sealing.unseal(authority.sealed_key).encode(), None)
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    builder = (
        _builder(_name(name), issuer.subject, public_key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    return builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: CertificatePublicKeyTypes
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - CLOCK_TOLERANCE)
        .not_valid_after(now() + LIFETIME)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
