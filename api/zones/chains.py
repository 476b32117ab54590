"""A certificate's chain and its key as somebody uploads them: read, checked, and written as nodes take them.

Whatever the front could not show, or a browser would not take, is refused here: a node that is told of it can
tell nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from api.certificates import pem
from api.clock import now
from api.errors import (
    CertificateInvalid,
    CertificateKeyInvalid,
    CertificateKeyMismatch,
    CertificateNamesInvalid,
    TooLarge,
)
from api.zones import names

# HAProxy takes no more of chain and key together (edge/agent/front/custom.py). A leaf with a hundred names and
# three above it are some 12 KiB; an RSA key of 8,192 bits is 6.
CHAIN_BYTES_MAX, KEY_BYTES_MAX = 64 * 1024, 8 * 1024
CHAIN_LENGTH_MAX = 10
# Every visitor's handshake costs the node one operation with it: a longer one takes several times as long.
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
_CURVES = ("secp256r1", "secp384r1")  # P-256, P-384
_TAKEN = f"RSA of {RSA_BITS_MIN:,} to {RSA_BITS_MAX:,} bits, ECDSA on P-256 or P-384"
# Cloudflare's words for them. OpenSSL and browsers take no others any more.
_SIGNATURES = {
    SignatureAlgorithmOID.RSA_WITH_SHA256: "SHA256WithRSA",
    SignatureAlgorithmOID.RSA_WITH_SHA384: "SHA384WithRSA",
    SignatureAlgorithmOID.RSA_WITH_SHA512: "SHA512WithRSA",
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: "ECDSAWithSHA256",
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: "ECDSAWithSHA384",
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: "ECDSAWithSHA512",
}
_SHOWN_LENGTH_MAX = 200
ServerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Chain:
    """A certificate that a front can show, with all that is told of it."""

    names: list[str]
    """Lower-case A-labels in the order of the certificate; a wildcard is the whole first label."""
    pem: str
    """The leaf first; nothing but certificates."""
    key: str = field(repr=False)
    """PKCS8 in PEM, unencrypted."""
    issuer: str
    signature: str
    fingerprint: str
    """SHA-256 of the leaf in hex."""
    not_before: datetime
    not_after: datetime
    alone: bool
    """Without the one that signed it, which most browsers do not look for elsewhere."""


def read(zone: str, certificate: str, key: str) -> Chain:
    """What was uploaded for the zone of this name.

    Raises TooLarge, CertificateInvalid, CertificateKeyInvalid, CertificateKeyMismatch and CertificateNamesInvalid.
    """
    chain = _certificates(certificate)
    private = _key(key)
    leaf = chain[0]
    try:
        _refuse_other_key(chain, private)
        for number, one in enumerate(chain, 1):
            _refuse_out_of_time(one, number)
            _refuse_old_signature(one, number)
        found = _names(zone, leaf)
        _refuse_broken(chain)
        text, secret = "".join(pem(one) for one in chain), _written(private)
        _refuse_long(len(text) + len(secret), "The certificate, its chain and its key")
        return Chain(
            names=found,
            pem=text,
            key=secret,
            issuer=_issuer(leaf),
            signature=_SIGNATURES[leaf.signature_algorithm_oid],
            fingerprint=leaf.fingerprint(SHA256()).hex(),
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            alone=len(chain) == 1 and leaf.issuer != leaf.subject,
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        # Certificates are read part by part, so a broken one may be noticed as late as here.
        raise CertificateInvalid(
            f"The certificate cannot be read: {_words(error)}. Nothing was changed."
        ) from error


def _certificates(text: str) -> list[x509.Certificate]:
    content = text.encode(errors="replace")
    _refuse_long(len(content), "The certificate and its chain")
    if "PRIVATE KEY-----" in text:
        raise CertificateInvalid(
            "There is a private key among the certificates. Send it as the private key alone. "
            "Nothing was changed, and it was not kept."
        )
    try:
        chain = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise CertificateInvalid(
            "The certificate is no PEM: it has to begin with -----BEGIN CERTIFICATE----- and to be whole, "
            "the certificate of the names first, its chain behind it (certbot's fullchain.pem). "
            "Nothing was changed."
        ) from error
    if len(chain) > CHAIN_LENGTH_MAX:
        raise CertificateInvalid(
            f"The chain has {len(chain):,} certificates, of at most {CHAIN_LENGTH_MAX}. Nothing was changed."
        )
    return chain


def _refuse_long(length: int, what: str) -> None:
    if length > CHAIN_BYTES_MAX:
        raise TooLarge(
            f"{what} have {length:,} bytes, of at most {CHAIN_BYTES_MAX:,}. Nothing was changed."
        )


# --- the key ----------------------------------------------------------------------------------


def _key(text: str) -> ServerKey:
    """A key that browsers take; what is wrong with it never quotes it."""
    content = text.encode(errors="replace")
    if len(content) > KEY_BYTES_MAX:
        raise CertificateKeyInvalid(
            f"The private key has {len(content):,} bytes, of at most {KEY_BYTES_MAX:,}. Nothing was changed."
        )
    try:
        key = serialization.load_pem_private_key(content, None)
    except TypeError:
        raise CertificateKeyInvalid(_ENCRYPTED) from None
    except (ValueError, UnsupportedAlgorithm):
        if "ENCRYPTED" in text:
            raise CertificateKeyInvalid(_ENCRYPTED) from None
        raise CertificateKeyInvalid(
            "The private key is no PEM: it has to begin with -----BEGIN PRIVATE KEY-----, or with RSA or EC "
            "before the word PRIVATE, and to be whole (certbot's privkey.pem). Nothing was changed."
        ) from None
    taken = _taken(key)
    if taken is None:
        raise CertificateKeyInvalid(
            f"The private key is {_kind(key)}. Skerry takes what HAProxy and all browsers do, {_TAKEN}: order "
            "the certificate for such a key. Nothing was changed."
        )
    return taken


_ENCRYPTED = (
    "The private key is encrypted, and nodes have nobody to ask for its password. Decrypt it first "
    "(openssl pkey -in key.pem). Nothing was changed."
)


def _taken(key: PrivateKeyTypes) -> ServerKey | None:
    if isinstance(key, rsa.RSAPrivateKey) and RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key
    return None


def _kind(key: PrivateKeyTypes) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return f"RSA of {key.key_size:,} bits"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return f"ECDSA on {key.curve.name}"
    return type(key).__name__.removesuffix("PrivateKey")


def _written(key: ServerKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def _refuse_other_key(chain: Sequence[x509.Certificate], key: ServerKey) -> None:
    fitting = [at for at, one in enumerate(chain) if _public(one) == key.public_key()]
    if not fitting:
        raise CertificateKeyMismatch(
            f"The private key is not that of the certificate ({_subject(chain[0])}). Nothing was changed."
        )
    if fitting[0] != 0:
        raise CertificateInvalid(
            f"The chain is out of order: certificate {fitting[0] + 1} ({_subject(chain[fitting[0]])}) is the one "
            "of the private key and has to come first, then the one that signed it, and so on. "
            "Nothing was changed."
        )


def _public(certificate: x509.Certificate) -> object:
    """None for a key that is not known, which some authority's may be."""
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


