"""Pending zones are looked for by the clock, less and less often, until they are proven or given up."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import redis
from sqlalchemy import update
from sqlalchemy.orm import Session

from api.clock import now
from api.settings import settings
from api.zones.models import Zone
from api.zones.service import LOOK_FOR
from tests.cast import Tenant
from tests.names import NameServer, name_server
from worker.sweep import sweep
from worker.zones import verify


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    with name_server() as server:
        monkeypatch.setattr(settings(), "zone_proof", "dns")
        monkeypatch.setattr(settings(), "resolvers", [server.address])
        yield server


@pytest.fixture
def zone(alice: Tenant, server: NameServer) -> Any:
    return alice.result("POST", "/zones", json={"name": "example.com"})


def stored(session: Session, zone: Any) -> Zone:
    return session.get_one(Zone, zone["id"], populate_existing=True)


def make_due(session: Session, **values: datetime) -> None:
    session.execute(update(Zone).values(next_check_at=now(), **values))
    session.commit()


def sent(broker: redis.Redis) -> list[str]:
    """The zones of the tasks that wait in the queue."""
    messages = [json.loads(message) for message in broker.lrange("default", 0, -1)]
    return [
        message["headers"]["kwargsrepr"]
        for message in messages
        if message["headers"]["task"] == "zones.verify"
    ]


def test_the_sweep_nudges_what_is_due(
    zone: Any, session: Session, broker: redis.Redis, server: NameServer
) -> None:
    broker.flushdb()
    sweep()
    assert [zone["id"] in message for message in sent(broker)] == [True]
    verify(zone["id"])
    assert server.asked == ["_skerry-challenge.example.com"]
    broker.flushdb()
    sweep()
    assert sent(broker) == []
    # A message that comes twice looks once.
    verify(zone["id"])
    assert len(server.asked) == 1


def test_it_is_active_once_the_record_is_there(
    zone: Any, session: Session, server: NameServer
) -> None:
    verify(zone["id"])
    seen = stored(session, zone)
    assert (seen.status, "no TXT record" in seen.problem) == ("pending", True)
    assert seen.next_check_at is not None
    assert seen.next_check_at > now()
    server.records[zone["proof"]["name"]] = [zone["proof"]["content"]]
    make_due(session)
    verify(zone["id"])
    seen = stored(session, zone)
    assert (seen.status, seen.problem, seen.next_check_at) == ("active", "", None)


def test_after_a_week_it_is_given_up_for_all_to_see(
    zone: Any, alice: Tenant, session: Session, server: NameServer
) -> None:
    make_due(session, created_at=now() - LOOK_FOR)
    verify(zone["id"])
    proof = alice.result("GET", f"/zones/{zone['id']}")["proof"]
    assert len(server.asked) == 1
    assert proof["next_check_on"] is None
    assert "no TXT record" in proof["problem"]
    verify(zone["id"])
    assert len(server.asked) == 1


def test_a_zone_that_was_deleted_meanwhile(zone: Any, alice: Tenant, server: NameServer) -> None:
    alice.result("DELETE", f"/zones/{zone['id']}")
    verify(zone["id"])
    assert server.asked == []
