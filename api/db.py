"""The database: one unit of work per request or task, and the only `commit` of the control plane."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy import DateTime, Engine, MetaData, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from api import queue
from api.settings import settings


class Model(DeclarativeBase):
    """The base of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: JSONB,
        list[dict[str, Any]]: JSONB,
    }


SessionFactory = sessionmaker(expire_on_commit=False)


def connect() -> Engine:
    """Make the engine of this process and bind the session factory to it."""
    engine = create_engine(
        settings().database_url,
        pool_pre_ping=True,  # Postgres may have been restarted since the connection was made
        pool_size=10,
        max_overflow=30,  # Starlette runs up to 40 endpoints at once
        connect_args={"connect_timeout": 5, "application_name": "skerry"},
    )
    SessionFactory.configure(bind=engine)
    return engine


@contextmanager
def transaction() -> Iterator[Session]:
    """Commit on success, roll back on any exception, then send what was enqueued."""
    with SessionFactory() as session:
        with session.begin():
            yield session
        queue.publish(session)


def request_session() -> Iterator[Session]:
    with transaction() as session:
        yield session


# scope="function": the commit happens before the answer is sent, not after it.
DB = Annotated[Session, Depends(request_session, scope="function")]