# --- the certificates -------------------------------------------------------------------------


def _refuse_out_of_time(certificate: x509.Certificate, number: int) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if ends <= now():
        said = f"expired on {ends:%Y-%m-%d at %H:%M UTC}"
    elif begins > now():
        said = f"is not valid before {begins:%Y-%m-%d at %H:%M UTC}"
    else:
        return
    raise CertificateInvalid(f"{_which(certificate, number)} {said}. Nothing was changed.")


def _refuse_old_signature(certificate: x509.Certificate, number: int) -> None:
    """Of a root nobody checks it."""
    oid = certificate.signature_algorithm_oid
    root = number > 1 and certificate.issuer == certificate.subject
    if oid not in _SIGNATURES and not root:
        raise CertificateInvalid(
            f"{_which(certificate, number)} is signed with {oid._name}. Browsers take RSA and ECDSA with SHA-256, "
            "SHA-384 or SHA-512. Nothing was changed."
        )


def _refuse_broken(chain: Sequence[x509.Certificate]) -> None:
    """Each has to be signed by the next one."""
    for number, (one, above) in enumerate(pairwise(chain), 1):
        try:
            one.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise CertificateInvalid(
                f"The chain is broken: certificate {number + 1} ({_subject(above)}) did not sign certificate "
                f"{number} ({_subject(one)}). Each has to be followed by the one that signed it. "
                "Nothing was changed."
            ) from error


def _names(zone: str, leaf: x509.Certificate) -> list[str]:
    """The DNS names of a leaf, all of them in the zone."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        written = found.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        written = []
    if not written:
        raise CertificateNamesInvalid(
            "The certificate has no DNS name among its subject alternative names, and browsers look nowhere "
            "else. Nothing was changed."
        )
    return list(dict.fromkeys(_name(zone, text) for text in written))


def _name(zone: str, text: str) -> str:
    """A name as nodes are told it. A wildcard stands for one label, so one above the live URLs catches none."""
    wildcard = "*." if text.startswith("*.") else ""
    try:
        base = names.as_ascii(text.removeprefix(wildcard))
    except names.HostNameError as error:
        raise CertificateNamesInvalid(
            f'The certificate has the name "{text[:200]}", which no host can have: {error}. A wildcard is the '
            "whole first label. Nothing was changed."
        ) from error
    if not names.within(base, zone):
        raise CertificateNamesInvalid(
            f"The certificate has the name {wildcard}{base}, which is not in the zone {zone}. All its names have "
            "to be: order one for this zone alone. Nothing was changed."
        )
    if reserved := names.reserved_host(base):
        raise CertificateNamesInvalid(f"{reserved} Nothing was changed.")
    return wildcard + base


def _issuer(leaf: x509.Certificate) -> str:
    """The organisation that issued it, as Cloudflare has it, else the issuer's own name."""
    for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        for attribute in leaf.issuer.get_attributes_for_oid(oid):
            return _shown(str(attribute.value))
    return _shown(leaf.issuer.rfc4514_string())


def _which(certificate: x509.Certificate, number: int) -> str:
    place = "The certificate" if number == 1 else f"Certificate {number} of the chain"
    return f"{place} ({_subject(certificate)})"


def _subject(certificate: x509.Certificate) -> str:
    return _shown(certificate.subject.rfc4514_string()) or "without a subject"


def _shown(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)[:_SHOWN_LENGTH_MAX]


def _words(error: Exception) -> str:
    return _shown(str(error)).rstrip(".") or type(error).__name__
