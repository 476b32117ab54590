"""`./skerry trust`: let this machine believe the certificates of its own instance; `--remove` takes that back."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher import installation
from launcher.errors import LauncherError
from launcher.paths import DataDirectory, program_path


@dataclass(frozen=True)
class SystemStore:
    """Debian's list of authorities: curl, wget, git and most programs in C read it (update-ca-certificates(8))."""

    folder: Path = Path("/usr/local/share/ca-certificates")
    arguments: tuple[str, ...] = ()
    """For update-ca-certificates."""
    bundle: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    """What it writes, and programs read."""

    def trusts(self, ca: Path) -> bool:
        """Whether programs that read the list accept what this authority signed."""
        return self.bundle.exists() and ca.read_text().strip() in self.bundle.read_text()

    def put(self, name: str, ca: Path) -> str:
        target = self.folder / f"{name}.crt"
        _as_root(["install", "-D", "-m", "0644", str(ca), str(target)])
        self._update()
        return f"Trusted by this system: {target}"

    def remove(self, name: str) -> str:
        target = self.folder / f"{name}.crt"
        if not target.exists():
            return f"This system did not trust it: there is no {target}."
        _as_root(["rm", str(target)])
        self._update()
        return f"No longer trusted by this system: removed {target}"

    def _update(self) -> None:
        _as_root([_update_program(), *self.arguments])


@dataclass(frozen=True)
class BrowserStore:
    """NSS: Chromium's own list in a person's home."""

    folder: Path

    def put(self, name: str, ca: Path) -> str:
        if not (self.folder / "cert9.db").exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._certutil("-N", "--empty-password")
        self._certutil("-A", "-t", "C,,", "-n", name, "-i", str(ca))
        return f"Trusted by Chromium: {self.folder}"

    def remove(self, name: str) -> str:
        if not (self.folder / "cert9.db").exists():
            return "Chromium did not trust it."
        done = self._certutil("-D", "-n", name, check=False)
        return "No longer trusted by Chromium." if done == 0 else "Chromium did not trust it."

    def _certutil(self, *arguments: str, check: bool = True) -> int:
        done = subprocess.run(
            ["certutil", "-d", f"sql:{self.folder}", *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise LauncherError(f"certutil failed: {done.stderr.strip()}")
        return done.returncode


def run(data: DataDirectory, *, remove: bool) -> int:
    """Install the authority or take it out wherever this machine can, and say where."""
    if not data.ca.exists():
        raise LauncherError(f"{data.path} has no authority yet: run ./skerry up{data.flag} first.")
    name = name_of(data)
    for store in stores():
        print(store.remove(name) if remove else store.put(name, data.ca))
    if shutil.which("certutil") is None:
        print(
            "Chromium and Firefox have lists of their own: sudo apt-get install libnss3-tools and repeat this for "
            f"Chromium; in Firefox's settings import {data.ca}."
        )
    if not remove:
        print(f"Node reads NODE_EXTRA_CA_CERTS, which ./skerry env{data.flag} sets.")
    return 0


def stores() -> Iterator[SystemStore | BrowserStore]:
    yield SystemStore()
    if shutil.which("certutil") is not None:
        yield BrowserStore(Path.home() / ".pki" / "nssdb")


def name_of(data: DataDirectory) -> str:
    """The same for as long as the data directory stays where it is, so that a new authority replaces the old one."""
    return f"skerry-{hashlib.sha256(str(data.path).encode()).hexdigest()[:8]}"


def _update_program() -> str:
    found = program_path("update-ca-certificates")
    if found is None:
        raise LauncherError(
            "There is no update-ca-certificates here: on Debian, sudo apt-get install ca-certificates; elsewhere "
            "add the file yourself."
        )
    return found


def _as_root(command: list[str]) -> None:
    before = installation.as_root()
    if before is None:
        raise LauncherError(f"Only root may do this. Run: sudo {' '.join(command)}")
    done = subprocess.run(
        [*before, *command],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LauncherError(f"{' '.join(command)} failed: {done.stderr.strip()}")
