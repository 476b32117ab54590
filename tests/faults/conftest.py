"""An installation with two nodes for each module, its waits short; it is killed and held in every way."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.instance import Instance
from tests.platform import start, stop

# What only passes the time, shortened; nothing else differs from an installation as it is started.
SETTINGS = {
    "SKERRY_PULL_SECONDS": "0.5",
    "SKERRY_LINGER_SECONDS": "0.1",
    "SKERRY_SWEEP_EVERY_SECONDS": "1",
    "SKERRY_PUSH_TIMEOUT_SECONDS": "10",
    "SKERRY_PUSH_LOST_AFTER_SECONDS": "12",
    "SKERRY_SLOTS": "40",
}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """The running installation, with one script live on both nodes."""
    data: Path = tmp_path_factory.mktemp("faults") / "data"
    try:
        platform = start(data, "--nodes", "2", settings=SETTINGS)
        found = Instance(platform)
        found.make()
        yield found
        platform.api.client.close()
    finally:
        stop(data)
