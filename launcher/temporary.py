"""An instance for a measurement: on free ports, in a folder that is thrown away by whoever made it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher import started, up
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
