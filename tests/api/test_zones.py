"""Zones: added, proven, deleted; what is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from api.clock import now
from api.errors import ZoneNameInvalid
from api.settings import settings
from api.zones import names, proof, service
from api.zones.models import Zone
from tests.cast import Tenant
from tests.names import NameServer, name_server

SCRIPTS = "workers/scripts"
DOMAINS = "workers/domains"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("localhost", "with a dot"),
        ("my.localhost", "with a dot"),
        ("com", "with a dot"),
        ("10.0.0.1", "IP address"),
        ("::1", "no label"),
        ("1.2.3", "IP address"),
        ("a b.example", "no label"),
        ("*.example.com", "no label"),
        (".".join(["a" * 60] * 4) + ".example", "at most 235"),
        ("x" * 64 + ".example", "no label"),
        ("ü" * 70 + ".example", "no domain"),
    ],
)
def test_what_is_no_zone(text: str, said: str) -> None:
    with pytest.raises(ZoneNameInvalid, match=said):
        names.zone_name(text)


def test_how_a_zone_is_stored() -> None:
    assert names.zone_name(" Bücher.Example. ") == "xn--bcher-kva.example"


# --- zones ------------------------------------------------------------------------------------


def add(tenant: Tenant, name: str) -> Any:
    return tenant.result("POST", "/zones", json={"name": name, "account": {"id": tenant.id}})


def refused(tenant: Tenant, name: str) -> tuple[int, int, str]:
    before = tenant.result("GET", "/zones")
    found = tenant.refusal("POST", "/zones", json={"name": name})
    assert "Nothing was changed" in found[2]
    assert tenant.result("GET", "/zones") == before
    return found


def listed(tenant: Tenant, query: str = "", **arguments: Any) -> list[str]:
    found = tenant.result("GET", f"/zones?{query}", **arguments)
    return [zone["name"] for zone in found]


def test_a_zone_is_added_found_and_deleted(alice: Tenant, mallory: Tenant) -> None:
    zone = add(alice, "Example.com")
    assert (zone["name"], zone["status"], len(zone["id"])) == ("example.com", "active", 32)
    assert zone["account"]["id"] == alice.id
    add(alice, "example.org")
    assert listed(alice) == ["example.com", "example.org"]
    assert listed(alice, f"name=example.com&account.id={alice.id}") == ["example.com"]
    assert listed(alice, "name=www.example.com") == []
    assert listed(alice, "status=pending") == []
    assert listed(alice, f"account.id={mallory.id}") == []
    assert listed(alice, "page=2&per_page=1") == ["example.org"]
    assert alice.result("GET", f"/zones/{zone['id']}") == zone
    for method, path in [("GET", ""), ("DELETE", ""), ("PUT", "/activation_check")]:
        assert mallory.refusal(method, f"/zones/{zone['id']}{path}")[:2] == (404, 7003)
    assert mallory.refusal("POST", "/zones", json={"name": "a.test", "account": {"id": alice.id}})[
        :2
    ] == (403, 10000)
    assert alice.result("DELETE", f"/zones/{zone['id']}") == {"id": zone["id"]}
    assert alice.refusal("GET", f"/zones/{zone['id']}")[:2] == (404, 7003)
    assert listed(alice) == ["example.org"]


def test_no_two_zones_overlap(alice: Tenant, mallory: Tenant) -> None:
    add(alice, "example.com")
    status, code, message = refused(mallory, "EXAMPLE.com")
    assert (status, code, "another account" in message) == (400, 1061, True)
    assert refused(mallory, "shop.example.com")[1] == 1061
    add(mallory, "notexample.com")
    assert refused(alice, "example.com")[1:] == (
        1061,
        "example.com already exists: it is a zone of this account, active. Nothing was changed.",
    )
    assert "overlaps with example.com" in refused(alice, "a.b.example.com")[2]
    add(mallory, "deep.below.example")
    assert "another account" in refused(alice, "below.example")[2]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("apps.skerry.example", "own domain"),
        ("my-app.alice.apps.skerry.example", "own domain"),
        ("control.skerry.example", "control plane"),
        ("localhost", "with a dot"),
        ("192.0.2.1", "IP address"),
    ],
)
def test_names_of_the_installation_are_no_zones(
    alice: Tenant, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setattr(settings(), "apps_domain", "apps.skerry.example")
    monkeypatch.setattr(settings(), "public_url", "https://control.skerry.example")
    status, code, message = refused(alice, name)
    assert (status, code, said in message) == (400, 1049, True), message


def test_a_zone_above_the_live_urls_cannot_catch_them(
    alice: Tenant, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings(), "apps_domain", "apps.skerry.example")
    monkeypatch.setattr(settings(), "public_url", "https://control.skerry.example")
    zone = add(alice, "skerry.example")
    routes = f"/zones/{zone['id']}/workers/routes"
    for pattern in (
        "*.skerry.example/*",
        "*skerry.example/*",
        "my-app.alice.apps.skerry.example/",
        "*.apps.skerry.example/*",
        "control.skerry.example/*",
    ):
        body = {"pattern": pattern, "script": script}
        assert alice.refusal("POST", routes, json=body)[:2] == (400, 10022), pattern
    for hostname in ("x.alice.apps.skerry.example", "control.skerry.example"):
        body = {"hostname": hostname, "service": script}
        assert alice.refusal("PUT", DOMAINS, json=body)[:2] == (400, 100115), hostname
    alice.result("POST", routes, json={"pattern": "skerry.example/*", "script": script})
    assert len(alice.result("GET", routes)) == 1


def test_wrangler_is_told_what_to_do_without_a_zone(alice: Tenant) -> None:
    add(alice, "example.com")
    wrangler = {"headers": {"User-Agent": "wrangler/4.164.0"}}
    # It leaves out label after label, and the second question finds the zone.
    assert listed(alice, "name=www.example.com", **wrangler) == []
    status, code, message = alice.refusal("GET", "/zones?name=www.other.test", **wrangler)
    assert (status, code) == (400, 10082)
    assert f"{settings().public_url}/zones" in message
    assert "www.other.test" in message


# --- the proof --------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    """A name server that is asked for the proof."""
    with name_server() as server:
        monkeypatch.setattr(settings(), "zone_proof", "dns")
        monkeypatch.setattr(settings(), "resolvers", [server.address])
        yield server


def check(tenant: Tenant, zone: Any) -> Any:
    tenant.result("PUT", f"/zones/{zone['id']}/activation_check")
    return tenant.result("GET", f"/zones/{zone['id']}")


def test_a_zone_is_proven_by_its_record(alice: Tenant, server: NameServer) -> None:
    zone = add(alice, "example.com")
    assert (zone["status"], zone["activated_on"]) == ("pending", None)
    record = zone["proof"]
    assert record["name"] == "_skerry-challenge.example.com"
    looked = check(alice, zone)
    assert (looked["status"], "no TXT record" in looked["proof"]["problem"]) == ("pending", True)
    server.records[record["name"]] = ["something", "else"]
    assert "else, something" in check(alice, zone)["proof"]["problem"]
    server.records[record["name"]] = ["something", record["content"]]
    looked = check(alice, zone)
    assert (looked["status"], looked["proof"]["problem"]) == ("active", "")
    assert looked["activated_on"] is not None
    # An active one is not asked for again.
    asked = len(server.asked)
    check(alice, zone)
    assert len(server.asked) == asked
    assert listed(alice, "status=active") == ["example.com"]


def test_a_name_server_that_does_not_answer_costs_a_bounded_wait(
    alice: Tenant, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "LOOK_SECONDS", 0.3)
    server.silent = True
    zone = add(alice, "example.com")
    assert "could not be asked" in check(alice, zone)["proof"]["problem"]


def test_a_pending_zone_leads_nowhere(alice: Tenant, script: str, server: NameServer) -> None:
    zone = add(alice, "example.com")
    body = {"pattern": "example.com/*", "script": script}
    status, code, message = alice.refusal("POST", f"/zones/{zone['id']}/workers/routes", json=body)
    assert (status, code) == (400, 10089)
    assert zone["proof"]["name"] in message
    put = f"{SCRIPTS}/{script}/routes"
    assert alice.refusal("PUT", put, json=[{"pattern": "example.com/*"}])[1] == 10089
    named = {"hostname": "app.example.com", "service": script}
    assert alice.refusal("PUT", DOMAINS, json=named)[1] == 10089


def test_a_pending_zone_holds_nothing_back(
    alice: Tenant, mallory: Tenant, server: NameServer
) -> None:
    squatted = add(mallory, "example.com")
    mine = add(alice, "example.com")
    server.records[mine["proof"]["name"]] = [mine["proof"]["content"]]
    assert check(alice, mine)["status"] == "active"
    # Even with a record of its own the other account comes too late.
    server.records[mine["proof"]["name"]].append(squatted["proof"]["content"])
    looked = check(mallory, squatted)
    assert looked["status"] == "pending"
    assert "another account" in looked["proof"]["problem"]


def test_who_switches_the_proof_off_activates_what_waits(
    alice: Tenant, server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = add(alice, "example.com")
    monkeypatch.setattr(settings(), "zone_proof", "none")
    assert check(alice, zone)["status"] == "active"
    assert server.asked == []


def test_how_often_is_looked() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)

    def wait(age: timedelta) -> timedelta | None:
        found = service.next_look(start, start + age)
        return found - (start + age) if found else None

    assert wait(timedelta()) == timedelta(seconds=30)
    assert wait(timedelta(minutes=20)) == timedelta(minutes=5)
    assert wait(timedelta(days=2)) == timedelta(hours=1)
    assert wait(timedelta(days=7)) is None


def test_one_run_looks_and_after_a_week_nobody_does(
    alice: Tenant, server: NameServer, session: Session
) -> None:
    zone = add(alice, "example.com")
    assert service.due(session) == [zone["id"]]
    assert service.claim(session, zone["id"]) is not None
    assert service.claim(session, zone["id"]) is None
    assert service.due(session) == []
    week = now() - timedelta(days=8)
    session.execute(update(Zone).values(created_at=week, next_check_at=now()))
    session.commit()
    assert service.claim(session, zone["id"]) is not None
    session.commit()
    shown = alice.result("GET", f"/zones/{zone['id']}")
    assert (shown["status"], shown["proof"]["next_check_on"]) == ("pending", None)
    # A person may still ask.
    server.records[zone["proof"]["name"]] = [zone["proof"]["content"]]
    assert check(alice, zone)["status"] == "active"
