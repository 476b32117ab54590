"""Migrations: one head, up from nothing, down and up again, and no drift from the models."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, make_url, text

from tests.conftest import ROOT, alembic_config, make_database


@pytest.fixture
def empty() -> Iterator[Engine]:
    url = make_url(os.environ["DATABASE_URL"])
    url = url.set(database=f"{url.database}_migrations")
    make_database(str(url.database))
    engine = create_engine(url)
    yield engine
    engine.dispose()


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory.from_config(alembic_config()).get_heads()) == 1


def test_up_down_and_up_again_ends_without_drift(empty: Engine) -> None:
    with empty.connect() as connection:
        config = alembic_config(connection)
        command.upgrade(config, "head")
        command.check(config)
        command.downgrade(config, "base")
        connection.commit()
        assert inspect(connection).get_table_names() == ["alembic_version"]
        command.upgrade(config, "head")
        connection.commit()
        assert "rollouts" in inspect(connection).get_table_names()


def test_a_database_of_a_newer_version_is_left_alone(empty: Engine, tmp_path: Path) -> None:
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('9999')"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "launcher.preparation", "--data", str(tmp_path)],
        env={**os.environ, "DATABASE_URL": empty.url.render_as_string(hide_password=False)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "'9999'. A newer version has used it: start that one, or restore a backup" in done.stdout
    assert inspect(empty).get_table_names() == ["alembic_version"]
    assert list(tmp_path.iterdir()) == []
