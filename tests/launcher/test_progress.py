import re
import time

import pytest

from launcher import progress


def test_a_quick_step_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.step("quick"):
        pass
    assert capsys.readouterr().out == ""


def test_a_slow_step_shows_its_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.01)
    with progress.step("slow"):
        time.sleep(0.15)
    assert re.fullmatch(r"  slow … \d+\.\d s\n", capsys.readouterr().out)


def test_a_slow_step_that_fails_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SILENT_SECONDS", 0.01)
    with pytest.raises(ValueError, match="no"):
        _fail_slowly()
    assert re.fullmatch(r"  slow … stopped after \d+\.\d s\n", capsys.readouterr().out)


def _fail_slowly() -> None:
    with progress.step("slow"):
        time.sleep(0.15)
        raise ValueError("no")
