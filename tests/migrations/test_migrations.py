"""Migrations: one head, up from nothing, down and up again, and no drift from the models."""

import os
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, make_url

from tests.conftest import alembic_config, make_database


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
