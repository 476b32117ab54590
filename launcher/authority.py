"""A certificate authority for this instance alone, and the certificate that its nodes show under local names.

Made on this machine, for names below one domain only: whoever trusts it trusts it with nothing else. Needs the package
cryptography: imported by launcher.preparation, not by the launcher itself.
"""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from launcher.config import write_private
from launcher.paths import DataDirectory

CA_LIFETIME = datetime.timedelta(days=3650)
# Browsers refuse certificates that are valid for longer than 398 days.
LEAF_LIFETIME = datetime.timedelta(days=397)
RENEW_BEFORE = datetime.timedelta(days=60)
# So that a clock that is a little behind does not refuse a new one.
BACKDATED = datetime.timedelta(minutes=5)


def ensure(data: DataDirectory, domain: str, subdomains: list[str]) -> None:
    """Make the authority once and the certificate as often as it is needed, for every `*.<subdomain>.<domain>`."""
    data.certificates.mkdir(mode=0o700, exist_ok=True)
    names = [domain, *(f"*.{subdomain}.{domain}" for subdomain in sorted(subdomains))]
    if not _fits_domain(data.ca, domain):
        _make_authority(data, domain)
    if not _fits_names(data, names):
        _make_leaf(data, names)


def _fits_domain(path: Path, domain: str) -> bool:
    if not path.exists():
        return False
    found = _load(path)
    allowed = found.extensions.get_extension_for_class(x509.NameConstraints).value
    return x509.DNSName(domain) in (allowed.permitted_subtrees or []) and _is_fresh(found)


def _fits_names(data: DataDirectory, names: list[str]) -> bool:
    if not data.certificate.exists():
        return False
    found = _load(data.certificate)
    shown = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    issued_by_ours = found.issuer == _load(data.ca).subject
    return issued_by_ours and shown.get_values_for_type(x509.DNSName) == names and _is_fresh(found)


def _make_authority(data: DataDirectory, domain: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial number keeps two authorities apart in a list that people read, and in a chain.
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Skerry {serial:x}"[:20])])
    certificate = (
        _builder(name, name, key.public_key(), CA_LIFETIME)
        .serial_number(serial)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.NameConstraints(permitted_subtrees=[x509.DNSName(domain)], excluded_subtrees=None),
            critical=True,
        )
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(data.ca_key, _private(key))
    write_private(data.ca, _public(certificate))


def _make_leaf(data: DataDirectory, names: list[str]) -> None:
    ca = _load(data.ca)
    ca_key = serialization.load_pem_private_key(data.ca_key.read_bytes(), None)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{data.ca_key} is not a key that this program made")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skerry-front")])
    certificate = (
        _builder(subject, ca.subject, key.public_key(), LEAF_LIFETIME)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
        )
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    write_private(data.certificate, _public(certificate) + _public(ca) + _private(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: datetime.timedelta
) -> x509.CertificateBuilder:
    start = _now() - BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(start)
        .not_valid_after(start + life)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _is_fresh(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc - _now() > RENEW_BEFORE


def _public(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
