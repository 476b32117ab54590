"""First-run set-up: Python packages, npm packages, programs from apt. Finished parts cost a few file reads.

Each part writes its stamp last, so an interrupted run is simply repeated.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.environment import node_version
from launcher.errors import LauncherError
from launcher.paths import NODE_22_BIN, NODE_MODULES, ROOT, VENV_PYTHON, WORKERD, program_path
from launcher.progress import say, step

VENV = ROOT / ".venv"
UV = VENV / "bin" / "uv"
UV_LOCK = ROOT / "launcher" / "uv.lock.txt"
LOCK, DEV_LOCK = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
PYTHON_STAMP = VENV / ".skerry-stamp"
NPM_STAMP = NODE_MODULES / ".skerry-stamp"
GALLERY_STAMP = ROOT / "build" / "gallery" / ".stamp"
OLDEST_NODE_FOR_NPM = (18, 0)

# Program → its Debian package.
TO_RUN = {"haproxy": "haproxy", "bwrap": "bubblewrap"}
# Networks of their own for scripts that open connections, which only a root's node can give.
if os.geteuid() == 0:
    TO_RUN |= {"slirp4netns": "slirp4netns", "nft": "nftables"}
TO_TEST = {
    **TO_RUN,
    "chromium": "chromium",
    "wrk": "wrk",
    # For the client of Lambda that tests/aws/client.py compiles.
    "g++": "g++",
    "curl-config": "libcurl4-openssl-dev",
}


def ensure(*, testing: bool = False) -> None:
    """Install what is missing; LauncherError says what a person has to do where we cannot."""
    missing = missing_programs(testing=testing)
    if not missing and _finished(testing=testing):
        return
    with _only_one():
        if not _finished(testing=testing):
            say("Setting up; the first time takes about a minute.")
        _install_programs(missing)
        if not _python_finished(testing=testing):
            _install_python_packages(testing=testing or _has_dev_packages())
        if not _npm_finished():
            _install_npm_packages()
        if not _gallery_finished():
            _build_gallery()


def _finished(*, testing: bool) -> bool:
    return _python_finished(testing=testing) and _npm_finished() and _gallery_finished()


@contextmanager
def _only_one() -> Iterator[None]:
    """Let one set-up run at a time on this checkout; the lock is on this very file, so nothing is left behind."""
    with Path(__file__).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step("waiting for another ./skerry that sets up"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- Python packages ------------------------------------------------------------------------


def _stamp(lock: Path) -> str:
    return f"{lock.name} {hashlib.sha256(lock.read_bytes()).hexdigest()}\n"


def _read(stamp: Path) -> str:
    try:
        return stamp.read_text()
    except FileNotFoundError:
        return ""


def _has_dev_packages() -> bool:
    # They stay once they are there: `up` after `test` must not take them away again.
    return _read(PYTHON_STAMP).startswith(DEV_LOCK.name)


def _python_finished(*, testing: bool) -> bool:
    lock = DEV_LOCK if testing or _has_dev_packages() else LOCK
    return VENV_PYTHON.exists() and _read(PYTHON_STAMP) == _stamp(lock)


def _install_python_packages(*, testing: bool) -> None:
    lock = DEV_LOCK if testing else LOCK
    # Which lock it was stays known: after a failed run the next one must not drop the test packages.
    if PYTHON_STAMP.parent.is_dir():
        PYTHON_STAMP.write_text(f"{lock.name} unfinished\n")
    with step("Python environment"):
        if not _works([str(VENV_PYTHON), "-m", "pip", "--version"]):
            _run("the Python environment", [_base_python(), "-m", "venv", "--clear", str(VENV)])
        pip = [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if not _works([str(UV), "--version"]):
            _run("uv", [*pip, "--require-hashes", "-r", str(UV_LOCK)])
    with step("Python packages"):
        # Compiled now, on all cores: else the first six processes of `up` would all compile at the same time.
        sync = [
            str(UV),
            "pip",
            "sync",
            "--quiet",
            "--compile-bytecode",
            "--require-hashes",
            "--python",
            str(VENV_PYTHON),
        ]
        _run("the Python packages", [*sync, str(lock)])
    PYTHON_STAMP.write_text(_stamp(lock))


def _base_python() -> str:
    """The interpreter that the environment is made from: ours, or what ours was made from."""
    return getattr(sys, "_base_executable", None) or sys.executable


# --- npm packages ---------------------------------------------------------------------------


def _npm_finished() -> bool:
    return _read(NPM_STAMP) == _stamp(ROOT / "package-lock.json")


def _install_npm_packages() -> None:
    version = node_version()
    if version is None or shutil.which("npm") is None:
        raise LauncherError(
            "npm is missing: install Node.js 18 or newer with npm (on Debian: apt-get install npm)."
        )
    if version < OLDEST_NODE_FOR_NPM:
        raise LauncherError(f"npm runs on Node.js {version[0]} here; 18 or newer is needed.")
    with step("npm packages"):
        # Among them the pinned runtime. `npm ci` empties node_modules first, the stamp in it included.
        _run("the npm packages", ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"])
    for program in (WORKERD, NODE_22_BIN / "node"):
        if not program.exists():
            raise LauncherError(
                f"npm ci did not bring {program}. Does npm's configuration omit optional packages or ignore scripts?"
            )
    NPM_STAMP.write_text(_stamp(ROOT / "package-lock.json"))


# --- the gallery ----------------------------------------------------------------------------


def _gallery_state() -> str:
    """Changes with every edit of a template and with the tools that bundle them."""
    digest = hashlib.sha256(_read(NPM_STAMP).encode())
    for path in sorted((ROOT / "gallery").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest() + "\n"


def _gallery_finished() -> bool:
    return not (ROOT / "gallery" / "build.py").exists() or _read(GALLERY_STAMP) == _gallery_state()


def _build_gallery() -> None:
    state = _gallery_state()
    with step("gallery templates"):
        _run("the gallery templates", [str(VENV_PYTHON), "-m", "gallery.build"])
    GALLERY_STAMP.parent.mkdir(parents=True, exist_ok=True)
    GALLERY_STAMP.write_text(state)


# --- programs from apt ----------------------------------------------------------------------


def missing_programs(*, testing: bool) -> list[str]:
    """Debian packages whose programs this machine lacks."""
    wanted = TO_TEST if testing else TO_RUN
    return [package for program, package in wanted.items() if program_path(program) is None]


def _install_programs(packages: list[str]) -> None:
    if not packages:
        return
    apt = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    before = as_root()
    if before is None or shutil.which("apt-get") is None:
        raise LauncherError(
            f"These programs are missing: {', '.join(packages)}. Install them, on Debian with:\n"
            f"  sudo apt-get update && sudo {' '.join(apt)}"
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt packages {', '.join(packages)}"):
        _run("apt's lists", [*before, "apt-get", "update", "-q"], quiet)
        _run("apt packages", [*before, *apt], quiet)


def as_root() -> list[str] | None:
    """What to put before a command that root must run; None when we may not."""
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "--non-interactive"]
    return sudo if shutil.which("sudo") and _works([*sudo, "true"]) else None


# --- running tools --------------------------------------------------------------------------


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(what: str, command: list[str], added: dict[str, str] | None = None) -> None:
    """Run a tool quietly; all it said is in the error when it fails."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(added or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LauncherError(
            f"Setting up {what} failed: {' '.join(command)}\n{_without_colour(done.stdout)}"
        )


def _without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
