import hashlib
import secrets
import uuid


def hex32() -> str:
    """A random id in the form Cloudflare gives to accounts, scripts and nodes: 32 hex digits."""
    return secrets.token_hex(16)


def uuid4() -> str:
    """A random id in the form Cloudflare gives to versions and deployments."""
    return str(uuid.uuid4())


def secret(prefix: str) -> str:
    """A fresh credential of 256 random bits; the prefix lets scanners recognise a leaked one."""
    return prefix + secrets.token_urlsafe(32)


def digest(content: bytes) -> str:
    """`sha256:` and 64 hex digits: how bundles, modules and stored credentials are addressed."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
