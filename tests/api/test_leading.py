"""Routes and custom domains: what they may be, whose they are, and what nodes are told of them."""

from typing import Any

import pytest
from sqlalchemy.orm import Session

from api.deployments import rollouts
from api.errors import RouteInvalid
from api.nodes.models import Node
from api.nodes.service import Enrolment
from api.scripts import service as scripts
from api.zones import leading, patterns
from api.zones.models import Route
from tests.api.test_zones import add
from tests.cast import Tenant, upload_parts

SCRIPTS = "workers/scripts"
DOMAINS = "workers/domains"


# --- patterns ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stored", "base"),
    [
        ("example.com", "example.com/", "example.com"),
        ("Example.COM/Path", "example.com/Path", "example.com"),
        ("example.com/*", "example.com/*", "example.com"),
        ("https://*.example.com/a*", "https://*.example.com/a*", "example.com"),
        ("*example.com/*", "*example.com/*", "example.com"),
        ("HTTP://example.com", "http://example.com/", "example.com"),
        ("bücher.example/", "xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("*.bücher.example/x", "*.xn--bcher-kva.example/x", "xn--bcher-kva.example"),
        ("example.com/to/http://*", "example.com/to/http://*", "example.com"),
        ("example.com./x", "example.com/x", "example.com"),
    ],
)
def test_how_a_pattern_is_stored(text: str, stored: str, base: str) -> None:
    read = patterns.read(text)
    assert (str(read), read.base) == (stored, base)
    assert str(patterns.read(stored)) == stored


@pytest.mark.parametrize(
    ("text", "fitting", "others"),
    [
        ("example.com/a", ["example.com/a"], ["example.com/ab", "www.example.com/a"]),
        ("example.com/a*", ["example.com/a", "example.com/ab/c?q"], ["example.com/"]),
        ("example.com", ["example.com/"], ["example.com/a"]),
        ("*.example.com/*", ["a.b.example.com/x"], ["example.com/x", "notexample.com/x"]),
        ("*example.com/*", ["example.com/", "a.example.com/"], ["notexample.com/"]),
    ],
)
def test_what_fits_a_pattern(text: str, fitting: list[str], others: list[str]) -> None:
    def fits(url: str) -> bool:
        host, _, path = url.partition("/")
        return patterns.read(text).fits("http", host, f"/{path}") is not None

    assert [url for url in [*fitting, *others] if fits(url)] == fitting


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no host"),
        ("/path", "no host"),
        ("*/path", "no host"),
        ("ftp://example.com/", "no other scheme"),
        ("://example.com/", "no other scheme"),
        ("example.com:8080/", "no port"),
        ("a*.example.com/", "one wildcard at most, at its beginning"),
        ("**.example.com/", "one wildcard at most, at its beginning"),
        ("example.com/*/x", "one wildcard at most, at its end"),
        ("example.com/**", "one wildcard at most, at its end"),
        ("example.com/?a=b", "no query"),
        ("example.com/#a", "no query and no fragment"),
        ("example.com/a b", "printable ASCII"),
        ("example.com/ü", "percent-encoded"),
        ("example.com/a;b", "printable ASCII without"),
        ("example.com/$", "printable ASCII without"),
        ("127.0.0.1/x", "IP address"),
        ("-a.example.com/", "no label"),
        ("a..example.com/", "no label"),
        ("example.com/" + "x" * 1100, "at most 1,024"),
    ],
)
def test_what_is_no_pattern(text: str, said: str) -> None:
    with pytest.raises(RouteInvalid, match=said):
        patterns.read(text)


# --- routes -----------------------------------------------------------------------------------


@pytest.fixture
def other(alice: Tenant) -> str:
    alice.result("PUT", f"{SCRIPTS}/other", **upload_parts())
    return "other"


@pytest.fixture
def zone(alice: Tenant) -> Any:
    return add(alice, "example.com")


