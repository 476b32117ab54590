"""The unit, read by systemd's own checker and compared with the launcher."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from launcher import cli, up
from launcher.paths import ROOT

UNIT = ROOT / "infra" / "systemd" / "skerry.service"
INSTALLED = "/opt/skerry"

# Under these bwrap cannot mount a /proc of its own or open a user namespace, or V8 cannot compile.
BREAKING = {
    "RestrictNamespaces", "PrivateUsers", "ProtectProc", "ProcSubset", "ProtectKernelTunables",
    "ProtectKernelLogs", "PrivateDevices", "SystemCallFilter", "MemoryDenyWriteExecute",
    "CapabilityBoundingSet",
}  # fmt: skip


def settings() -> dict[str, str]:
    lines = UNIT.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_it(tmp_path: Path) -> None:
    # verify wants the program to exist: here it is this checkout's.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(INSTALLED, str(ROOT)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert complaints == []


def test_it_starts_what_the_launcher_knows() -> None:
    program, *arguments = settings()["ExecStart"].split()
    assert program == f"{INSTALLED}/skerry"
    options = cli.parser().parse_args(arguments)
    assert (options.command, str(options.data)) == ("up", "/var/lib/skerry")
    # In the foreground: systemd watches the supervisor itself.
    assert not options.detach


def test_a_stop_has_the_time_that_down_gives() -> None:
    assert int(settings()["TimeoutStopSec"]) > up.DOWN_SECONDS


def test_nothing_in_it_keeps_cells_from_their_sandbox() -> None:
    found = settings().keys()
    assert not BREAKING & found
    # Each is named in the file, so that nobody adds it in good faith.
    assert all(name in UNIT.read_text() for name in BREAKING)
