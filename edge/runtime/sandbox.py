"""The sandbox around a workerd: a user of its own, namespaces of its own, no files but its own.

bubblewrap starts workerd as the first process of a new pid namespace, so the process that serves is
the sandbox's init: one identity to signal, to meter and to recognise. There is no /proc and no /dev
in it: workerd needs neither.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge.runtime.binary import ENVIRONMENT, Runtime

# systemd's list of user ids calls everything from here to 2^31 unused.
FIRST_UID = 1_900_000_000
CHECK_UID = FIRST_UID - 1
# Several nodes on one machine must not give one user to two accounts.
BLOCKS, BLOCK_UIDS = 2000, 100_000

TRIAL_SECONDS = 10.0

_CONFIG = "/cell.bin"
# Static assets and scheduled events need --experimental. It would let scripts ask for experimental
# flags, too: `refused_flag` is what keeps them from it, at upload and again at each start.
SERVE = ("serve", "--experimental", "--binary")
_WORKERD = "/workerd"
# For what a version that is only tried writes.
_SCRATCH, _SCRATCH_BYTES = "/scratch", 64 * 1024 * 1024
# Empty in every sandbox: static assets of a version that is only tried.
NOWHERE = "/nowhere"


class Level(StrEnum):
    FULL = "full"
    """A user per account, and namespaces."""
    NAMESPACES = "namespaces"
    """Namespaces only: the agent's own user outside, because the agent is not root."""
    NONE = "none"


@dataclass(frozen=True)
class Sandbox:
    level: Level
    workerd: Path
    """The binary, where the sandbox's user can reach it."""
    reason: str = ""
    """Why it is not more, in words for the operator."""

    def serve(self, uid: int, options: Sequence[str], config_fd: int, *more: str) -> list[str]:
        """The command line of a cell. It holds no secret: the config is behind the descriptor."""
        if self.level is Level.NONE:
            return [str(self.workerd), *SERVE, f"/dev/fd/{config_fd}", *more]
        data = ["--ro-bind-data", str(config_fd), _CONFIG]
        return self._inside(uid, [*data, *options], *SERVE, _CONFIG, *more)

    @property
    def empty_folder(self) -> str:
        """A folder with nobody's files, as a workerd in here sees it."""
        return str(Path(__file__).parent) if self.level is Level.NONE else NOWHERE

    @contextmanager
    def scratch(self) -> Iterator[tuple[str, list[str]]]:
        """A folder that is gone afterwards, as a workerd in here sees it, and the options for it."""
        if self.level is Level.NONE:
            with tempfile.TemporaryDirectory(prefix="skerry-scratch-") as folder:
                yield folder, []
        else:
            yield _SCRATCH, ["--size", str(_SCRATCH_BYTES), "--tmpfs", _SCRATCH]

    def as_user(self, uid: int) -> list[str]:
        """What to put before a program that keeps the node's network and files but no privilege."""
        if self.level is not Level.FULL:
            return []
        return _as_user(uid)

    def works(self, options: Sequence[str]) -> str:
        """Run a trivial program in it; answers what went wrong, or an empty string."""
        command = self._inside(CHECK_UID, options, "--version")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TRIAL_SECONDS, env={}, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        said = done.stderr.strip() or f"exit status {done.returncode}"
        return "" if done.returncode == 0 else said

    def _inside(self, uid: int, options: Sequence[str], *arguments: str) -> list[str]:
        return [
            *self.as_user(uid),
            shutil.which("bwrap") or "bwrap",
            *("--unshare-all", "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--clearenv"),
            *(word for pair in ENVIRONMENT.items() for word in ("--setenv", *pair)),
            *("--ro-bind", "/usr/lib", "/usr/lib"),
            *("--ro-bind-try", "/lib", "/lib", "--ro-bind-try", "/lib64", "/lib64"),
            *("--ro-bind", str(self.workerd), _WORKERD),
            # workerd looks here for a config inside of itself, and complains when it finds nothing.
            *("--symlink", _WORKERD, "/proc/self/exe"),
            *("--dir", NOWHERE),
            *options,
            _WORKERD,
            *arguments,
        ]


def find_sandbox(
    runtime: Runtime, folder: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Sandbox:
    """The strongest level that works here, tried out. `folder` holds what cells may reach, and a
    copy of the runtime where the sandbox's user cannot reach the original."""
    if environ.get("SKERRY_SANDBOX") == "off":
        return Sandbox(Level.NONE, runtime.workerd, "SKERRY_SANDBOX is off")
    if shutil.which("bwrap") is None:
        return Sandbox(Level.NONE, runtime.workerd, "bubblewrap (bwrap) is not installed")
    options = door_options(folder) if folder else []
    reasons: list[str] = []
    for level in (Level.FULL, Level.NAMESPACES):
        if level is Level.FULL and os.geteuid() != 0:
            reasons.append("the agent is not root, so cells share its user")
            continue
        found = Sandbox(level, reachable(runtime, folder), "; ".join(reasons))
        complaint = found.works(options)
        if not complaint:
            return found
        reasons.append(complaint)
    return Sandbox(Level.NONE, runtime.workerd, "; ".join(reasons))


def first_uid(node: Path) -> int:
    """Of this node's block: its egress has this one, accounts those after it."""
    digest = hashlib.sha256(str(node).encode()).digest()
    return FIRST_UID + int.from_bytes(digest[:4]) % BLOCKS * BLOCK_UIDS


# Where a cell finds the folder of what it may reach.
DOORS = "/doors"


def door_options(folder: Path) -> list[str]:
    """The folder, not the sockets in it: a mounted socket dies when its listener is made anew."""
    return ["--ro-bind", str(folder), DOORS]


def _as_user(uid: int) -> list[str]:
    return [
        shutil.which("setpriv") or "setpriv",
        *("--reuid", str(uid), "--regid", str(uid), "--clear-groups"),
        *("--no-new-privs", "--inh-caps=-all", "--"),
    ]


def reachable(runtime: Runtime, folder: Path | None) -> Path:
    """The runtime, or a copy of it in `folder` where only its owner can come to the original."""
    path = runtime.workerd.resolve()
    if folder is None or os.geteuid() != 0:
        return path
    if all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents)):
        return path
    copy = folder / f"workerd-{runtime.version}"
    if not copy.exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as unfinished:
            shutil.copyfile(path, unfinished.name)
        Path(unfinished.name).chmod(0o755)
        os.replace(unfinished.name, copy)
    return copy
