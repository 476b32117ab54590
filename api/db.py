"""The database: one unit of work per request or task, and the only `commit` of the control plane."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import DateTime, Engine, MetaData, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from api import queue
from api.connections import CONNECT_SECONDS, be_patient_but_not_forever
from api.errors import Unavailable
from api.settings import settings

# What SQLAlchemy raises when Postgres cannot be asked, or will not do it now.
DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)


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
        connect_args={"connect_timeout": CONNECT_SECONDS, "application_name": "skerry"},
    )
    be_patient_but_not_forever(engine)
    SessionFactory.configure(bind=engine)
    return engine


@contextmanager
def transaction() -> Iterator[Session]:
    """Commit on success, roll back on any exception, then send what was enqueued.

    Raises Unavailable when the answer to the commit is lost: then nobody knows what was stored.
    """
    with SessionFactory() as session:
        with session.begin():
            yield session
            _commit(session)
        queue.publish(session)


def _commit(session: Session) -> None:
    session.flush()
    try:
        session.commit()
    except OperationalError as error:
        if not error.connection_invalidated:
            raise
        raise Unavailable(
            "The database went away while it stored the change, so it may be stored or not. "
            "Look before you repeat it. What runs on the nodes goes on."
        ) from error


def database_gone(error: Exception) -> bool:
    """Whether one of DATABASE_AWAY says that Postgres is away, rather than that it would not wait."""
    return not isinstance(getattr(error, "orig", None), DeadlockDetected | LockNotAvailable)


def unavailable(error: Exception) -> Unavailable:
    """What to tell whoever asked when one of DATABASE_AWAY comes before the commit."""
    if database_gone(error):
        return Unavailable(
            "The database does not answer, so nothing was changed. What runs on the nodes goes on. "
            "Try again in a moment."
        )
    return Unavailable(
        "Another change was being made at the same time; nothing was changed. Repeat it."
    )


def request_session() -> Iterator[Session]:
    with transaction() as session:
        yield session


# scope="function": the commit happens before the answer is sent, not after it.
DB = Annotated[Session, Depends(request_session, scope="function")]
