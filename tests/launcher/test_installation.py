"""Set-up: what counts as finished, and whether what it installs is enough."""

import os
import subprocess
from pathlib import Path

import pytest

from launcher import installation
from launcher.errors import LauncherError
from launcher.paths import ROOT

# The processes of an instance, and what they load by name at run time.
PROGRAMS = (
    "launcher.control", "launcher.preparation", "worker.app", "worker.clock", "edge.agent.__main__", "edge.keeper",
    "edge.check",
    "celery.apps.worker", "celery.apps.beat", "kombu.transport.redis", "psycopg", "gallery.build",
    "api.analytics.sql", "boto3", "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
)  # fmt: skip


def test_what_users_install_is_all_that_the_processes_need(tmp_path: Path) -> None:
    """Tests run with requirements-dev.lock, which brings packages that an instance would lack."""
    python = tmp_path / "venv" / "bin" / "python"
    uv = str(installation.UV)
    for command in (
        [
            uv,
            "venv",
            "--quiet",
            "--python",
            str(ROOT / ".venv" / "bin" / "python"),
            str(tmp_path / "venv"),
        ],
        [
            uv,
            "pip",
            "sync",
            "--quiet",
            "--require-hashes",
            "--python",
            str(python),
            str(installation.LOCK),
        ],
        [str(python), "-P", "-c", f"import {', '.join(PROGRAMS)}"],
    ):
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_a_changed_lock_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, stamp = tmp_path / "requirements.lock", tmp_path / "stamp"
    lock.write_text("one==1\n")
    monkeypatch.setattr(installation, "LOCK", lock)
    monkeypatch.setattr(installation, "PYTHON_STAMP", stamp)
    assert not installation._python_finished(testing=False)
    stamp.write_text(installation._stamp(lock))
    assert installation._python_finished(testing=False)
    assert not installation._python_finished(testing=True)
    lock.write_text("one==2\n")
    assert not installation._python_finished(testing=False)


def test_packages_for_tests_are_enough_to_run_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = tmp_path / "stamp"
    monkeypatch.setattr(installation, "PYTHON_STAMP", stamp)
    stamp.write_text(installation._stamp(installation.DEV_LOCK))
    assert installation._python_finished(testing=True)
    assert installation._python_finished(testing=False)


def test_who_may_not_install_programs_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "as_root", lambda: None)
    with pytest.raises(LauncherError) as told:
        installation._install_programs(["haproxy", "bubblewrap"])
    assert str(told.value) == (
        "These programs are missing: haproxy, bubblewrap. Install them, on Debian with:\n"
        "  sudo apt-get update && sudo apt-get install -y --no-install-recommends haproxy bubblewrap"
    )


def test_a_machine_without_npm_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LauncherError, match=r"npm is missing: install Node\.js 18 or newer"):
        installation._install_npm_packages()


def test_without_python_3_11_one_sentence_says_so(tmp_path: Path) -> None:
    copy = tmp_path / "skerry"
    copy.write_text((ROOT / "skerry").read_text())
    newer = tmp_path / "bin" / "python3"
    newer.parent.mkdir()
    newer.write_text("#!/bin/sh\necho Python 3.13.1\nexit 1\n")
    newer.chmod(0o755)
    for tool in ("readlink", "dirname"):
        (newer.parent / tool).symlink_to(f"/usr/bin/{tool}")
    done = subprocess.run(
        ["/bin/sh", str(copy), "up"],
        env={"PATH": str(newer.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Skerry needs Python 3.11, and there is none in your PATH (found: Python 3.13.1).\n"
    )
