"""Real Postgres and Valkey for every test; `./skerry test` starts them and names them in the environment.

Each xdist worker has a database of its own, brought to head by Alembic. A test that uses `session` or
`client` runs inside one outer transaction that is rolled back; the application's commits become
savepoints. Tests of concurrency use `committed`, a second database that really commits.
"""

from api import garbage  # noqa: F401 - tests collect as seldom as the programs do

# isort: split
import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kombu.pools
import pytest
import redis
from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

from api.db import SessionFactory
from api.logging import configure_logging
from api.queue import sender
from api.sealing import make_master_key

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """Put the settings of this process in place before any module reads them.

    Tests of the edge and the launcher need no database, and run without one.
    """
    admin = os.environ.get("TEST_DATABASE_URL")
    if admin is None:
        return
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    number = int(worker.removeprefix("gw"))
    url = make_url(admin).set(drivername="postgresql+psycopg", database=f"skerry_{worker}")
    broker = os.environ["TEST_REDIS_URL"].rstrip("/").rsplit("/", 1)[0]
    home = Path(tempfile.mkdtemp(prefix="skerry-tests-"))
    os.environ |= {
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "REDIS_URL": f"{broker}/{number}",
        "SKERRY_MASTER_KEY_FILE": str(home / "master.key"),
        "SKERRY_DEPLOY_WAIT_SECONDS": "0.2",
        "SKERRY_APPS_HTTP_PORT": "8080",
    }
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    configure_logging()
    make_master_key(home / "master.key")


def _admin_url() -> URL:
    url = os.environ.get("TEST_DATABASE_URL")
    if url is None:
        pytest.fail("TEST_DATABASE_URL is not set. Run the tests through `./skerry test`.")
    return make_url(url).set(drivername="postgresql+psycopg")


def make_database(name: str) -> None:
    """A fresh, empty database of that name."""
    engine = create_engine(_admin_url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()


def alembic_config(connection: Connection | None = None) -> Config:
    config = Config(ROOT / "migrations" / "alembic.ini")
    config.attributes["connection"] = connection
    return config


def migrated_engine(url: str) -> Engine:
    make_database(str(make_url(url).database))
    engine = create_engine(url)
    with engine.connect() as connection:
        command.upgrade(alembic_config(connection), "head")
        connection.commit()
    return engine


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    _admin_url()
    engine = migrated_engine(os.environ["DATABASE_URL"])
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def committed(engine: Engine) -> Iterator[Engine]:
    """A second database that really commits: for threads, and for processes of their own."""
    url = engine.url.set(database=f"{engine.url.database}_committed")
    engine = migrated_engine(url.render_as_string(hide_password=False))
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        outer = connection.begin()
        SessionFactory.configure(bind=connection, join_transaction_mode="create_savepoint")
        yield connection
        outer.rollback()
    SessionFactory.configure(bind=None, join_transaction_mode="conditional_savepoint")


@pytest.fixture
def session(connection: Connection) -> Iterator[Session]:
    """A reader of the test's own, so that it sees only what was committed."""
    with SessionFactory() as session:
        yield session


@pytest.fixture
def broker() -> Iterator[redis.Redis]:
    """The Valkey that tasks are sent to, empty."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    client.flushdb()
    yield client
    client.close()
    # Kept connections would be reported as unclosed sockets when they are collected.
    kombu.pools.reset()
    sender.cache_clear()


pytest_plugins = ["tests.cast"]
