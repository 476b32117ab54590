"""A line of the log is worth less than what it is about."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PROGRAM = """
import logging, structlog
from api.logging import configure_logging
configure_logging()
structlog.contextvars.bind_contextvars(request_id="r1")
structlog.get_logger().warning("task_not_sent", ids={"rollout_id": "x"})
logging.getLogger("library").warning("its own words")
"""


def _run(log: Path) -> None:
    with log.open("ab") as output:
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=output, stderr=output, check=True
        )


def test_every_line_is_an_object(tmp_path: Path) -> None:
    _run(tmp_path / "log")
    ours, theirs = (json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert (ours["event"], ours["level"], ours["request_id"]) == ("task_not_sent", "warning", "r1")
    assert ours["ids"] == {"rollout_id": "x"}
    assert theirs["event"] == "its own words"


def test_a_full_disk_fails_nobody() -> None:
    _run(Path("/dev/full"))