class Slots:
    """What the node would be told now."""

    def __init__(self, session: Session, node: Enrolment) -> None:
        self.session = session
        self.node = session.get_one(Node, node.node.id)
        self.seen = 0

    def new(self) -> dict[str, tuple[list[str], list[str]]]:
        """Host names and routes of each script whose slot has changed since the last look, the first
        that a node is to hear of first."""
        self.session.expire_all()
        found = rollouts.desired(self.session, self.node, self.seen)
        slots = sorted(found, key=lambda slot: slot["generation"])
        self.seen = max([self.seen, *(slot["generation"] for slot in slots)])
        return {slot["name"]: (slot["hostnames"], slot["routes"]) for slot in slots}


@pytest.fixture
def slots(session: Session, node: Enrolment) -> Slots:
    return Slots(session, node)


def routes_of(tenant: Tenant, zone: Any) -> list[tuple[str, str]]:
    found = tenant.result("GET", f"/zones/{zone['id']}/workers/routes")
    return [(route["pattern"], route["script"]) for route in found]


def test_the_life_of_a_route(
    alice: Tenant, mallory: Tenant, slots: Slots, script: str, other: str, zone: Any
) -> None:
    routes = f"/zones/{zone['id']}/workers/routes"
    assert slots.new() == {script: ([], []), other: ([], [])}
    body = {"pattern": "Example.com/api/*", "script": script}
    route = alice.result("POST", routes, json=body)
    assert (route["pattern"], route["script"]) == ("example.com/api/*", script)
    assert slots.new() == {script: ([], ["example.com/api/*"])}
    assert alice.result("GET", f"{routes}/{route['id']}") == route
    status, code, message = alice.refusal("POST", routes, json={**body, "script": other})
    assert (status, code, "leads to my-app" in message) == (409, 10020, True)
    body = {"pattern": "*.example.com/x", "script": other}
    assert alice.result("PUT", f"{routes}/{route['id']}", json=body)["script"] == other
    told = slots.new()
    assert told == {script: ([], []), other: ([], ["*.example.com/x"])}
    assert list(told) == [other, script]  # visitors find one of the two at any time
    of_service = f"workers/services/{other}/environments/production/routes?show_zonename=true"
    (shown,) = alice.result("GET", of_service)
    nowhere = alice.refusal("GET", of_service.replace("production", "staging"))
    assert (nowhere[:2], "only production" in nowhere[2]) == ((404, 10007), True)
    assert (shown["pattern"], shown["zone_name"]) == ("*.example.com/x", "example.com")
    for method in ("GET", "DELETE"):
        path = f"{routes}/{route['id']}"
        assert mallory.refusal(method, path)[:2] == (404, 7003)
    assert alice.refusal("GET", f"{routes}/{'0' * 32}")[:2] == (404, 10009)
    assert alice.result("DELETE", f"{routes}/{route['id']}") == {"id": route["id"]}
    assert slots.new() == {other: ([], [])}
    assert routes_of(alice, zone) == []


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        ({"pattern": "example.org/*", "script": "my-app"}, 400, 10022, "not in the zone"),
        ({"pattern": "notexample.com/*", "script": "my-app"}, 400, 10022, "not in the zone"),
        ({"pattern": "example.com/*/x", "script": "my-app"}, 400, 10022, "at its end"),
        ({"pattern": "example.com/*"}, 400, 10022, "no origin behind it"),
        ({"pattern": "example.com/*", "script": "nobody"}, 404, 10007, "does not exist"),
    ],
)
def test_what_is_no_route(
    alice: Tenant, script: str, zone: Any, body: Any, status: int, code: int, said: str
) -> None:
    found = alice.refusal("POST", f"/zones/{zone['id']}/workers/routes", json=body)
    assert found[:2] == (status, code)
    assert said in found[2]
    assert routes_of(alice, zone) == []


