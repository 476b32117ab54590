"""A broker that is away costs a moment, never a deployment."""

import time
from collections.abc import Iterator

import kombu.pools
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.deployments.models import Rollout
from api.nodes.service import Enrolment
from api.queue import sender
from api.settings import settings
from tests.cast import Tenant, upload_parts

# One attempt to connect, refused at once or given up after a second; the rest is the upload itself.
LONGEST_SECONDS = 5.0


@pytest.fixture
def broker_away(alice: Tenant, node: Enrolment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings(), "redis_url", "redis://127.0.0.1:9/0")
    kombu.pools.reset()
    sender.cache_clear()
    yield
    kombu.pools.reset()
    sender.cache_clear()


def test_a_deployment_is_committed_while_the_broker_is_away(
    broker_away: None, alice: Tenant, session: Session
) -> None:
    started = time.monotonic()
    uploaded = alice.result("PUT", "workers/scripts/my-app", **upload_parts())
    assert time.monotonic() - started < LONGEST_SECONDS
    assert uploaded["version"]["number"] == 1
    assert session.scalars(select(Rollout.state)).all() == ["queued"]
