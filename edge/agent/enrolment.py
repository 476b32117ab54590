"""A node joins once: checks who the control plane is, then gets a credential of its own."""

import base64
import binascii
import hashlib
import json
import re
import ssl

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge.agent.credential import GATEWAY_NAME, Credential
from edge.agent.settings import Settings
from edge.wire import Fields, WireError

ANSWER_SECONDS = 15.0
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


class EnrolmentError(RuntimeError):
    """The control plane refused, or is not the one the token is from. Trying again is no use."""


class GatewayAwayError(RuntimeError):
    """The control plane does not answer now."""


async def enrol(settings: Settings, control: str, join_token: str) -> Credential:
    """Exchange a one-time join token for a credential."""
    ca = await _checked_ca(control, _ca_hash(join_token))
    key = ec.generate_private_key(ec.SECP256R1())
    request = {
        "join_token": join_token,
        "name": settings.name,
        "agent_url": settings.advertise,
        "csr": _signing_request(key, settings.name),
    }
    answer = await _call(
        ssl.create_default_context(cadata=ca),
        control,
        httpx2.Request("POST", f"{control}/edge/v1/enrolments", json=request),
    )
    if answer.status_code != 201:
        raise EnrolmentError(f"The control plane refused: {_complaint(answer)}")
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        fields = Fields(answer.json(), "enrolment")
        return Credential(
            node_id=fields.text("node_id"),
            control=control,
            token=fields.text("token"),
            push_key=fields.text("push_key"),
            certificate=fields.text("certificate"),
            key=private.decode(),
            ca=ca,
        )
    except (WireError, ValueError) as error:
        raise EnrolmentError(f"The control plane's answer is not readable: {error}") from error


def _ca_hash(join_token: str) -> bytes:
    """The SHA-256 of the control plane's CA, which the token carries: skj1.HASH.SECRET."""
    parts = join_token.split(".")
    if len(parts) != 3 or parts[0] != "skj1":
        raise EnrolmentError("The join token is malformed; it begins with skj1.")
    text = parts[1].upper().rstrip("=")
    try:
        return base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error as error:
        raise EnrolmentError("The join token is malformed.") from error


async def _checked_ca(control: str, expected: bytes) -> str:
    """Ask without trust for the CA, and trust it only if the token vouches for it."""
    # Not the default context: that reads the system's authorities, of which none is asked here.
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    answer = await _call(careless, control, httpx2.Request("GET", f"{control}/edge/v1/ca"))
    for pem in _PEM.findall(_text(answer)):
        certificate = x509.load_pem_x509_certificate(pem.encode())
        der = certificate.public_bytes(serialization.Encoding.DER)
        if hashlib.sha256(der).digest() == expected:
            return certificate.public_bytes(serialization.Encoding.PEM).decode()
    raise EnrolmentError(f"{control} is not the control plane that this join token is from.")


def _text(answer: httpx2.Response) -> str:
    """The PEM, bare or as a JSON field."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text
    return "\n".join(map(str, body.values())) if isinstance(body, dict) else str(body)


async def _call(trust: ssl.SSLContext, control: str, request: httpx2.Request) -> httpx2.Response:
    request.extensions["sni_hostname"] = GATEWAY_NAME
    try:
        async with httpx2.AsyncClient(verify=trust, timeout=ANSWER_SECONDS) as client:
            return await client.send(request)
    except httpx2.TransportError as error:
        raise GatewayAwayError(f"{control} does not answer: {error}") from error


def _complaint(answer: httpx2.Response) -> str:
    try:
        return str(json.loads(answer.content)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _signing_request(key: ec.EllipticCurvePrivateKey, name: str) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = request.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()