def put(tenant: Tenant, script: str, *patterns: str | dict[str, str]) -> list[str]:
    wanted = [one if isinstance(one, dict) else {"pattern": one} for one in patterns]
    found = tenant.result("PUT", f"{SCRIPTS}/{script}/routes", json=wanted)
    return [route["pattern"] for route in found]


def test_all_routes_of_a_script_are_replaced(
    alice: Tenant, mallory: Tenant, slots: Slots, script: str, other: str, zone: Any
) -> None:
    second = add(alice, "example.org")
    slots.new()
    named = {"pattern": "www.example.org/*", "zone_name": "example.org"}
    by_id = {"pattern": "example.org/x", "zone_id": second["id"]}
    all_three = ["example.com/a*", "example.org/x", "www.example.org/*"]
    assert put(alice, script, "example.com/a*", named, by_id) == all_three
    assert slots.new() == {script: ([], all_three)}
    ids = [route["id"] for route in alice.result("GET", f"{SCRIPTS}/{script}/routes")]
    # The same again is no change, and what stays is not made anew.
    assert put(alice, script, by_id, named, "EXAMPLE.com/a*") == all_three
    assert slots.new() == {}
    assert ids == [route["id"] for route in alice.result("GET", f"{SCRIPTS}/{script}/routes")]
    # A route of another script is not taken, and nothing else of the request happens.
    wanted = [{"pattern": "example.com/new"}, {"pattern": "example.com/a*"}]
    assert alice.refusal("PUT", f"{SCRIPTS}/{other}/routes", json=wanted)[:2] == (409, 10020)
    assert routes_of(alice, zone) == [("example.com/a*", script)]
    status, code, message = alice.refusal(
        "PUT", f"{SCRIPTS}/{script}/routes", json=[{"pattern": "nowhere.test/*"}]
    )
    assert (status, code, "/zones" in message) == (400, 10082, True)
    for wrong in ({"zone_name": "example.net"}, {"zone_name": "www.example.org"}):
        body = [{"pattern": "example.org/*", **wrong}]
        assert alice.refusal("PUT", f"{SCRIPTS}/{script}/routes", json=body)[1] == 10082
    theirs = add(mallory, "mallory.test")
    body = [{"pattern": "mallory.test/*", "zone_id": theirs["id"]}]
    assert alice.refusal("PUT", f"{SCRIPTS}/{script}/routes", json=body)[:2] == (404, 7003)
    assert slots.new() == {}
    assert put(alice, script, by_id) == ["example.org/x"]
    assert slots.new() == {script: ([], ["example.org/x"])}


def test_a_wildcard_without_a_dot_stays_in_its_zone(
    alice: Tenant, slots: Slots, script: str, other: str, zone: Any
) -> None:
    """Nodes compare how a host ends, and `notexample.com` may be another account's."""
    slots.new()
    both = ["*.example.com/x*", "example.com/x*"]
    assert put(alice, script, "*example.com/x*") == ["*example.com/x*"]
    assert slots.new() == {script: ([], both)}
    # The same once more is one to the nodes.
    put(alice, script, "*example.com/x*", "example.com/x*")
    assert slots.new() == {script: ([], both)}
    routes = f"/zones/{zone['id']}/workers/routes"
    for pattern in ("example.com/x*", "*.example.com/x*"):
        body = {"pattern": pattern, "script": other}
        assert alice.refusal("POST", routes, json=body)[:2] == (409, 10020), pattern
    # Another path, or another scheme, is another route.
    put(alice, other, "example.com/x", "https://example.com/x*")
    body = {"pattern": "*example.com/x", "script": script}
    status, code, message = alice.refusal("POST", routes, json=body)
    assert (status, code, 'the route "example.com/x"' in message) == (409, 10020, True)


