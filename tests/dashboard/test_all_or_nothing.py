"""A Worker that a node cannot start is removed again, and its form comes back as it was sent.

On a database that really commits: the node reports while the form waits for it.
"""

import html
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import redis
from httpx2 import Response
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts import service as accounts
from api.accounts.actor import Actor
from api.db import SessionFactory, transaction
from api.deployments import flows, rollouts
from api.deployments.models import Rollout, RolloutState
from api.deployments.rollouts import SlotReport
from api.nodes import service as nodes
from api.pagination import Page
from api.scripts import service as scripts
from api.settings import settings
from api.versions.bundle import Upload, UploadedModule
from gallery import build, templates
from tests.certificates import request_certificate
from tests.conftest import migrated_engine
from tests.dashboard.conftest import PASSWORD, browser

REASON = "Uncaught Error: the sea is too rough"
# Longer than any answer of a busy machine takes; the form goes on as soon as there is one.
WAIT_SECONDS = 30.0


@dataclass
class Installation:
    """One account with Ada's browser, and two nodes that say what they are told to."""

    ada: TestClient
    account_id: str
    node_ids: list[str]

    def names(self) -> list[str]:
        with transaction() as session:
            account = accounts.bootstrap(session)
            return [one.name for one in scripts.page_of_scripts(session, account, Page()).rows]

    def report(self, *states: str) -> bool:
        """Let each node settle what waits for it, as its state says; whether anything did."""
        with transaction() as session:
            waiting = list(
                session.scalars(select(Rollout).where(Rollout.state == RolloutState.QUEUED))
            )
        for rollout in waiting:
            state = states[self.node_ids.index(rollout.target_id)]
            state = state if rollout.deployment_id else "withdrawn"
            report = SlotReport(rollout.script_id, rollout.generation, state, REASON)
            rollouts.record(rollout.target_id, [report])
        return bool(waiting)


@pytest.fixture
def own_engine(engine: Engine) -> Iterator[Engine]:
    url = engine.url.set(database=f"{engine.url.database}_all_or_nothing")
    own = migrated_engine(url.render_as_string(hide_password=False))
    yield own
    own.dispose()


@pytest.fixture
def installation(
    own_engine: Engine, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    for template in templates.load_all():
        build.build(template)
    SessionFactory.configure(bind=own_engine, join_transaction_mode="conditional_savepoint")
    with transaction() as session:
        account = accounts.bootstrap(session)
        setup_token = accounts.issue_setup_token(session, account)
        enrolled = [_enrol(session, name) for name in ("edge-1", "edge-2")]
    monkeypatch.setattr(settings(), "deploy_wait_seconds", WAIT_SECONDS)
    with browser() as ada:
        form = {"token": setup_token, "email": "ada@example.org", "password": PASSWORD}
        assert ada.post("/setup", data=form).status_code == 303
        yield Installation(ada, account.id, enrolled)
    SessionFactory.configure(bind=None)


def _enrol(session: Session, name: str) -> str:
    token = nodes.issue_join_token(session)
    url = "https://127.0.0.1:9"
    return nodes.enrol(session, token, name, url, request_certificate()).node.id


@contextmanager
def reporting(installation: Installation, *states: str) -> Iterator[None]:
    """Both nodes report whatever reaches them, as they do while a form waits."""
    done = threading.Event()

    def report() -> None:
        while not done.wait(0.01):
            installation.report(*states)

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_node_that_refuses_takes_everything_back(installation: Installation) -> None:
    ada, sent = installation.ada, {"name": "rough", "binding-GREETING": "Ahoy"}
    with reporting(installation, "live", "failed"):
        page = ada.post("/workers/new/hono-api", data=sent)

    assert page.status_code == 422
    assert f"edge-2 could not start it: {REASON}" in page.text
    assert "rough was removed again, and nothing is left of it." in page.text
    assert 'value="rough"' in page.text
    assert 'value="Ahoy"' in page.text
    assert installation.names() == []

    # The name is free at once: the very same form again.
    with reporting(installation, "live", "live"):
        assert ada.post("/workers/new/hono-api", data=sent).status_code == 303
    assert installation.names() == ["rough"]


def test_a_node_that_refuses_later(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = installation.ada
    monkeypatch.setattr(settings(), "deploy_wait_seconds", 0.0)
    sent = {"name": "slow", "binding-API_KEY": "a-key-of-Adas-own"}
    created = ada.post("/workers/new/hono-auth", data=sent).headers["location"]
    page = ada.get(created).text
    assert "slow is created" in page
    found = re.search(r'hx-get="(/workers/slow/deployments/[^"]+)"', page)
    assert found is not None
    asking = {"url": html.unescape(found[1]), "headers": {"HX-Request": "true"}}
    assert "HX-Refresh" not in ada.get(**asking).headers

    assert installation.report("live", "failed")
    # The page is another one now; it is loaded anew.
    assert ada.get(**asking).headers["HX-Refresh"] == "true"
    page = ada.get(created).text
    assert "slow could not start" in page
    assert REASON in page

    page = _take_back(ada, page)
    assert page.status_code == 422
    assert "slow was removed again" in page.text
    assert 'value="slow"' in page.text
    assert "a-key-of-Adas-own" not in page.text
    assert installation.names() == []


def test_what_was_deployed_since_is_not_removed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = installation.ada
    monkeypatch.setattr(settings(), "deploy_wait_seconds", 0.0)
    created = ada.post("/workers/new/hello-world", data={"name": "mended"}).headers["location"]
    assert installation.report("failed", "failed")
    page = ada.get(created).text
    actor = Actor(installation.account_id, "up@dev.token", "0" * 32, "wrangler")
    bundle = Upload(
        main_module="index.js",
        modules=[UploadedModule("index.js", "esm", b"export default { fetch() {} }")],
        compatibility_date="2026-01-01",
    )
    flows.upload_and_deploy(installation.account_id, "mended", bundle, by=actor)

    answer = _take_back(ada, page)
    assert answer.status_code == 409
    assert "mended has been deployed since" in answer.text
    assert installation.names() == ["mended"]


def _take_back(ada: TestClient, page: str) -> Response:
    """Press the only button of the page that removes the Worker."""
    found = re.search(r'action="(/workers/new/[a-z-]+/removals)"', page)
    assert found is not None
    name = re.search(r'<input type="hidden" name="name" value="([^"]*)"', page)
    assert name is not None
    return ada.post(found[1], data={"name": name[1]})
