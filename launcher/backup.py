"""`./skerry backup FILE`: what an instance needs to come back, in one file. The instance may run meanwhile."""

import subprocess
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from launcher import archive, database, started
from launcher.errors import LauncherError
from launcher.paths import ROOT, DataDirectory
from launcher.programs import PYTHON
from launcher.progress import say, step

DUMP = "database.dump"
# Of a node only who it is, and what its stores hold. What it runs and the bundles come from the control plane: a copy of its own state would
# be of another moment than the dump, and a node that is ahead of the control plane ignores what that sends.
STORES = "stores"
OF_A_NODE = ("credential.json", "node-certificate.pem", "node-key.pem")


def run(data: DataDirectory, target: Path) -> int:
    """Write the backup; LauncherError when the file exists or the database does not answer."""
    instance = started.find(data)
    if target.exists():
        raise LauncherError(f"{target} exists already: choose another name.")
    if not target.parent.is_dir():
        raise LauncherError(f"There is no folder {target.parent}.")
    # Beside the target, so that the finished file only has to be renamed.
    with tempfile.TemporaryDirectory(prefix=".skerry-backup-", dir=target.parent) as folder:
        dump = Path(folder) / DUMP
        with database.served(instance) as url, step("dumping the database"):
            schema = database.ask(url, "SELECT version_num FROM alembic_version")
            database.dump(url, dump)
        with step("copying what Workers store"):
            stored = _stored(data, Path(folder) / "nodes")
        files = {DUMP: dump, **_files(data), **stored}
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = archive.describe(files, version=version(), schema=schema, made_at=made_at)
        with step("packing"):
            archive.write(target, manifest, files, Path(folder))
    say(
        f"{target}: {max(target.stat().st_size // 1000, 1):,} kB. It holds the master key: keep it as you keep passwords."
    )
    return 0


def _files(data: DataDirectory) -> dict[str, Path]:
    """By name in the archive, which is the name in the data directory."""
    nodes = (node / name for node in data.path.glob("nodes/*") for name in OF_A_NODE)
    # The authority too: whoever trusts it need not do so again.
    own = [data.config, data.master_key, data.api_token, data.ca, data.ca_key]
    wanted = [*own, *sorted(nodes)]
    return {str(path.relative_to(data.path)): path for path in wanted if path.exists()}


def _stored(data: DataDirectory, scratch: Path) -> dict[str, Path]:
    """A copy of the data in each node's stores, by name in the archive."""
    for node in sorted(data.path.glob("nodes/*")):
        copy = scratch / node.name / STORES
        command = [*PYTHON, "-m", "edge.agent", "snapshot", "--dir", str(node), "--to", str(copy)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LauncherError(f"The data of {node.name} cannot be copied: {done.stdout[-500:]}")
    found = sorted(path for path in scratch.rglob("*") if path.is_file())
    return {str(path.relative_to(scratch.parent)): path for path in found}


def version() -> str:
    """Of this checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])
