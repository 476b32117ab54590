"""Custom certificates: checked, and kept in files that HAProxy reads.

A file is named after all that it and its line in the list say, so it never changes: another content is
another file, and what HAProxy has is compared by the names of files alone.
"""

import hashlib
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from edge.agent.front.template import FrontFiles, word
from edge.agent.sealing import write_private

# HAProxy takes a certificate at run time in one of its buffers (72 KiB) or not at all.
PEM_BYTES = 65536
CHECK_SECONDS = 60.0

Listed = dict[str, tuple[str, ...]]
"""The names that a certificate is shown for, by its file's name."""

_LINE = re.compile(r"(?P<file>[0-9a-f]{32}-[0-9a-f]{16}\.pem)(?P<names>( [a-z0-9_.*-]+)+)")


class UnfitError(ValueError):
    """A certificate that the front cannot show; the message says why."""


class CheckError(RuntimeError):
    """HAProxy could not be asked what it thinks of certificates."""


@dataclass(frozen=True)
class CustomCertificate:
    certificate_id: str
    names: tuple[str, ...]
    """Hostnames, in the first label of which may be an asterisk alone."""
    chain: str
    """PEM, the leaf first."""
    key: str = field(repr=False)
    """PEM."""


@dataclass(frozen=True)
class CustomCertificates:
    """All that there are."""

    digest: str
    """By which the control plane recognises them."""
    items: tuple[CustomCertificate, ...]
    malformed: tuple[str, ...] = ()
    """Complaints about those that could not be read."""


def file_of(certificate: CustomCertificate, names: tuple[str, ...]) -> tuple[str, bytes]:
    """Name and content of the file in which it is kept. Raises UnfitError."""
    chain, key = _read_chain(certificate.chain), _read_key(certificate.key)
    if _public(chain[0].public_key()) != _public(key.public_key()):
        raise UnfitError("the key is another certificate's")
    # Written anew: in HAProxy's runtime API an empty line ends a certificate.
    pem = serialization.Encoding.PEM
    content = b"".join(one.public_bytes(pem) for one in chain) + key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    if len(content) > PEM_BYTES:
        raise UnfitError(f"with chain and key it has more than {PEM_BYTES} bytes")
    return f"{certificate.certificate_id}-{_sum(names, content)}.pem", content


def _read_chain(text: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise UnfitError(f"the chain is not readable: {error}") from error


def _read_key(text: str) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(text.encode(), None)
    except TypeError as error:
        raise UnfitError("the key is encrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UnfitError("the key is not readable") from error


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _sum(names: Iterable[str], content: bytes) -> str:
    return hashlib.sha256(" ".join(names).encode() + b"\n" + content).hexdigest()[:16]


def write_list(files: FrontFiles, digest: str, listed: Listed) -> None:
    """One file and one step, so that the digest is always that of what is listed."""
    write_private(files.certificate_list, f"# {digest}\n{_lines(listed)}".encode())


def read_list(files: FrontFiles) -> tuple[str, Listed]:
    """The digest, empty when there is none, and what is listed."""
    if not files.certificate_list.exists():
        return "", {}
    comment, *lines = files.certificate_list.read_text().splitlines() or [""]
    found = [line for text in lines if (line := _LINE.fullmatch(text))]
    return comment.removeprefix("#").strip(), {
        line["file"]: tuple(line["names"].split()) for line in found
    }


def _lines(listed: Mapping[str, tuple[str, ...]]) -> str:
    return "".join(f"{list_line(file, names)}\n" for file, names in listed.items())


def list_line(file: str, names: Iterable[str]) -> str:
    """Relative to the folder of certificates (`crt-base`): nothing in such a line can be escaped."""
    return f"{file} {' '.join(names)}"


def intact(files: FrontFiles, file: str, names: Iterable[str]) -> bool:
    """Whether a file is there and is what it was when it was checked."""
    try:
        content = (files.certificates / file).read_bytes()
    except OSError:
        return False
    return file.endswith(f"-{_sum(names, content)}.pem")


def unfit(program: str, path: str, files: FrontFiles, listed: Listed) -> dict[str, str]:
    """Which of these HAProxy would not start with, and why: it has rules of its own, such as for weak
    keys, and one such certificate would keep it from starting for everybody. Raises CheckError."""
    complaint = _complaint(program, path, files, listed) if listed else ""
    if not complaint:
        return {}
    if len(listed) == 1:
        return dict.fromkeys(listed, complaint)
    entries, middle = list(listed.items()), len(listed) // 2
    first, second = dict(entries[:middle]), dict(entries[middle:])
    return unfit(program, path, files, first) | unfit(program, path, files, second)


def _complaint(program: str, path: str, files: FrontFiles, listed: Listed) -> str:
    """What HAProxy says when it only reads a configuration with these; empty when it would start. Raises
    CheckError when it says nothing about them."""
    tried = files.certificate_list.with_suffix(".tried")
    main = files.certificate_list.with_suffix(".cfg")
    write_private(tried, _lines(listed).encode())
    text = f"""\
global
  crt-base {word(files.certificates)}

defaults
  mode http
  timeout client 1s
  timeout connect 1s
  timeout server 1s

frontend front
  bind 127.0.0.1:443 ssl crt-list {word(tried)}
"""
    write_private(main, text.encode())
    try:
        done = subprocess.run(
            [program, "-c", "-f", str(main)],
            env={"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CHECK_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CheckError(f"HAProxy could not be asked: {error}") from error
    finally:
        tried.unlink()
        main.unlink()
    if done.returncode == 0:
        return ""
    lines = done.stderr.splitlines()
    alerts = [line for line in lines if "[ALERT]" in line and str(files.certificates) in line]
    if not alerts:
        raise CheckError(f"HAProxy ended with {done.returncode}: {done.stderr[-500:]}")
    said = alerts[0].rpartition(" : ")[2]
    return f"HAProxy does not take it, as with a key or signature that is too weak: {said[:500]}"
