"""What an instance remembers between two runs: DATA/config.json, readable by its owner only."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from api.private_file import write_private
from launcher.errors import LauncherError

LOOPBACK = "127.0.0.1"


@dataclass
class Config:
    """Ports, passwords and sizes, chosen once; a flag of `up` overrides and is remembered."""

    bind: str = LOOPBACK
    nodes: int = 1
    ports: dict[str, int] = field(default_factory=dict)
    """By purpose: control, gateway, postgres, valkey, edge-1.http, edge-1.https, edge-1.agent, …"""
    passwords: dict[str, str] = field(default_factory=dict)
    account_id: str = ""
    """Empty until the first `up` made the account."""

    def password(self, name: str) -> str:
        """The password of an embedded server, made at its first use."""
        return self.passwords.setdefault(name, secrets.token_urlsafe(24))


def load(path: Path) -> Config:
    """Read the configuration; the defaults when there is none yet.

    Raises LauncherError when the file is not ours: it holds passwords, so it is never silently replaced.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Config()
    try:
        return Config(**json.loads(text))
    except (TypeError, ValueError) as error:
        raise LauncherError(
            f"{path} cannot be read ({error}). Restore it, or start with another --data."
        ) from error


def save(config: Config, path: Path) -> None:
    write_private(path, json.dumps(asdict(config), indent=2) + "\n")


def reachable(bind: str) -> str:
    """The address under which this machine itself reaches a server bound to `bind`, ready for a URL."""
    if bind in ("0.0.0.0", ""):  # noqa: S104 - compared, not bound
        return LOOPBACK
    if bind == "::":
        return "[::1]"
    return f"[{bind}]" if ":" in bind else bind
