"""The certificates that the front shows: where no other fits the one it is given, else one that it makes
itself and nobody trusts; to other nodes the node's own."""

import datetime
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.agent.credential import Credential
from edge.agent.front.template import FrontFiles
from edge.agent.sealing import write_private
from edge.agent.settings import SettingsError

# Browsers refuse certificates that are valid for longer than 398 days.
LIFETIME = datetime.timedelta(days=397)
RENEW_BEFORE = datetime.timedelta(days=30)


def ensure_default_certificate(path: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Take over the file that SKERRY_CERTIFICATE names, with its chain and key; without one, write one
    when there is none or it is about to expire. Raises SettingsError when the file cannot be read."""
    if given := environ.get("SKERRY_CERTIFICATE"):
        write_private(path, _read(Path(given)))
        return
    if path.exists() and _expires_at(path) - _now() > RENEW_BEFORE:
        return
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skerry-default")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("*.localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - datetime.timedelta(minutes=5))
        .not_valid_after(_now() + LIFETIME)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM) + private)


def write_door_files(files: FrontFiles, credential: Credential | None) -> bool:
    """What the front shows other nodes, and whom it trusts of them; answers whether that is new."""
    if credential is None:
        return False
    wanted = {
        files.authority: credential.ca.encode(),
        files.door_certificate: (credential.certificate + credential.key).encode(),
    }
    new = {
        path: content
        for path, content in wanted.items()
        if not path.exists() or path.read_bytes() != content
    }
    for path, content in new.items():
        write_private(path, content)
    return bool(new)


def _read(given: Path) -> bytes:
    try:
        return given.read_bytes()
    except OSError as error:
        raise SettingsError(f"SKERRY_CERTIFICATE: {given}: {error.strerror}") from error


def _expires_at(path: Path) -> datetime.datetime:
    return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
