"""Zones by clicking: added, proven, led to Workers, deleted; what cannot be done is said beside the form."""

import html
import re
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.accounts.models import Account
from api.scripts import service as scripts
from api.scripts.urls import origin
from api.settings import settings
from api.zones import leading, service as zones
from api.zones.models import Zone
from tests.dashboard.test_find import found
from tests.names import NameServer, name_server

ROUTE = {"pattern": "example.com/api/*", "route_script": "shop"}
DOMAIN = {"hostname": "shop.example.com", "domain_script": "shop"}
OTHER_ID = "0" * 32


@pytest.fixture
def zone(ada: TestClient, make_script: Callable[..., None]) -> str:
    """The address of an active zone, beside two Workers."""
    make_script("shop", "blog")
    answer = ada.post("/zones", data={"name": "Example.com"})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def text_of(page: str) -> str:
    """What a person reads."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def stored(session: Session, account: Account) -> dict[str, str]:
    """Which Worker what leads to."""
    session.expire_all()
    led = {}
    for zone in zones.zones(session, account):
        led |= {one.pattern: one.script.name for one in leading.routes(session, zone)}
        led |= {one.hostname: one.script.name for one in leading.domains_of_zone(session, zone)}
    return led


def action(page: str, label: str) -> str:
    """Where the form with this button goes."""
    pattern = (
        rf'<form method="post" action="([^"]+)"(?:(?!</form>).)*aria-label="{re.escape(label)}"'
    )
    match = re.search(pattern, html.unescape(page), re.DOTALL)
    assert match, label
    return match[1]


def test_the_first_page_says_what_a_zone_is(ada: TestClient) -> None:
    page = text_of(ada.get("/zones").text)
    assert "A zone is a domain that is yours" in page
    assert '"custom_domain": true' in page


def test_a_zone_is_added_and_found_by_name_and_id(
    ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    assert zone == "/zones/example.com"
    (row,) = zones.zones(session, account)
    assert ada.get(f"/zones/{row.id}").status_code == 200
    assert ada.get("/zones/EXAMPLE.com").status_code == 200
    assert "Active" in text_of(ada.get(zone).text)
    assert "Active 0 0" in text_of(ada.get("/zones").text)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "Enter a domain"),
        ("a b", "is no domain"),
        ("<b>.example", "is no domain"),
        ("x\0.example", "ordinary characters"),
        ("localhost", "with a dot"),
        ("example.com", "already exists"),
        ("shop.example.com", "overlaps with example.com"),
    ],
)
def test_a_domain_that_will_not_do(ada: TestClient, zone: str, name: str, said: str) -> None:
    answer = ada.post("/zones", data={"name": name})
    assert answer.status_code == 422
    assert "name-error" in answer.text
    assert said in text_of(answer.text)
    if "\0" not in name:
        assert f'value="{html.escape(name)}"' in answer.text


def test_routes_from_their_making_to_their_end(
    ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    assert ada.post(f"{zone}/routes", data=ROUTE).headers["location"] == zone
    page = ada.get(zone).text
    assert 'href="/workers/shop"' in page
    edit = re.search(rf'href="({zone}/routes/[0-9a-f]{{32}})"', page)
    assert edit
    form = ada.get(edit[1]).text
    assert 'value="example.com/api/*"' in form
    assert re.search(r'<option value="shop" selected>', form)
    changed = {"pattern": "*.example.com/x", "route_script": "blog"}
    assert ada.post(edit[1], data=changed).headers["location"] == zone
    assert stored(session, account) == {"*.example.com/x": "blog"}
    assert ada.post(action(ada.get(zone).text, "Delete *.example.com/x")).status_code == 303
    assert stored(session, account) == {}
    assert ada.get(edit[1]).status_code == 404


@pytest.mark.parametrize(
    ("sent", "field", "said"),
    [
        ({"pattern": ""}, "pattern", "Enter a pattern"),
        ({"pattern": "example.org/*"}, "pattern", "is not in the zone"),
        ({"pattern": "example.com/?a"}, "pattern", "no query"),
        ({"pattern": "example.com/taken"}, "pattern", "leads to blog"),
        ({"route_script": ""}, "route_script", "Choose the Worker"),
        ({"route_script": "gone"}, "route_script", "gone"),
    ],
)
def test_a_route_that_will_not_do(
    ada: TestClient,
    zone: str,
    session: Session,
    account: Account,
    sent: dict[str, str],
    field: str,
    said: str,
) -> None:
    ada.post(f"{zone}/routes", data={"pattern": "example.com/taken", "route_script": "blog"})
    ada.post(f"{zone}/routes", data=ROUTE)
    before = stored(session, account)
    edit = re.findall(rf'href="({zone}/routes/[0-9a-f]{{32}})"', ada.get(zone).text)[0]
    for address in (f"{zone}/routes", edit):
        answer = ada.post(address, data={**ROUTE, "pattern": "example.com/typed", **sent})
        assert answer.status_code == 422
        assert f"{field}-error" in answer.text
        assert said in text_of(answer.text)
        typed = {"pattern": "example.com/typed", **sent}["pattern"]
        assert f'value="{typed}"' in answer.text
    assert stored(session, account) == before


def test_custom_domains_are_added_and_removed(
    ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    assert ada.post(f"{zone}/domains", data=DOMAIN).headers["location"] == zone
    taken = ada.post(f"{zone}/domains", data={**DOMAIN, "domain_script": "blog"})
    assert taken.status_code == 422
    assert "is a custom domain of shop already" in text_of(taken.text)
    assert 'value="shop.example.com"' in taken.text
    assert stored(session, account) == {"shop.example.com": "shop"}
    assert "Move shop.example.com to this Worker" in text_of(taken.text)
    moved = ada.post(
        f"{zone}/domains", data={**DOMAIN, "domain_script": "blog", "take": "shop.example.com"}
    )
    assert moved.headers["location"] == zone
    assert stored(session, account) == {"shop.example.com": "blog"}
    for hostname in ("", "*.example.com", "shop.example.org", "shop.example.com/x"):
        answer = ada.post(f"{zone}/domains", data={**DOMAIN, "hostname": hostname})
        assert answer.status_code == 422
        assert "hostname-error" in answer.text
        assert f'value="{hostname}"' in answer.text
    assert ada.post(action(ada.get(zone).text, "Remove shop.example.com")).status_code == 303
    assert stored(session, account) == {}


def test_a_zone_is_deleted_with_what_is_in_it(
    ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    assert "nothing stops answering" in ada.get(f"{zone}/delete").text
    ada.post(f"{zone}/routes", data=ROUTE)
    ada.post(f"{zone}/domains", data=DOMAIN)
    assert "Active 1 1" in text_of(ada.get("/zones").text)
    assert "1 route and 1 custom domain go with it" in text_of(ada.get(f"{zone}/delete").text)
    assert ada.post(f"{zone}/delete").headers["location"] == "/zones"
    assert stored(session, account) == {}
    assert ada.get(zone).status_code == 404


# --- a Worker's own page ----------------------------------------------------------------------


def test_a_worker_takes_and_leaves_its_places(
    ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    settings_page = "/workers/shop/settings"
    for path, sent in (
        ("domains", {"hostname": "shop.example.com"}),
        ("routes", {"pattern": "https://*.example.com/x*"}),
        ("routes", {"pattern": "example.com"}),
    ):
        answer = ada.post(f"/workers/shop/settings/{path}", data=sent)
        assert answer.headers["location"] == settings_page
    led = {"shop.example.com", "https://*.example.com/x*", "example.com/"}
    assert stored(session, account) == dict.fromkeys(led, "shop")
    for page in ("/workers/shop", settings_page):
        shown = ada.get(page).text
        assert f'href="{origin("shop.example.com")}"' in shown
        assert f'href="{origin("example.com")}/"' in shown
        assert "https://*.example.com/x*" in shown
    assert f'href="{origin("shop.example.com")}"' in ada.get("/workers").text
    shown = ada.get(settings_page).text
    for label in (
        "Remove shop.example.com",
        "Delete https://*.example.com/x*",
        "Delete example.com/",
    ):
        assert ada.post(action(shown, label)).status_code == 303
    assert stored(session, account) == {}


def test_what_another_worker_has_stays_with_it(
    ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    """A page that is older than a change does not undo it."""
    ada.post("/workers/shop/settings/domains", data={"hostname": "shop.example.com"})
    ada.post("/workers/shop/settings/routes", data={"pattern": "example.com/x"})
    shown = ada.get("/workers/shop/settings").text
    for label in ("Remove shop.example.com", "Delete example.com/x"):
        address = action(shown, label).replace("/shop/", "/blog/")
        assert ada.post(address).status_code == 404
    assert stored(session, account) == {"shop.example.com": "shop", "example.com/x": "shop"}


@pytest.mark.parametrize(
    ("path", "field", "typed", "said"),
    [
        ("domains", "hostname", "", "Enter a host name"),
        ("domains", "hostname", "shop.example.org", "Add its domain under Zones first"),
        ("domains", "hostname", "example.com/x", "without wildcard and path"),
        ("domains", "hostname", "taken.example.com", "a custom domain of blog already"),
        ("routes", "pattern", "", "Enter a pattern"),
        ("routes", "pattern", "example.org/*", "Add its domain under Zones first"),
        ("routes", "pattern", "example.com:80/", "no port"),
        ("routes", "pattern", "example.com/taken", "leads to blog"),
    ],
)
def test_a_place_that_a_worker_cannot_have(
    ada: TestClient, zone: str, path: str, field: str, typed: str, said: str
) -> None:
    ada.post("/workers/blog/settings/domains", data={"hostname": "taken.example.com"})
    ada.post("/workers/blog/settings/routes", data={"pattern": "example.com/taken"})
    answer = ada.post(f"/workers/shop/settings/{path}", data={field: typed})
    assert answer.status_code == 422
    assert f"{field}-error" in answer.text
    assert said in text_of(answer.text)
    assert f'value="{typed}"' in answer.text


def test_a_custom_domain_moves_to_the_worker_that_asks_again(
    ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    for hostname in ("one.example.com", "two.example.com"):
        ada.post("/workers/blog/settings/domains", data={"hostname": hostname})
    place = "/workers/shop/settings/domains"
    asked = ada.post(place, data={"hostname": "one.example.com"})
    assert asked.status_code == 422
    assert 'name="take" value="one.example.com"' in asked.text
    # Another name than the one that was asked about is asked about, too.
    other = ada.post(place, data={"hostname": "two.example.com", "take": "one.example.com"})
    assert 'name="take" value="two.example.com"' in other.text
    assert set(stored(session, account).values()) == {"blog"}
    moved = ada.post(place, data={"hostname": "one.example.com", "take": "one.example.com"})
    assert moved.headers["location"] == "/workers/shop/settings"
    assert stored(session, account) == {"one.example.com": "shop", "two.example.com": "blog"}


def test_zones_and_custom_domains_are_found(ada: TestClient, zone: str) -> None:
    ada.post("/workers/shop/settings/domains", data={"hostname": "till.example.com"})
    assert ("example.com", zone) in found(ada.get("/find?search=EXAMPLE").text)
    assert ("till.example.com", "/workers/shop") in found(ada.get("/find?search=till").text)


# --- the proof --------------------------------------------------------------------------------


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    with name_server() as server:
        monkeypatch.setattr(settings(), "zone_proof", "dns")
        monkeypatch.setattr(settings(), "resolvers", [server.address])
        yield server


def test_a_pending_zone_is_proven(
    names: NameServer, ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    (row,) = zones.zones(session, account)
    page = ada.get(zone).text
    assert "_skerry-challenge.example.com" in page
    assert row.token in page
    assert "Not looked for yet." in page
    assert f'action="{zone}/routes"' not in page
    assert "Pending" in text_of(ada.get("/zones").text)
    for path, sent, typed in (
        ("routes", ROUTE, ROUTE["pattern"]),
        ("domains", DOMAIN, DOMAIN["hostname"]),
    ):
        refused = ada.post(f"{zone}/{path}", data=sent)
        assert refused.status_code == 422
        assert "is pending" in text_of(refused.text)
        assert f'value="{typed}"' in refused.text

    assert ada.post(f"{zone}/check").headers["location"] == zone
    page = text_of(ada.get(zone).text)
    assert "There is no TXT record _skerry-challenge.example.com." in page
    assert "Last looked for just now" in page
    names.records["_skerry-challenge.example.com"] = [row.token]
    assert ada.post(f"{zone}/check").status_code == 303
    assert "example.com is active." in text_of(ada.get(zone).text)
    page = ada.get(zone).text
    assert row.token not in page
    assert f'action="{zone}/routes"' in page


def test_what_nobody_looks_for_any_more_says_so(
    names: NameServer, ada: TestClient, zone: str, session: Session, account: Account
) -> None:
    (row,) = zones.zones(session, account)
    row.next_check_at = None
    session.commit()
    assert "no longer looks by itself" in ada.get(zone).text


# --- strangers --------------------------------------------------------------------------------


def test_a_strangers_zone_is_not_there(
    ada: TestClient, make_script: Callable[..., None], session: Session
) -> None:
    make_script("shop")
    other = Account(name="other", subdomain="other")
    session.add(other)
    session.flush()
    theirs = zones.create(session, other.id, "their.example")
    script = scripts.lock_or_create(session, other.id, "theirs")
    route = leading.add_route(session, theirs, "their.example/*", script)
    session.commit()
    assert "their.example" not in ada.get("/zones").text
    assert found(ada.get("/find?search=their").text) == []
    for zone in (theirs.name, theirs.id):
        for path in ("", "/delete", f"/routes/{route.id}"):
            assert ada.get(f"/zones/{zone}{path}").status_code == 404
        for path in (
            "/check",
            "/delete",
            "/routes",
            "/domains",
            f"/routes/{route.id}",
            f"/routes/{route.id}/delete",
            f"/domains/{OTHER_ID}/delete",
        ):
            answer = ada.post(f"/zones/{zone}{path}", data={**ROUTE, **DOMAIN})
            assert answer.status_code == 404, path
    assert ada.post(f"/workers/shop/settings/routes/{route.id}/delete").status_code == 404
    session.expire_all()
    assert session.get(Zone, theirs.id) is not None
    assert [one.pattern for one in leading.routes(session, theirs)] == ["their.example/*"]


@pytest.mark.parametrize("name", ["none.example", "%00", "a%20b", OTHER_ID, "x" * 300, "%22"])
def test_what_is_no_zone_is_a_page(ada: TestClient, name: str) -> None:
    assert ada.get(f"/zones/{name}").status_code == 404
