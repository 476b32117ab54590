"""`./skerry storage move`: carries what Workers store from this instance's nodes into the bucket."""

import os
import subprocess

from launcher import children, programs, started
from launcher.errors import LauncherError
from launcher.paths import ROOT, DataDirectory
from launcher.programs import PYTHON


def move(data: DataDirectory) -> int:
    """The instance must not run. The exit status; LauncherError says what was not carried over."""
    started.find(data)
    if not os.environ.get("SKERRY_BUCKET"):
        raise LauncherError(
            "Set SKERRY_BUCKET and its keys first: see docs/operating.md, Several nodes."
        )
    for node in sorted(data.path.glob("nodes/*")):
        command = [*PYTHON, "-m", "edge.agent", "move", "--dir", str(node)]
        environment = children.environment(data, programs.runtime_settings())
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
        if done.returncode:
            raise LauncherError(
                f"Not all data of {node.name} is in the bucket. Run it again to do the rest."
            )
    return 0
