"""Health: what is dead is said, soon, with what to do about it."""

import html
import re
import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api import health
from api.clock import now
from api.nodes import service as nodes
from api.settings import settings
from tests.certificates import request_certificate


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says a word, as a hung one does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(params=["silent", "closed"])
def dead(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def _parts(page: str) -> dict[str, str]:
    """What stands about each part."""
    found = re.findall(r'<li class="parts__part">\s*<h2>(.*?)</h2>(.*?)</li>', page, re.S)
    return {_text(name): _text(words) for name, words in found}


def _text(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def _join(session: Session, name: str, age: timedelta) -> str:
    token = nodes.issue_join_token(session)
    url = "https://10.0.0.7:8710"
    node = nodes.enrol(session, token, name, url, request_certificate()).node
    node.seen_at = now() - age
    session.commit()
    return node.id


def test_what_answers_and_what_does_not(ada: TestClient) -> None:
    """Postgres and Valkey run; there is neither worker nor beat nor node."""
    answer = ada.get("/health")
    parts = _parts(answer.text)

    assert answer.status_code == 200
    assert list(parts) == ["Postgres", "Valkey", "Celery worker", "Sweep", "Nodes"]
    assert parts["Postgres"].startswith("Answers")
    assert "No task waits." in parts["Valkey"]
    assert parts["Celery worker"].startswith("None answers")
    assert "Start a worker" in parts["Celery worker"]
    assert parts["Sweep"].startswith("Has not run yet")
    assert parts["Nodes"].startswith("None has joined")
    assert "3 problems" in answer.text
    assert "./skerry status" in answer.text


def test_the_sweep_is_on_time_or_late(ada: TestClient, broker: redis.Redis) -> None:
    health.note_sweep()
    assert _parts(ada.get("/health").text)["Sweep"].startswith("On time")

    broker.set(health.SWEPT_AT, (now() - timedelta(minutes=5)).isoformat())
    late = _parts(ada.get("/health").text)["Sweep"]
    assert late.startswith("Late")
    assert "Last ran 5 min ago" in late


def test_tasks_that_wait_are_counted(ada: TestClient, broker: redis.Redis) -> None:
    broker.rpush("push", "a", "b")
    broker.rpush("default", "c")
    assert "3 tasks wait." in _parts(ada.get("/health").text)["Valkey"]


def test_every_node_has_a_line(ada: TestClient, session: Session) -> None:
    _join(session, "edge-1", timedelta())
    gone = _join(session, "edge-2", timedelta(hours=2))
    page = ada.get("/health").text
    parts = _parts(page)

    assert parts["Node edge-1"].startswith("Online")
    assert parts["Node edge-2"].startswith("Away")
    assert "Last sync 2 h ago" in parts["Node edge-2"]
    assert f'href="/nodes/{gone}"' in page
    assert "Nodes" not in parts


def test_without_valkey_the_page_says_what_it_cannot_know(
    ada: TestClient, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings(), "redis_url", f"redis://{dead}/0")
    answer = ada.get("/health")
    parts = _parts(answer.text)

    assert answer.status_code == 200
    assert parts["Valkey"].startswith("Does not answer")
    assert parts["Celery worker"].startswith("Unknown")
    assert parts["Sweep"].startswith("Unknown")


def test_a_sweep_does_not_fail_for_want_of_its_note(
    dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings(), "redis_url", f"redis://{dead}/0")
    health.note_sweep()
    assert health.broker() is None


def test_without_postgres_anybody_learns_that_and_nothing_else(
    visitor: TestClient, dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql+psycopg://skerry:hush@{dead}/skerry"
    monkeypatch.setattr(settings(), "database_url", url)
    answer = visitor.get("/health")

    assert answer.status_code == 503
    assert list(_parts(answer.text)) == ["Postgres"]
    assert "Does not answer" in answer.text
    assert "hush" not in answer.text
    assert 'aria-label="Main"' not in answer.text


def test_health_is_for_members(visitor: TestClient) -> None:
    assert visitor.get("/health").headers["location"].startswith("/login")
