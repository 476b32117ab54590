"""Authorities and the certificates they sign: those of the nodes (api/nodes/authority.py) and of HTTPS
(launcher/authority.py). EC keys on P-256, PEM in and out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from api.clock import now

# A clock that is a little behind must not refuse a certificate made just now.
CLOCK_TOLERANCE = timedelta(hours=1)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Unencrypted: for a file that its owner alone may read, or to be sealed."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@dataclass(frozen=True)
class Authority:
    """A certificate that signs others, with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str, lifetime: timedelta, domain: str | None = None) -> "Authority":
        """A new one; with `domain` it is good for names there and below only (RFC 5280, 4.2.1.10)."""
        key, subject = new_key(), _common_name(name)
        builder = (
            _builder(subject, subject, key.public_key(), lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        if domain is not None:
            only = x509.NameConstraints([x509.DNSName(domain)], excluded_subtrees=None)
            builder = builder.add_extension(only, critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def read(cls, certificate: str, key: str) -> "Authority":
        """From PEM; ValueError for what is none, TypeError for a key of another kind."""
        read = serialization.load_pem_private_key(key.encode(), None)
        if not isinstance(read, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is not one that this program made")
        return cls(x509.load_pem_x509_certificate(certificate.encode()), read)

    def sign(
        self,
        key: CertificatePublicKeyTypes,
        subject: str,
        names: Sequence[str],
        lifetime: timedelta,
    ) -> x509.Certificate:
        """A server's certificate for its public key, under these DNS names."""
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            _builder(_common_name(subject), self.certificate.subject, key, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(alternatives, critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self.key, hashes.SHA256())
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - CLOCK_TOLERANCE)
        .not_valid_after(now() - CLOCK_TOLERANCE + lifetime)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _common_name(text: str) -> x509.Name:
    # RFC 5280 lets it be no longer.
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])
