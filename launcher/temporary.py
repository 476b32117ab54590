"""An instance for a measurement: on free ports, in a folder that is thrown away by whoever made it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher import processes, started, up
from launcher.errors import LauncherError
from launcher.paths import DataDirectory
from launcher.programs import Instance
from launcher.progress import say


@contextmanager
def instance(path: Path, **environment: str) -> Iterator[Instance]:
    """A temporary instance; LauncherError when it does not start."""
    data = DataDirectory(path)
    ports = ["--port", "0", "--http-port", "0", "--https-port", "0"]
    say("A temporary instance:")
    try:
        if up.detach(data, ["up", *ports, "--data", str(data.path)], environment):
            raise LauncherError("The instance to measure does not start.")
        yield started.find(data)
    finally:
        up.down(data)


@contextmanager
def paused(instance: Instance) -> Iterator[None]:
    """Nothing of the instance runs within the block (SIGSTOP)."""
    found = processes.of_instance(instance.data.path)
    try:
        for process in found:
            processes.send(process, signal.SIGSTOP)
        yield
    finally:
        for process in found:
            processes.send(process, signal.SIGCONT)
