"""Connections to Postgres that give up: libpq waits for a server that hangs for as long as it hangs.

A server that was stopped, or whose machine is gone, takes bytes and never answers. Whoever waits then
holds a thread, and soon no page is answered any more.
"""

import time
from collections.abc import Generator
from contextvars import ContextVar
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, event

Result = TypeVar("Result")

CONNECT_SECONDS = 2  # libpq knows no shorter one
# A kept connection is tried before it is used; a second one is made if it says nothing for so long.
PING_SECONDS = 1.0
# A page reads without waiting for anybody's lock.
READ_SECONDS = 2.5
# A change may wait for the lock of another change, or for a large bundle to reach the disk.
CHANGE_SECONDS = 20.0
# How often psycopg looks up from its socket.
_INTERVAL_SECONDS = 0.1

patience: ContextVar[float] = ContextVar("patience", default=CHANGE_SECONDS)
"""How long whoever asks now waits, in seconds, while the server says nothing at all."""


class PatientConnection(psycopg.Connection[Any]):
    """A connection that is closed when the server has said nothing for the time of `patience`."""

    resting = False
    """Whether it is in the pool; the next statement is the pool's question whether it still works."""

    def wait(
        self,
        gen: PQGen[Result],
        interval: float = _INTERVAL_SECONDS,
        timeout: float | None = None,
    ) -> Result:
        """Raises OperationalError, with the connection closed, when the server is silent too long."""
        limit = PING_SECONDS if self.resting else patience.get()
        return super().wait(self._unless_silent(gen, limit), interval, timeout)

    def _unless_silent(
        self, gen: PQGen[Result], limit_seconds: float
    ) -> Generator[Any, Any, Result]:
        heard = time.monotonic()
        try:
            state = next(gen)
            while True:
                ready = yield state
                if ready:
                    heard = time.monotonic()
                elif time.monotonic() - heard > limit_seconds:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(
                        f"the server said nothing for {limit_seconds:g} s"
                    )
                state = gen.send(ready)
        except StopIteration as end:
            result: Result = end.value
            return result


def be_patient_but_not_forever(engine: Engine) -> None:
    """Let an engine make such connections."""

    @event.listens_for(engine, "do_connect")
    def connect(
        dialect: object, record: object, arguments: Any, keywords: Any
    ) -> PatientConnection:
        del dialect, record
        return PatientConnection.connect(*arguments, **keywords)

    @event.listens_for(engine, "checkin")
    def rest(connection: PatientConnection | None, record: object) -> None:
        del record
        if connection is not None:
            connection.resting = True

    @event.listens_for(engine, "checkout")
    def wake(connection: PatientConnection, record: object, proxy: object) -> None:
        del record, proxy
        connection.resting = False
