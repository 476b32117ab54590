from pathlib import Path

import pytest

from launcher import cli, doctor, programs
from launcher.paths import DataDirectory


def test_every_subject_has_one_line_that_starts_with_a_level(
    data: DataDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--data", str(data.path)]) == 0
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert {level for level, _ in lines} <= {"ok", "warn"}
    text = "\n".join(rest for _, rest in lines)
    for subject in (
        "PostgreSQL",
        "Valkey",
        "haproxy",
        "node",
        "workerd",
        "user namespaces",
        "sandbox",
        "somaxconn",
        "disk",
        "ports",
    ):
        assert subject in text
    assert "newest compatibility date 20" in text


def test_a_missing_program_comes_with_the_command_that_installs_it(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        doctor, "program_path", lambda name: None if name in ("haproxy", "wrk") else f"/bin/{name}"
    )
    found = {finding.subject: finding for finding in doctor.findings(data)}
    assert (found["haproxy"].level, found["haproxy"].text) == (
        "fail",
        "missing: sudo apt-get install haproxy",
    )
    assert (found["wrk"].level, found["wrk"].text) == (
        "warn", "missing, needed by ./skerry test: sudo apt-get install wrk",
    )  # fmt: skip


def test_a_machine_before_the_first_set_up_is_told_what_installs_it(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "WORKERD", tmp_path / "workerd")
    monkeypatch.setattr(doctor, "package_directory", lambda name: None)
    monkeypatch.setattr(programs, "PYTHON", [str(tmp_path / "python"), "-P"])
    failed = {finding.subject for finding in doctor.findings(data) if finding.level == "fail"}
    assert failed == {"workerd", "PostgreSQL", "Valkey"}
