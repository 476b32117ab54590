import stat
from pathlib import Path

import pytest

from launcher import config
from launcher.config import Config
from launcher.errors import LauncherError


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    saved = Config(bind="0.0.0.0", nodes=2, ports={"control": 9000}, account_id="a" * 32)
    password = saved.password("postgres")
    config.save(saved, tmp_path / "config.json")
    read = config.load(tmp_path / "config.json")
    assert read == saved
    assert read.password("postgres") == password


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.touch(mode=0o644)
    config.save(Config(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_first_start_has_the_defaults(tmp_path: Path) -> None:
    assert config.load(tmp_path / "config.json") == Config(bind="127.0.0.1", nodes=1)


@pytest.mark.parametrize("text", ["", "[]", '{"colour": 1}', "{"])
def test_a_broken_file_is_not_replaced_silently(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(LauncherError, match="cannot be read"):
        config.load(path)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("bind", "address"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("fd00::1", "[fd00::1]"),
     ("192.168.1.5", "192.168.1.5")],
)  # fmt: skip
def test_the_address_for_urls(bind: str, address: str) -> None:
    assert config.reachable(bind) == address