def test_which_of_one_scripts_routes_a_request_is_explained_by(
    alice: Tenant, session: Session, script: str, zone: Any
) -> None:
    put(alice, script, "*example.com/*", "example.com/*", "example.com/a*", "*.example.com/x")

    def led(host: str, path: str) -> str | None:
        found = leading.answering(session, alice.id, host, path)
        return next((one.pattern for one in found if isinstance(one, Route)), None)

    assert led("example.com", "/abc?d=*") == "example.com/a*"
    assert led("example.com", "/x") == "example.com/*"
    assert led("www.example.com", "/x") == "*.example.com/x"
    assert led("www.example.com", "/y") == "*example.com/*"
    assert led("www.example.org", "/x") is None


def test_a_zone_is_deleted_with_all_that_leads_through_it(
    alice: Tenant, slots: Slots, script: str, other: str, zone: Any
) -> None:
    add(alice, "example.org")
    put(alice, script, "example.com/*", "example.org/*")
    alice.result("PUT", DOMAINS, json={"hostname": "app.example.com", "service": other})
    slots.new()
    alice.result("DELETE", f"/zones/{zone['id']}")
    assert slots.new() == {script: ([], ["example.org/*"]), other: ([], [])}
    assert alice.result("GET", DOMAINS) == []
    # The name is free again.
    add(alice, "example.com")


def test_a_script_takes_its_routes_and_domains_with_it(
    alice: Tenant, slots: Slots, script: str, other: str, zone: Any
) -> None:
    put(alice, script, "example.com/*")
    alice.result("PUT", DOMAINS, json={"hostname": "app.example.com", "service": script})
    alice.result("DELETE", f"workers/services/{script}")
    assert slots.new()[script] == ([], [])
    assert (routes_of(alice, zone), alice.result("GET", DOMAINS)) == ([], [])
    # Another one may have them.
    assert put(alice, other, "example.com/*") == ["example.com/*"]


def test_a_script_that_is_not_deployed_keeps_its_routes_for_later(
    alice: Tenant, session: Session, slots: Slots, zone: Any
) -> None:
    scripts.lock_or_create(session, alice.id, "later")
    session.commit()
    assert put(alice, "later", "example.com/*") == ["example.com/*"]
    assert slots.new() == {}
    alice.result("PUT", f"{SCRIPTS}/later", **upload_parts())
    assert slots.new() == {"later": ([], ["example.com/*"])}


# --- custom domains ---------------------------------------------------------------------------


def hosts(tenant: Tenant, query: str = "") -> list[tuple[str, str]]:
    found = tenant.result("GET", f"{DOMAINS}{query}")
    return [(domain["hostname"], domain["service"]) for domain in found]


def records(*hostnames: str, take: bool = False, replace: bool = True) -> dict[str, Any]:
    return {
        "override_scope": replace,
        "override_existing_origin": take,
        "override_existing_dns_record": take,
        "origins": [{"hostname": hostname} for hostname in hostnames],
    }


def test_the_life_of_a_custom_domain(
    alice: Tenant, mallory: Tenant, slots: Slots, script: str, other: str, zone: Any
) -> None:
    slots.new()
    body = {"hostname": "App.example.com", "service": script, "environment": "production"}
    domain = alice.result("PUT", DOMAINS, json={**body, "zone_id": zone["id"]})
    assert (domain["hostname"], domain["zone_name"]) == ("app.example.com", "example.com")
    assert slots.new() == {script: (["app.example.com"], [])}
    for path in (DOMAINS, f"{DOMAINS}/records"):
        assert alice.result("GET", f"{path}/{domain['id']}") == domain
        assert mallory.refusal("GET", f"{path}/{domain['id']}")[:2] == (404, 100114)
        assert mallory.refusal("DELETE", f"{path}/{domain['id']}")[:2] == (404, 100114)
        first = 0 if path.endswith("records") else 1
        query = f"?page={first}&per_page=5&service={script}&environment=production"
        assert [one["id"] for one in alice.result("GET", f"{path}{query}")] == [domain["id"]]
        assert alice.result("GET", f"{path}?service={other}") == []
    assert hosts(alice, f"?zone_id={zone['id']}&hostname=app.example.com") == [
        ("app.example.com", script)
    ]
    # The same name once more goes to the script that is named now.
    moved = alice.result("PUT", f"{DOMAINS}/records", json={**body, "service": other})
    assert (moved["id"], moved["service"]) == (domain["id"], other)
    told = slots.new()
    assert told == {script: ([], []), other: (["app.example.com"], [])}
    assert list(told) == [other, script]
    assert alice.result("DELETE", f"{DOMAINS}/{domain['id']}") == {"id": domain["id"]}
    assert slots.new() == {other: ([], [])}


