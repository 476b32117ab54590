"""What points an unmodified wrangler at this instance, for the shells that people use.

The same variables as `./skerry env` sets on the machine itself (launcher/environment.py).
"""

import ipaddress
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Request

from api.settings import settings

TOKEN_PLACEHOLDER = "paste-your-token-here"  # noqa: S105 - says what belongs there


@dataclass(frozen=True)
class Block:
    """Lines to paste into one kind of shell."""

    name: str
    shell: str
    text: str


def site(request: Request) -> str:
    """Where people reach this instance, without a slash at the end.

    The setting names it; while that is a loopback address (the default), whoever came from another
    machine gets the address that evidently works from there.
    """
    configured = settings().public_url.rstrip("/")
    if _is_loopback(urlsplit(configured).hostname or ""):
        return f"{request.url.scheme}://{request.url.netloc}"
    return configured


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def variables(address: str, account_id: str, token: str) -> dict[str, str]:
    api = f"{address}/client/v4"
    return {
        "CLOUDFLARE_API_BASE_URL": api,
        "CLOUDFLARE_BASE_URL": api,
        "CLOUDFLARE_API_TOKEN": token,
        "CLOUDFLARE_ACCOUNT_ID": account_id,
        "WRANGLER_AUTH_DOMAIN": urlsplit(address).netloc,
        "WRANGLER_AUTH_URL": f"{address}/oauth2/auth",
        "WRANGLER_TOKEN_URL": f"{address}/oauth2/token",
        "WRANGLER_REVOKE_URL": f"{address}/oauth2/revoke",
        "WRANGLER_SEND_METRICS": "false",
        "WRANGLER_SEND_ERROR_REPORTS": "false",
        "WRANGLER_HIDE_BANNER": "true",
        "CREATE_CLOUDFLARE_TELEMETRY_DISABLED": "1",
        "CLOUDFLARE_CF_FETCH_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }


def posix(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def fish(name: str, value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{quoted}'"


def powershell(name: str, value: str) -> str:
    quoted = value.replace("'", "''")
    return f"$Env:{name} = '{quoted}'"


_SHELLS: list[tuple[str, str, Callable[[str, str], str]]] = [
    ("posix", "bash or zsh", posix),
    ("fish", "fish", fish),
    ("powershell", "PowerShell", powershell),
]


def blocks(found: dict[str, str]) -> list[Block]:
    """The variables for each shell."""
    return [
        Block(name, shell, "\n".join(line(*pair) for pair in found.items()))
        for name, shell, line in _SHELLS
    ]
