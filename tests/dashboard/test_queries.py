"""A page asks the database as often for many rows as for a few."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts import tokens
from api.accounts.models import Account
from launcher.bench import pages
from launcher.bench.seeding import BUSY, deploy, join

FEW, MANY = 4, 24


@pytest.fixture
def seeded(session: Session, account: Account) -> dict[str, object]:
    """Two nodes, and as many versions of one script as there are scripts: a few."""
    found = [join(session, name) for name in ("edge-1", "edge-2")]
    version = deploy(session, account, BUSY, 0)
    more(session, account, range(1, FEW))
    return {"version": version, "nodes": [node.id for node in found]}


def more(session: Session, account: Account, numbers: range) -> None:
    for number in numbers:
        deploy(session, account, f"script-{number}", number)
        deploy(session, account, BUSY, number)
        tokens.issue(session, account, f"token-{number}")
        join(session, f"another-{number}")
    session.commit()


@contextmanager
def counted(connection: Connection) -> Iterator[list[str]]:
    """Every statement that is executed meanwhile."""
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        said.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    yield said
    event.remove(connection, "before_cursor_execute", note)


def statements(ada: TestClient, connection: Connection, paths: list[str]) -> dict[str, int]:
    asked = {}
    for path in paths:
        with counted(connection) as said:
            assert ada.get(path).status_code == 200, path
        asked[path] = len([one for one in said if "SAVEPOINT" not in one])
    return asked


def test_lists_ask_as_often_for_many_rows(
    ada: TestClient,
    session: Session,
    account: Account,
    connection: Connection,
    seeded: dict[str, object],
) -> None:
    measured = [path for path in pages.paths(seeded).values() if "page=" not in path]
    few = statements(ada, connection, measured)
    more(session, account, range(FEW, MANY))
    assert statements(ada, connection, measured) == few
    assert max(few.values()) < 20, few
    assert min(few.values()) > 0
