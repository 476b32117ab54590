"""A certificate authority for this instance alone, and the certificate that its nodes show under local names.

Made on this machine, for names below one domain only: whoever trusts it trusts it with nothing else. Needs the API's
packages: imported by launcher.preparation and, once that ran, by launcher.https.
"""

import secrets
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from api.certificates import Authority, key_pem, new_key, pem
from api.clock import now
from api.private_file import write_private
from launcher.paths import DataDirectory

CA_LIFETIME = timedelta(days=3650)
# Browsers refuse certificates that are valid for longer than 398 days.
LEAF_LIFETIME = timedelta(days=397)
RENEW_BEFORE = timedelta(days=60)


def ensure(data: DataDirectory, domain: str, subdomains: list[str]) -> None:
    """Make the authority once and the certificate as often as it is needed, for every `*.<subdomain>.<domain>`."""
    data.certificates.mkdir(mode=0o700, exist_ok=True)
    names = [domain, *(f"*.{subdomain}.{domain}" for subdomain in sorted(subdomains))]
    if not _fits_domain(data.ca, domain):
        _make_authority(data, domain)
    if not _fits_names(data, names):
        _make_leaf(data, names)


def domains(authority: x509.Certificate) -> list[str]:
    """What it is good for: these names, and those below them."""
    allowed = authority.extensions.get_extension_for_class(x509.NameConstraints).value
    return [str(name.value) for name in allowed.permitted_subtrees or []]


def names(certificate: x509.Certificate) -> list[str]:
    """The DNS names that it is shown under."""
    shown = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return shown.get_values_for_type(x509.DNSName)


def load(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; ValueError when it has none."""
    return x509.load_pem_x509_certificate(path.read_bytes())


def ends_soon(certificate: x509.Certificate, moment: datetime) -> bool:
    """Whether the next `up` makes a new one."""
    return certificate.not_valid_after_utc - moment <= RENEW_BEFORE


def signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether the one signed the other; their validity is another question."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _fits_domain(path: Path, domain: str) -> bool:
    if not path.exists():
        return False
    found = load(path)
    return domain in domains(found) and not ends_soon(found, now())


def _fits_names(data: DataDirectory, wanted: list[str]) -> bool:
    if not data.certificate.exists():
        return False
    found = load(data.certificate)
    ours = signed(load(data.ca), found)
    return ours and names(found) == wanted and not ends_soon(found, now())


def _make_authority(data: DataDirectory, domain: str) -> None:
    # The number keeps two authorities apart in a list that people read, and in a chain.
    made = Authority.make(f"Skerry {secrets.token_hex(6)}", CA_LIFETIME, domain)
    write_private(data.ca_key, key_pem(made.key))
    write_private(data.ca, pem(made.certificate))


def _make_leaf(data: DataDirectory, wanted: list[str]) -> None:
    ours, key = Authority.read(data.ca.read_text(), data.ca_key.read_text()), new_key()
    certificate = ours.sign(key.public_key(), "skerry-front", wanted, LEAF_LIFETIME)
    write_private(data.certificate, pem(certificate) + pem(ours.certificate) + key_pem(key))
