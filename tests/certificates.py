"""Certificates as people and nodes have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.clock import now

PEM = serialization.Encoding.PEM


def request_certificate() -> str:
    """A certificate request such as a node makes when it enrols, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(PEM).decode()


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, and below whom it stands."""

    certificate: x509.Certificate
    private: Any
    above: "Issued | None" = None

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(PEM).decode()

    @property
    def chain(self) -> str:
        """With all above it but the root."""
        return self.pem + (self.above.chain if self.above and self.above.above else "")

    @property
    def key(self) -> str:
        return self.private.private_bytes(  # type: ignore[no-any-return]
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def encrypted_key(self) -> str:
        locked = serialization.BestAvailableEncryption(b"password")
        return self.private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, locked).decode()  # type: ignore[no-any-return]

    @property
    def body(self) -> dict[str, str]:
        """As the API takes it."""
        return {"certificate": self.chain, "private_key": self.key}


def issue(
    *names: str,
    by: Issued | None = None,
    called: str = "",
    key: Any = None,
    begins: datetime | None = None,
    days: float = 90,
    alternatives: Sequence[x509.GeneralName] | None = None,
    hash_: hashes.HashAlgorithm | None = None,
) -> Issued:
    """A certificate for DNS names, signed by another or, as a root is, by itself.

    Without names it has no subject alternative names, unless `alternatives` are given.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called or "".join(names[:1]))])
    begins = begins or now() - timedelta(hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    listed = alternatives or [x509.DNSName(name) for name in names]
    if listed:
        builder = builder.add_extension(x509.SubjectAlternativeName(listed), critical=False)
    signed = builder.sign(by.private if by else key, hash_ or hashes.SHA256())
    return Issued(signed, key, by)


def authority() -> Issued:
    """One that signs leaves, below a root."""
    return issue(by=issue(called="Root"), called="Intermediate")
