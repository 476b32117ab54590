"""The people and things that every test knows.

Alice owns the account `alice` and a token; Mallory owns another account and wants Alice's.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from sqlalchemy import Connection
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts import tokens
from api.accounts.actor import Actor
from api.accounts.models import Account
from api.app import create_app
from api.nodes import service as nodes
from tests.certificates import request_certificate


@dataclass
class Tenant:
    """An account, its token, and a client that uses it."""

    id: str
    subdomain: str
    token: str
    client: TestClient = field(repr=False)

    @property
    def actor(self) -> Any:
        return Actor(self.id, f"{self.subdomain}@example.org", "0" * 32, "api")

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """A request below the account's path (or, with a leading `/`, below `/client/v4`)."""
        full = path if path.startswith("/") else f"/accounts/{self.id}/{path}"
        headers = {"Authorization": f"Bearer {self.token}", **arguments.pop("headers", {})}
        return self.client.request(method, f"/client/v4{full}", headers=headers, **arguments)

    def result(self, method: str, path: str, **arguments: Any) -> Any:
        """The `result` of a request that has to succeed."""
        answer = self.call(method, path, **arguments)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["success"] is True
        return body["result"]

    def refusal(self, method: str, path: str, **arguments: Any) -> tuple[int, int, str]:
        """Status, code and message of a request that has to be refused."""
        answer = self.call(method, path, **arguments)
        body = answer.json()
        assert body["success"] is False, answer.text
        assert body["result"] is None
        return answer.status_code, body["errors"][0]["code"], body["errors"][0]["message"]


def upload_parts(
    source: str | bytes = "export default { fetch() { return new Response('hi') } }",
    *,
    extra: dict[str, tuple[str, bytes, str]] | None = None,
    main: str = "index.js",
    content_type: str = "application/javascript+module",
    **metadata: Any,
) -> dict[str, Any]:
    """The `files` of an upload as wrangler sends it: a plain `metadata` field and module parts."""
    body = {"main_module": main, "compatibility_date": "2026-01-01", **metadata}
    if content_type == "application/javascript":
        body["body_part"] = body.pop("main_module")
    content = source.encode() if isinstance(source, str) else source
    files: dict[str, Any] = {
        "metadata": (None, json.dumps(body).encode()),
        main: (main, content, content_type),
    }
    return {"files": {**files, **(extra or {})}}


@pytest.fixture(scope="session")
def app() -> Any:
    return create_app()


@pytest.fixture
def anonymous(app: Any, connection: Connection, broker: redis.Redis) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def _tenant(session: Session, client: TestClient, name: str) -> Tenant:
    account = Account(name=name, subdomain=name)
    session.add(account)
    session.flush()
    token = tokens.issue(session, account, f"{name}-token")
    session.commit()
    return Tenant(account.id, name, token, client)


@pytest.fixture
def alice(session: Session, anonymous: TestClient) -> Tenant:
    return _tenant(session, anonymous, "alice")


@pytest.fixture
def mallory(session: Session, anonymous: TestClient) -> Tenant:
    return _tenant(session, anonymous, "mallory")


@pytest.fixture
def node(session: Session) -> Any:
    """A node that is enrolled and never answers."""
    token = nodes.issue_join_token(session)
    enrolment = nodes.enrol(session, token, "edge-1", "https://127.0.0.1:9", request_certificate())
    session.commit()
    return enrolment
