"""What an instance remembers between two runs: DATA/config.json, readable by its owner only."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

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
    """Write atomically, so that a crash leaves the old or the new file, never half of one."""
    write_private(path, json.dumps(asdict(config), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file's content atomically; mode 0600 from the first byte on."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def reachable(bind: str) -> str:
    """The address under which this machine itself reaches a server bound to `bind`, ready for a URL."""
    if bind in ("0.0.0.0", ""):  # noqa: S104 - compared, not bound
        return LOOPBACK
    if bind == "::":
        return "[::1]"
    return f"[{bind}]" if ":" in bind else bind
