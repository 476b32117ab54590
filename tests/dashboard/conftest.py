"""A browser without JavaScript, and Ada, who administers the installation."""

from collections.abc import Callable, Iterator

import pytest
import redis
from sqlalchemy import Connection
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts import service as accounts
from api.accounts.actor import Actor
from api.accounts.models import Account
from api.deployments import flows
from api.scripts import service as scripts
from api.versions.bundle import Upload, UploadedModule
from dashboard.app import create_app

PASSWORD = "correct horse battery"


def browser() -> TestClient:
    """What a current browser sends with a form of ours."""
    return TestClient(
        create_app(),
        headers={"sec-fetch-site": "same-origin"},
        follow_redirects=False,
        raise_server_exceptions=False,
    )


@pytest.fixture
def visitor(connection: Connection, broker: redis.Redis) -> Iterator[TestClient]:
    """Somebody who is not logged in."""
    with browser() as client:
        yield client


@pytest.fixture
def account(session: Session) -> Account:
    account = accounts.bootstrap(session)
    session.commit()
    return account


@pytest.fixture
def setup_token(session: Session, account: Account) -> str:
    token = accounts.issue_setup_token(session, account)
    session.commit()
    return token


@pytest.fixture
def ada(visitor: TestClient, setup_token: str) -> TestClient:
    """The administrator, logged in."""
    form = {"token": setup_token, "email": "ada@example.org", "password": PASSWORD}
    assert visitor.post("/setup", data=form).status_code == 303
    return visitor


@pytest.fixture
def make_script(session: Session, account: Account) -> Callable[..., None]:
    """Make scripts without versions: rows for lists."""

    def make(*names: str, account_id: str = account.id) -> None:
        for name in names:
            scripts.lock_or_create(session, account_id, name)
        session.commit()

    return make


@pytest.fixture
def deploy(account: Account, connection: Connection, broker: redis.Redis) -> Callable[..., str]:
    """Upload and deploy a version, as wrangler does; gives its id."""

    def deploy(name: str, answer: str = "hi", **upload: object) -> str:
        code = f"export default {{ fetch() {{ return new Response({answer!r}) }} }}"
        bundle = Upload(
            main_module="index.js",
            modules=[UploadedModule("index.js", "esm", code.encode())],
            compatibility_date="2026-01-01",
            **upload,  # type: ignore[arg-type]
        )
        actor = Actor(account.id, "up@dev.token", "0" * 32, "wrangler")
        return flows.upload_and_deploy(
            account.id, name, bundle, by=actor, subdomain=True
        ).version.id

    return deploy
