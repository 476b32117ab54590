"""Logs stay short, whatever their programs do."""

import sys
from collections.abc import Callable

from launcher import children
from launcher.children import LOG_LIMIT_BYTES, Child, Program
from launcher.paths import DataDirectory
from tests.launcher.platform import eventually

TALKS = f"""\
import pathlib, sys, time
sys.stdout.write("old" * ({LOG_LIMIT_BYTES} // 3 + 1))
sys.stdout.flush()
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.05)
print("new", flush=True)
time.sleep(600)
"""


def test_a_writer_goes_on_at_the_beginning(
    data: DataDirectory, start: Callable[[Program], Child]
) -> None:
    told = data.path / "told"
    program = Program("talker", [sys.executable, "-c", TALKS, str(told)])
    log = start(program).log
    assert eventually(lambda: log.stat().st_size > LOG_LIMIT_BYTES)
    children.turn_over_all(data)
    assert log.stat().st_size == 0
    assert log.with_suffix(".log.1").stat().st_size > LOG_LIMIT_BYTES
    told.touch()
    assert eventually(lambda: log.read_bytes() == b"new\n")


def test_a_log_that_cannot_be_kept_is_cut_all_the_same(data: DataDirectory) -> None:
    log = children.log_path(data, "any")
    log.write_bytes(b"x" * (LOG_LIMIT_BYTES + 1))
    # In the way of the older one, as a full disk would be.
    log.with_suffix(".log.1").symlink_to("/dev/full")
    children.turn_over(log)
    assert log.stat().st_size == 0
    assert not log.with_suffix(".log.1").is_symlink()


def test_a_short_log_is_left_alone(data: DataDirectory) -> None:
    log = children.log_path(data, "any")
    log.write_bytes(b"x" * LOG_LIMIT_BYTES)
    children.turn_over_all(data)
    assert log.stat().st_size == LOG_LIMIT_BYTES
    assert not log.with_suffix(".log.1").exists()
