"""`./skerry storage move`; what it does is in tests/edge/test_moving.py."""

from pathlib import Path

import pytest

from launcher import cli


def test_it_needs_an_instance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["storage", "move", "--data", str(tmp_path)]) == 1
    assert "Nothing was ever started" in capsys.readouterr().err


def test_it_needs_a_bucket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SKERRY_BUCKET", raising=False)
    monkeypatch.setattr("launcher.started.find", lambda data: data)
    assert cli.main(["storage", "move", "--data", str(tmp_path)]) == 1
    assert "Set SKERRY_BUCKET" in capsys.readouterr().err