def test_the_changes_that_wrangler_asks_for(
    alice: Tenant, slots: Slots, script: str, other: str, zone: Any
) -> None:
    alice.result("PUT", DOMAINS, json={"hostname": "taken.example.com", "service": other})
    mine = f"{SCRIPTS}/{script}/domains"
    alice.result("PUT", f"{mine}/records", json=records("old.example.com", "same.example.com"))
    slots.new()
    wanted = ["new.example.com", "same.example.com", "taken.example.com"]
    origins = [{"hostname": hostname} for hostname in wanted]
    changes = alice.result("POST", f"{mine}/changeset?replace_state=true", json=origins)
    assert [one["hostname"] for one in changes["added"]] == ["new.example.com"]
    assert [one["hostname"] for one in changes["removed"]] == ["old.example.com"]
    updated = {one["hostname"]: (one["service"], one["modified"]) for one in changes["updated"]}
    assert updated == {"same.example.com": (script, False), "taken.example.com": (other, True)}
    assert changes["conflicting"] == []
    added = alice.result("POST", f"{mine}/changeset", json=origins)
    assert added["removed"] == []
    status, code, message = alice.refusal("PUT", f"{mine}/records", json=records(*wanted))
    assert (status, code, "of other already" in message) == (409, 100116, True)
    assert slots.new() == {}, "nothing was changed"
    alice.result("PUT", f"{mine}/records", json=records(*wanted, take=True))
    assert slots.new() == {script: (wanted, []), other: ([], [])}
    alice.result("PUT", f"{mine}/records", json=records("more.example.com", replace=False))
    assert [host for host, _ in hosts(alice)] == ["more.example.com", *wanted]
    alice.result("PUT", f"{mine}/records", json=records())
    assert hosts(alice) == []


@pytest.mark.parametrize(
    ("origin", "status", "code", "said"),
    [
        ({"hostname": "*.example.com"}, 400, 100115, "one host name"),
        ({"hostname": "app.example.com/x"}, 400, 100115, "without"),
        ({"hostname": "app.example.org"}, 400, 10082, "no zone for app.example.org"),
        ({"hostname": "example.org", "zone_name": "example.com"}, 400, 100115, "not in the zone"),
        ({"hostname": "app.example.com", "zone_id": "0" * 32}, 404, 7003, "does not exist"),
        ({"hostname": "app.example.com", "enabled": False}, 400, 10400, "switched off"),
    ],
)
def test_what_is_no_custom_domain(
    alice: Tenant, script: str, zone: Any, origin: Any, status: int, code: int, said: str
) -> None:
    put = {**records(), "origins": [{"hostname": "good.example.com"}, origin]}
    found = alice.refusal("PUT", f"{SCRIPTS}/{script}/domains/records", json=put)
    assert found[:2] == (status, code)
    assert said in found[2]
    assert hosts(alice) == []


def test_a_domain_beside_the_live_url(alice: Tenant, slots: Slots, script: str, zone: Any) -> None:
    alice.result("POST", f"{SCRIPTS}/{script}/subdomain", json={"enabled": True})
    alice.result("PUT", DOMAINS, json={"hostname": "example.com", "service": script})
    assert slots.new() == {script: (["my-app.alice.localhost", "example.com"], [])}
    alice.result("POST", f"{SCRIPTS}/{script}/subdomain", json={"enabled": False})
    assert slots.new() == {script: (["example.com"], [])}
