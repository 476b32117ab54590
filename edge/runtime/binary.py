"""Where the pinned workerd and its schema are."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

# Of each workerd. Its allocator (tcmalloc) keeps what was freed by CPU instead of by thread only where the C library
# leaves it the kernel's restartable sequences (rseq(2)), and then takes a third less of a busy cell's time.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}

CHECKOUT = Path(__file__).resolve().parents[2]


class RuntimeMissingError(RuntimeError):
    """The runtime is not installed where the settings say."""


@dataclass(frozen=True)
class Runtime:
    """The workerd binary and the folder that holds its `workerd.capnp`."""

    workerd: Path
    schema_dir: Path

    @cached_property
    def version(self) -> str:
        """The release as a date, such as 2026-11-17."""
        out = subprocess.run(
            [str(self.workerd), "--version"], capture_output=True, text=True, check=True, timeout=10
        )
        return out.stdout.split()[-1]


def find_runtime(environ: Mapping[str, str] = os.environ) -> Runtime:
    """SKERRY_WORKERD and SKERRY_WORKERD_SCHEMA_DIR, else node_modules of this checkout."""
    packages = CHECKOUT / "node_modules"
    workerd = Path(
        environ.get("SKERRY_WORKERD") or packages / "@cloudflare/workerd-linux-64/bin/workerd"
    )
    schema_dir = Path(environ.get("SKERRY_WORKERD_SCHEMA_DIR") or packages / "workerd")
    if not os.access(workerd, os.X_OK):
        raise RuntimeMissingError(f"There is no workerd at {workerd}. Set SKERRY_WORKERD.")
    if not (schema_dir / "workerd.capnp").is_file():
        raise RuntimeMissingError(
            f"There is no workerd.capnp in {schema_dir}. Set SKERRY_WORKERD_SCHEMA_DIR."
        )
    return Runtime(workerd=workerd, schema_dir=schema_dir)
