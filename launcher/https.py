"""What `./skerry doctor` says of HTTPS: authority, certificate, who trusts it, and what the front really shows."""

import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from launcher import config, instance_lock, ports, trust
from launcher.findings import FAIL, OK, WARN, Finding
from launcher.paths import DataDirectory
from launcher.programs import Instance

if TYPE_CHECKING:
    from cryptography import x509

# To this machine itself: longer means that nothing answers.
HANDSHAKE_SECONDS = 5.0


def findings(data: DataDirectory) -> Iterator[Finding]:
    if not data.ca.exists():
        yield Finding(OK, "authority", f"none yet: ./skerry up{data.flag} makes one for HTTPS")
        return
    try:
        # Not at the top: the packages are not there before the first set-up, and take 0.1 s to import.
        from launcher import authority  # noqa: PLC0415

        ca, certificate = authority.load(data.ca), authority.load(data.certificate)
        good_for, names = authority.domains(ca), authority.names(certificate)
    except ImportError:
        yield Finding(WARN, "authority", "unknown: ./skerry up installs what reads it")
        return
    except (OSError, ValueError) as error:
        text = f"cannot be read ({error}): remove {data.certificates}, then ./skerry up{data.flag}"
        yield Finding(FAIL, "authority", f"{text} makes new ones")
        return
    now = datetime.now(UTC)
    below = f"for {', '.join(good_for)} and names below"
    yield _validity("authority", ca, below, authority.ends_soon(ca, now), data)
    if authority.signed(ca, certificate):
        soon = authority.ends_soon(certificate, now)
        yield _validity("certificate", certificate, ", ".join(names), soon, data)
    else:
        text = f"not signed by this authority: remove {data.certificate}, then {_anew(data)}"
        yield Finding(FAIL, "certificate", text)
    yield _system(data)
    yield _node(data)
    if instance_lock.supervisor(data) is not None:
        yield _front(Instance(config.load(data.config), data), names)


def _validity(
    subject: str, found: "x509.Certificate", text: str, soon: bool, data: DataDirectory
) -> Finding:
    ends = found.not_valid_after_utc
    told = f"{text}; valid until {ends:%Y-%m-%d}"
    if not soon:
        return Finding(OK, subject, told)
    level = FAIL if ends < datetime.now(UTC) else WARN
    again = f", then ./skerry trust{data.flag}" if subject == "authority" else ""
    return Finding(level, subject, f"{told}: {_anew(data)}{again}")


def _anew(data: DataDirectory) -> str:
    return f"./skerry down{data.flag} and ./skerry up{data.flag} make a new one"


def _system(data: DataDirectory) -> Finding:
    if trust.SystemStore().trusts(data.ca):
        return Finding(OK, "trust", "this system trusts the authority")
    text = f"this system does not trust the authority, so https:// is refused: ./skerry trust{data.flag}"
    return Finding(WARN, "trust", text)


def _node(data: DataDirectory) -> Finding:
    """What a wrangler that is started in this shell would trust."""
    found = os.environ.get("NODE_EXTRA_CA_CERTS")
    connect = f'eval "$(./skerry env{data.flag})"'
    if not found:
        return Finding(WARN, "node's trust", f"NODE_EXTRA_CA_CERTS is not set here: {connect}")
    if not _holds(Path(found), data.ca):
        text = f"NODE_EXTRA_CA_CERTS is {found}, without this instance's authority: {connect}"
        return Finding(WARN, "node's trust", text)
    return Finding(OK, "node's trust", f"NODE_EXTRA_CA_CERTS is {found}")


def _holds(bundle: Path, ca: Path) -> bool:
    try:
        return ca.read_text() in bundle.read_text()
    except OSError:
        return False


def _front(instance: Instance, names: list[str]) -> Finding:
    """A handshake as a visitor makes it who trusts the authority, else as one who trusts what this system does."""
    port = instance.config.ports["edge-1.https"]
    name = names[-1].replace("*", "any")
    try:
        _shake_hands(instance, name, cafile=str(instance.data.ca))
        shown = f"port {port} answers as {name}"
    except ssl.SSLCertVerificationError as own:
        # With SKERRY_CERTIFICATE it is somebody else's.
        try:
            _shake_hands(instance, name)
            shown = f"port {port} answers as {name} with a certificate that this system trusts"
        except OSError:
            text = f"port {port} shows another certificate ({own.verify_message}): {_anew(instance.data)}"
            return Finding(FAIL, "https", text)
    except OSError as error:
        text = f"port {port} does not answer ({error.strerror or error}): see {instance.data.logs}/edge-1-agent.log"
        return Finding(FAIL, "https", text)
    rest = (
        "" if port == ports.STANDARD_HTTPS else "; wrangler prints no port, ./skerry url NAME does"
    )
    return Finding(OK, "https", f"{shown}{rest}")


def _shake_hands(instance: Instance, name: str, cafile: str | None = None) -> None:
    """Raises SSLCertVerificationError for a certificate that is not trusted, another OSError for no answer."""
    address = config.reachable(instance.config.bind).strip("[]")
    with (
        socket.create_connection(
            (address, instance.config.ports["edge-1.https"]), timeout=HANDSHAKE_SECONDS
        ) as plain,
        ssl.create_default_context(cafile=cafile).wrap_socket(plain, server_hostname=name),
    ):
        pass
