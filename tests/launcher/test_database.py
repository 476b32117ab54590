"""PostgreSQL's tools against the real server, whose address comes as a URL."""

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import database, postgres
from launcher.children import Child, Program
from launcher.errors import LauncherError
from launcher.paths import DataDirectory

PASSWORD = "it's 100% secret / @:#"


@pytest.fixture
def url(data: DataDirectory, free_port: int, start: Callable[[Program], Child]) -> str:
    postgres.create(data.postgres, PASSWORD)
    start(postgres.program(data.postgres, free_port))
    return postgres.url(free_port, PASSWORD)


def test_dump_and_restore(url: str, data: DataDirectory) -> None:
    database.ask(url, "CREATE TABLE kept AS SELECT 42 AS n")
    dump = data.path / "dump"
    database.dump(url, dump)
    database.ask(url, "DROP TABLE kept")
    database.restore(url, dump)
    assert database.ask(url, "SELECT n FROM kept") == "42"
    assert database.ask(url, "SELECT n FROM kept WHERE n = 1") == ""


def test_a_restore_is_all_or_nothing(url: str, data: DataDirectory) -> None:
    database.ask(url, "CREATE TABLE a AS SELECT 1; CREATE TABLE b AS SELECT 1")
    dump = data.path / "dump"
    database.dump(url, dump)
    database.ask(url, "DROP TABLE a")
    with pytest.raises(LauncherError, match=r'pg_restore failed:[\s\S]*"b" already exists'):
        database.restore(url, dump)
    assert database.ask(url, "SELECT count(*) FROM pg_tables WHERE tablename = 'a'") == "0"


def test_a_wrong_password_is_told_without_the_right_one(url: str, tmp_path: Path) -> None:
    wrong = url.replace("secret", "guess")
    with pytest.raises(LauncherError, match="pg_dump failed:") as caught:
        database.dump(wrong, tmp_path / "dump")
    assert "guess" not in str(caught.value)
