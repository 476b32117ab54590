"""Routes: URLs that lead to a script, whichever hostname and however many scripts share it."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import ssl
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from edge.agent.front.maps import Map, change
from edge.agent.patterns import read_pattern
from edge.wire import WireError
from tests.edge.bundles import ACCOUNT_ID, Beside, Bundle, Json, answering, host_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.test_activation import states, until_idle
from tests.edge.test_homes import knows
from tests.edge.test_objects import ledger, namespace
from tests.edge.test_splits import expected, keyed, version, visits
from tests.edge.visitors import wrk

pytestmark = pytest.mark.edge

NOTHING = "nothing"
# By script. "own" has a hostname beside, as a custom domain or a subdomain is one.
ROUTES = {
    "exact": ["shop.test/api/v1", "shop.test/api", "shop.test"],
    "prefix": ["shop.test/api/*"],
    "longer": ["shop.test/api/v1/*", "shop.test/caf%C3%A9/*"],
    "secure": ["https://shop.test/api/*", "https://own.test/only"],
    "plain": ["http://shop.test/plain*"],
    "all": ["shop.test/a*"],
    "below": ["*.shop.test/*", "*.deep.shop.test/deep/*"],
    "ends": ["*shop.test/every/*", "*shop.test/api/v1/x/*"],
    "own": ["own.test/more/*", "signs.test/(a)!%26&+,-.:=@_~*"],
}


def deploy(
    node: TestNode,
    name: str,
    routes: Iterable[str] | None,
    hostnames: Iterable[str] = (),
    bundle: Bundle | None = None,
    beside: Beside | None = None,
    account: str = ACCOUNT_ID,
) -> Bundle:
    """A script that says its name, unless it is another one."""
    bundle = bundle or Bundle(answering(name))
    more: Json = {"account_id": account} | ({} if routes is None else {"routes": list(routes)})
    said = node.deploy(name, bundle, list(hostnames), beside=beside, more=more)
    assert said["state"] == "live", said
    return bundle


def connection(node: TestNode, scheme: str = "http") -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection("127.0.0.1", node.http_port, timeout=30)
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", node.https_port, timeout=30, context=trust)


def ask(visitor: http.client.HTTPConnection, host: str, path: str) -> str:
    """Which script answers."""
    visitor.request("GET", path, headers={"Host": host})
    answer = visitor.getresponse()
    text = answer.read().decode()
    if answer.status == 404 and "There is nothing here yet" in text:
        return NOTHING
    assert answer.status == 200, (host, path, answer.status, text)
    return text


def asked(node: TestNode, url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    with contextlib.closing(connection(node, scheme)) as visitor:
        return ask(visitor, host, slash + path)


@pytest.fixture(scope="module")
def routed(node: TestNode) -> TestNode:
    for name, routes in ROUTES.items():
        deploy(node, name, routes, ["own.test"] if name == "own" else [])
    return node


@pytest.mark.parametrize(
    ("url", "script"),
    [
        # The path: exact, then the longest; the query is no part of it.
        ("http://shop.test/api/v1", "exact"),
        ("http://shop.test/api", "exact"),
        ("http://shop.test/api?x=/api/v1", "exact"),
        ("http://shop.test/api/v1?", "exact"),
        ("http://shop.test/", "exact"),
        ("http://shop.test/api/", "prefix"),
        ("http://shop.test/api/v2", "prefix"),
        ("http://shop.test/api/v1/", "longer"),
        ("http://shop.test/api/v1/x/y", "longer"),
        ("http://shop.test/api/v1x", "prefix"),
        ("http://shop.test/apiary", "all"),
        ("http://shop.test/a", "all"),
        ("http://shop.test/A", NOTHING),
        ("http://shop.test/b", NOTHING),
        # As it was sent: whatever is encoded is another path.
        ("http://shop.test/caf%C3%A9/menu", "longer"),
        ("http://shop.test/caf%c3%a9/menu", NOTHING),
        ("http://shop.test/%61pi/v1", NOTHING),
        ("http://shop.test//api", NOTHING),
        # The scheme, between two of one path.
        ("https://shop.test/api/v2", "secure"),
        ("https://shop.test/api/v1", "exact"),
        ("https://shop.test/api/v1/x", "longer"),
        ("http://shop.test/plain/x", "plain"),
        ("https://shop.test/plain/x", NOTHING),
        # Forms of a hostname.
        ("http://SHOP.Test/api/", "prefix"),
        ("http://shop.test.:80/api/", "prefix"),
        ("http://Www.Shop.test:8080/x", "below"),
        # Wildcards, when those of the hostname itself have no such path.
        ("http://shop.test/every/x", "ends"),
        ("https://shop.test/every/x", "ends"),
        ("http://www.shop.test/", "below"),
        ("http://www.shop.test/every/x", "below"),
        ("http://badshop.test/every/x", "ends"),
        ("http://badshop.test/x", NOTHING),
        ("http://x.badshop.test/every/", "ends"),
        ("http://a.b.shop.test/x", "below"),
        ("http://a.deep.shop.test/deep/x", "below"),
        ("http://deep.shop.test/deep/x", "below"),
        ("http://shop.test.evil/every/x", NOTHING),
        ("http://hop.test/every/x", NOTHING),
        ("http://.shop/every/x", NOTHING),
        # The hostname's own script comes last.
        ("http://own.test/", "own"),
        ("http://own.test/only", "own"),
        ("https://own.test/only", "secure"),
        ("https://own.test/only/x", "own"),
        ("http://own.test/more/x", "own"),
        ("http://signs.test/(a)!%26&+,-.:=@_~/x", "own"),
        ("http://signs.test/(a)", NOTHING),
    ],
)
def test_which_route_answers(routed: TestNode, url: str, script: str) -> None:
    assert asked(routed, url) == script


def test_over_http2(routed: TestNode) -> None:
    def said(path: str) -> str:
        command = [
            *("curl", "--silent", "--insecure", "--http2", "--noproxy", "*", "--max-time", "20"),
            *("--resolve", f"shop.test:{routed.https_port}:127.0.0.1"),
            *("--write-out", " %{http_version}", f"https://shop.test:{routed.https_port}{path}"),
        ]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout

    assert said("/api/v2?x=y") == "secure 2"
    assert said("/api/v1") == "exact 2"
    assert said("/every/x") == "ends 2"


def test_a_request_without_a_path_or_a_host(routed: TestNode) -> None:
    def status(method: str, path: str, headers: dict[str, str]) -> int:
        with contextlib.closing(connection(routed)) as visitor:
            visitor.putrequest(method, path, skip_host=True)
            for name, value in headers.items():
                visitor.putheader(name, value)
            visitor.endheaders()
            return visitor.getresponse().status

    assert status("OPTIONS", "*", {"Host": "own.test"}) == 200
    assert status("OPTIONS", "*", {"Host": "shop.test"}) == 404
    assert status("GET", "http://shop.test/api/x", {"Host": "shop.test"}) == 200
    assert status("GET", "/" + "a" * 60_000, {"Host": "shop.test"}) == 200
    with socket.create_connection(("127.0.0.1", routed.http_port), 10) as raw:
        raw.sendall(b"GET /api/ HTTP/1.0\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "/",
        "shop.test/a b",
        "shop.test/a\tb",
        "shop.test/a\nb",
        "shop.test/a\n",
        "shop.test/a\x00",
        "shop.test/a\x7f",
        'shop.test/"',
        "shop.test/'",
        "shop.test/a\\b",
        "shop.test/a;b",
        "shop.test/#a",
        "shop.test/$HOME",
        "shop.test/a?b=c",
        "shop.test/*/x",
        "shop.test/a**",
        "shop.test/é",
        "shop.test*",
        "shop.*/x",
        "a*.test/x",
        "*.*.test/x",
        "**test/x",
        "*../x",
        "*/x",
        "shop.test:80/x",
        "ftp://shop.test/x",
        "HTTPS://shop.test/x",
        "shop test/x",
        "sh\nop.test/x",
        f"shop.test/{'x' * 1024}",
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(WireError, match=r"^slot\.routes holds "):
        read_pattern(text, "slot.routes")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Shop.Test", "shop.test/"),
        ("shop.test./A*", "shop.test/A*"),
        ("https://*.Shop.test/x", "https://*.shop.test/x"),
        ("*shop.test/*", "*shop.test/*"),
        ("http://shop.test", "http://shop.test/"),
    ],
)
def test_how_a_pattern_is_kept(text: str, kept: str) -> None:
    pattern = read_pattern(text, "slot")
    assert pattern.text == kept
    assert read_pattern(kept, "slot") == pattern


# Against a second opinion


HOSTS = ("a.test", "b.a.test", "c.b.a.test", "ba.test", "x.ba.test", "z.test")
STARTS = ("", "*", "*.")
PATHS = ("/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/", "/b")
SCRIPTS = ("r0", "r1", "r2", "r3", "r4", "r5")
OTHER_ACCOUNT = "b" * 32
ROUNDS = 12


def account_of(script: str) -> str:
    return OTHER_ACCOUNT if script in SCRIPTS[4:] else ACCOUNT_ID


def reference(url: tuple[str, str, str], routes: dict[str, str], hostnames: dict[str, str]) -> str:
    """The script that answers, as the rules say it: `routes` and `hostnames` lead to scripts."""
    scheme, host, path = url
    patterns = {read_pattern(text, ""): script for text, script in routes.items()}

    def covers(one: str) -> bool:
        return host.endswith(one[1:]) if one.startswith("*") else host == one

    found = sorted(
        {one.host for one in patterns if covers(one.host)},
        key=lambda one: (not one.startswith("*"), len(one.lstrip("*"))),
        reverse=True,
    )
    most = host if host in hostnames else found[0] if found else ""
    accounts = {account_of(script) for one, script in patterns.items() if one.host == most}
    accounts |= {account_of(script) for one, script in hostnames.items() if one == most}
    for one in found:
        fitting = [
            pattern
            for pattern, script in patterns.items()
            if pattern.host == one
            and pattern.scheme in ("", scheme)
            and (path.startswith(pattern.path) if pattern.open else path == pattern.path)
            and account_of(script) in accounts
        ]
        if fitting:
            best = max(fitting, key=lambda p: (not p.open, len(p.path), bool(p.scheme)))
            return patterns[best]
    return hostnames.get(host, NOTHING)


def a_pattern(chance: random.Random) -> str:
    scheme = chance.choice(("", "", "http://", "https://"))
    end = chance.choice(("", "*"))
    return f"{scheme}{chance.choice(STARTS)}{chance.choice(HOSTS)}{chance.choice(PATHS)}{end}"


def test_random_routes_lead_where_the_rules_say(gateway: Gateway, folder: Path) -> None:
    """Each round changes the routes of the one before, so that what the front is told is tried as well
    as what it decides."""
    chance = random.Random(11)
    bundles = {name: Bundle(answering(name)) for name in SCRIPTS}
    urls = [
        (s, h, p)
        for s in ("http", "https")
        for h in (*HOSTS, "y.a.test")
        for p in (*PATHS, "/a/bd")
    ]
    routes: dict[str, str] = {}
    with running_node(gateway, folder, "random") as node:
        visitors = {scheme: connection(node, scheme) for scheme in ("http", "https")}
        for turn in range(ROUNDS):
            routes = {one: script for one, script in routes.items() if chance.random() < 0.6}
            routes |= {
                a_pattern(chance): chance.choice(SCRIPTS) for _ in range(chance.randrange(25))
            }
            named = chance.sample(HOSTS, chance.randrange(4))
            hostnames = {host: chance.choice(SCRIPTS) for host in named}
            decided = [
                node.gateway.decide(
                    node.enrolled,
                    name,
                    bundle,
                    [host for host, script in hostnames.items() if script == name],
                    more={
                        "routes": [one for one, script in routes.items() if script == name],
                        "account_id": account_of(name),
                    },
                )
                for name, bundle in bundles.items()
            ]
            node.gateway.push(node.enrolled, *decided, files=node.gateway.files)
            for url in urls:
                wanted = reference(url, routes, hostnames)
                assert ask(visitors[url[0]], *url[1:]) == wanted, (turn, url, routes, hostnames)
        for visitor in visitors.values():
            visitor.close()
        assert node.events("front_answered") == []


def test_every_step_of_a_change_leads_where_it_did_or_will() -> None:
    chance = random.Random(5)
    texts = ["", *("".join(chance.choices("ab", k=chance.randrange(1, 6))) for _ in range(30))]

    def led(entries: Map, path: str) -> str:
        fits = [key for key in entries if path.startswith(key)]
        return entries[max(fits, key=len)] if fits else NOTHING

    def some() -> Map:
        return {key: chance.choice("xyz") for key in texts if chance.random() < 0.3}

    for _ in range(300):
        before, wanted = some(), some()
        state = dict(before)
        for command in change("map", before, wanted):
            # An empty key leaves two blanks.
            verb, _, _, key, *value = command.split(" ")
            if verb == "del":
                del state[key]
            else:
                assert (key in state) == (verb == "set")
                (state[key],) = value
            for path in texts:
                assert led(state, path) in (led(before, path), led(wanted, path))
        assert state == wanted


# What a node does with them


def test_a_pattern_that_cannot_be_read_refuses_its_slot_alone(routed: TestNode) -> None:
    node, gateway = routed, routed.gateway
    good = gateway.decide(node.enrolled, "fine", Bundle(answering("fine")), ["fine.test"])
    more: Json = {"routes": ["bad.test/x*", "bad.test/ \nx"]}
    bad = gateway.decide(node.enrolled, "bad", Bundle(answering("bad")), ["bad.test"], more=more)
    until(lambda: asked(node, "http://fine.test/") == "fine", what="the other one is pulled")
    until(lambda: node.events("slot_refused"), what="it is refused")
    complaint = str(node.events("slot_refused")[-1]["reason"])
    assert r"routes holds 'bad.test/ \nx', which is no pattern of a route" in complaint
    assert asked(node, "http://bad.test/x") == NOTHING
    body = json.dumps({"generation": node.enrolled.generation, "slots": [bad], "modules": {}})
    status, answer = gateway.call(node.enrolled, "POST", "/push", body.encode())
    assert status == 400
    assert "which is no pattern of a route" in str(answer)
    assert asked(node, "http://shop.test/api/x") == "prefix"
    assert good["script_id"] != bad["script_id"]
    deploy(node, "bad", ["bad.test/x*"])
    assert asked(node, "http://bad.test/xy") == "bad"


def test_a_wildcard_takes_nothing_from_another_account(routed: TestNode) -> None:
    deploy(routed, "greedy", ["*ictim.test/*", "*.victim.test/*"], account=OTHER_ACCOUNT)
    for host in ("victim.test", "www.victim.test"):
        assert asked(routed, f"http://{host}/x") == "greedy"
    deploy(routed, "victim", ["www.victim.test/only"], ["victim.test"])
    assert asked(routed, "http://victim.test/x") == "victim"
    assert asked(routed, "http://www.victim.test/only") == "victim"
    assert asked(routed, "http://www.victim.test/x") == NOTHING
    assert asked(routed, "http://a.www.victim.test/x") == "greedy"


def test_signs_that_haproxy_could_take_for_its_own(routed: TestNode) -> None:
    """In the runtime API a line that ends with `<<` is followed by more."""
    patterns = [
        "signs2.test/a<<*",
        "signs2.test/{a}|b&&c,d%[src]",
        "signs2.test/@1*",
        "*.signs2.test/<<*",
    ]
    bundle = deploy(routed, "signs", patterns)
    assert len(table(routed, "routes-signs2.test/")) == 2 * 3
    # A cell takes no `<`, and says so.
    for host, path, status in (
        ("signs2.test", "/@12", 200),
        ("signs2.test", "/a<<x", 400),
        ("signs2.test", "/a<x", 404),
        ("signs2.test", "/{a}|b&&c,d%[src]", 200),
        ("x.signs2.test", "/<<y", 400),
    ):
        with contextlib.closing(connection(routed)) as visitor:
            visitor.request("GET", path, headers={"Host": host})
            assert visitor.getresponse().status == status, path
    for fewer in ([], patterns[:1], patterns[1:], []):
        deploy(routed, "signs", fewer, bundle=bundle)
        entries = table(routed, "routes-signs2.test/") + table(routed, "routes-*.signs2.test/")
        assert sorted(entries) == written(routed, "signs2.test/")
        assert bool(entries) == bool(fewer)
    assert routed.events("front_answered") == []


def table(node: TestNode, start: str) -> list[str]:
    """Entries of the map of routes as HAProxy has them."""
    lines = node.admin(f"show map {node.folder.resolve()}/front/routes.map").splitlines()
    found = (line.partition(" ")[2] for line in lines)
    return sorted(line for line in found if line.startswith(start))


def written(node: TestNode, part: str) -> list[str]:
    """Entries of the map of routes in its file."""
    lines = (node.folder / "front" / "routes.map").read_text().splitlines()
    return sorted(line for line in lines if part in line)


def test_a_route_moves_under_load_and_nobody_fails(routed: TestNode) -> None:
    node, route = routed, [f"{host_of('moving')}/*"]
    bundles = [deploy(node, f"mover{number}", route if not number else []) for number in (0, 1)]
    with wrk(node, "moving") as answers:
        for turn in range(20):
            gains, leaves = (turn + 1) % 2, turn % 2
            if turn < 10:
                # First who gets it, then who had it.
                deploy(node, f"mover{gains}", route, bundle=bundles[gains])
                deploy(node, f"mover{leaves}", [], bundle=bundles[leaves])
            else:
                decided = [
                    node.gateway.decide(
                        node.enrolled, f"mover{one}", bundles[one], [], more={"routes": routes}
                    )
                    for one, routes in ((gains, route), (leaves, []))
                ]
                node.gateway.push(node.enrolled, *decided)
            assert asked(node, f"http://{host_of('moving')}/") == f"mover{gains}"
        # Other routes of the hostname come and go, a wildcard and a hostname, too.
        deploy(node, "mover1", route, bundle=bundles[1])
        for turn in range(20):
            routes = [
                *route,
                f"{host_of('moving')}/x{turn}*",
                "*.dev.localhost/y*",
                f"*{host_of('moving')}/z",
            ]
            deploy(node, "mover0", routes[: turn % 5], bundle=bundles[0])
            hostnames = [host_of("moving")] if turn % 3 else []
            deploy(node, "mover1", [] if hostnames else route, hostnames, bundle=bundles[1])
    assert answers[0] > 100


def test_a_script_that_does_not_start_takes_no_route_from_another(routed: TestNode) -> None:
    deploy(routed, "steady", ["steady.test/*"], ["steady2.test"])
    broken = Bundle("broken();")
    more: Json = {"routes": ["steady.test/*"]}
    assert routed.deploy("faulty", broken, ["steady2.test"], more=more)["state"] == "failed"
    assert asked(routed, "http://steady.test/") == "steady"
    assert asked(routed, "http://steady2.test/") == "steady"
    deploy(routed, "faulty", ["steady.test/*"], ["steady2.test"])
    assert asked(routed, "http://steady.test/") == "faulty"
    assert asked(routed, "http://steady2.test/") == "faulty"


def test_a_script_is_exchanged_under_load_through_a_route(routed: TestNode) -> None:
    route = [f"http://*.{host_of('renewed')}/*", f"{host_of('renewed')}/*"]
    deploy(routed, "renewing", route)
    with wrk(routed, "renewed") as answers:
        for number in range(8):
            deploy(routed, "renewing", route, bundle=Bundle(answering(f"renewed {number}")))
            assert asked(routed, f"http://{host_of('renewed')}/") == f"renewed {number}"
            assert asked(routed, f"http://x.{host_of('renewed')}/") == f"renewed {number}"
    assert answers[0] > 100


def test_a_request_is_recorded_as_one_of_the_routes_script(routed: TestNode) -> None:
    node = routed
    deploy(node, "shares1", ["recorded.test/one*"])
    deploy(node, "shares2", ["*.recorded.test/two*"], ["recorded.test"])
    urls = {"/one": "recorded.test", "/other": "recorded.test", "/two": "x.recorded.test"}
    for path, host in urls.items():
        asked(node, f"http://{host}{path}?query")
    asked(node, "http://x.recorded.test/nobody")

    def recorded() -> dict[str, Json]:
        return {
            str(one["path"]): one
            for one in node.enrolled.requests()
            if str(one["host"]).endswith("recorded.test")
        }

    until(lambda: recorded().keys() >= urls.keys(), 15, "all are recorded")
    ids = {one["name"]: id_ for id_, one in node.enrolled.slots.items()}
    scripts = {path: one["script_id"] for path, one in recorded().items()}
    assert scripts == {"/one": ids["shares1"], "/other": ids["shares2"], "/two": ids["shares2"]}
    assert recorded()["/one"]["host"] == "recorded.test"


def test_visitors_of_a_route_are_divided_between_two_versions(routed: TestNode) -> None:
    node, route = routed, [f"{host_of('dividing')}/*"]
    old, new = version("old", 1), version("new", 2)
    deploy(node, "divides", route, bundle=old)
    deploy(node, "beside", [f"{host_of('dividing')}/beside"])
    deploy(node, "divides", route, bundle=old, beside=(new, 30))
    assert visits(node, "dividing", 200, keyed) == expected(30)
    assert asked(node, f"http://{host_of('dividing')}/beside") == "beside"
    with wrk(node, "dividing") as answers:
        for percentage in (80, 10):
            deploy(node, "divides", route, bundle=old, beside=(new, percentage))
            assert visits(node, "dividing", 200, keyed) == expected(percentage)
        deploy(node, "divides", route, bundle=new)
        assert visits(node, "dividing", 50, keyed) == ["new"] * 50
    assert answers[0] > 100


def test_a_script_without_a_process_is_started_by_a_route(routed: TestNode) -> None:
    bundle = Bundle(answering("rests"), scaling={"idle_seconds": 1})
    deploy(routed, "rests", ["*.rests.test/r/*"], bundle=bundle)
    until_idle(routed, "rests")
    assert asked(routed, "https://a.rests.test/r/x") == "rests"
    assert states(routed, "rests") == ["serving"]


# What survives


@pytest.fixture
def own_node(gateway: Gateway, folder: Path, request: pytest.FixtureRequest) -> Iterator[TestNode]:
    with running_node(gateway, folder, request.node.name.removeprefix("test_")[:16]) as node:
        yield node


def kept(node: TestNode) -> None:
    """All of these routes lead where they should."""
    for url, script in {
        "http://kept.test/": "one",
        "http://kept.test/a/b": "two",
        "https://kept.test/a/b": "one",
        "http://x.kept.test/": NOTHING,
        "http://x.kept.test/w": "two",
        "http://x.y.kept.test/w": "one",
        "http://elsekept.test/w": "one",
    }.items():
        assert asked(node, url) == script, url


def test_routes_survive_every_restart_without_a_control_plane(
    own_node: TestNode, gateway: Gateway
) -> None:
    node = own_node
    deploy(node, "one", ["kept.test/*", "*kept.test/w", "*.y.kept.test/*"])
    deploy(node, "two", ["http://kept.test/a/*", "*.kept.test/w"])
    kept(node)
    gateway.stop()
    try:
        (front,) = node.pids("front")
        os.kill(front, signal.SIGKILL)
        kept(node)
        until(lambda: node.pids("front") not in ([], [front]), what="another one serves")
        assert node.events("front_repaired") == [], "all of it was in the files"
        node.kill_agent()
        kept(node)
        node.start()
        kept(node)
        node.kill_everything()
        node.start()
        kept(node)
        for name in ("routes", "endings"):
            node.admin(f"clear map {node.folder.resolve()}/front/{name}.map")
        assert asked(node, "http://kept.test/") == NOTHING
        node.kill_agent()
        node.start()  # compares at its start, as it does every minute
        kept(node)
        # Whoever adds one of these by hand adds it at the wrong end.
        map_file = f"{node.folder.resolve()}/front/endings.map"
        node.admin(f"del map {map_file} .y.kept.test")
        node.admin(f"add map {map_file} .y.kept.test routes-*.y.kept.test")
        assert asked(node, "http://x.y.kept.test/w") == "two"
        node.kill_agent()
        node.start()
        kept(node)
    finally:
        gateway.start()


def test_a_state_and_a_control_plane_that_know_no_routes(own_node: TestNode) -> None:
    node = own_node
    deploy(node, "older", None, ["older.test"])
    node.stop_agent()
    with sqlite3.connect(node.folder / "state.sqlite") as state:
        (changes,) = state.execute("PRAGMA user_version").fetchone()
        state.execute("ALTER TABLE slots DROP COLUMN routes")
        state.execute(f"PRAGMA user_version = {changes - 1}")
    state.close()
    node.start()
    assert asked(node, "http://older.test/") == "older"
    deploy(node, "older", None, ["older.test"])
    assert asked(node, "http://older.test/") == "older"
    deploy(node, "older", ["older.test/x", "other.test/*"])
    assert asked(node, "http://older.test/") == NOTHING
    assert asked(node, "http://other.test/") == "older"
    deploy(node, "older", None)
    assert asked(node, "http://other.test/") == NOTHING


# With a home


def test_a_route_leads_to_the_node_that_alone_runs_a_script(
    own_node: TestNode, gateway: Gateway, folder: Path
) -> None:
    home = own_node
    routes: Json = {"routes": ["home.test/book/*", "https://*.home.test/book/*"]}
    beside = Bundle(answering("beside"))
    with running_node(gateway, folder, "away") as other:
        until(lambda: knows(other, home), what="the other knows the home")
        until(lambda: knows(home, other), what="the home knows the other")
        bundle = ledger("v1", namespace())
        assert home.deploy("ledger", bundle, [], more=routes)["state"] == "live"
        for node in (home, other):
            deploy(node, "beside", ["home.test/book/beside"], ["home.test"], bundle=beside)
        led = {"node_id": home.enrolled.node_id, "name": home.name}
        decided = gateway.decide(other.enrolled, "ledger", None, [], more={**routes, "home": led})
        gateway.push(other.enrolled, decided)
        assert asked(other, "http://home.test/book/add/there") == '"v1"'
        assert asked(other, "https://x.home.test/book/add/secure") == '"v1"'
        assert asked(other, "http://x.home.test/book/all") == NOTHING
        assert json.loads(asked(home, "http://home.test/book/all")) == ["there", "secure"]
        assert asked(other, "http://home.test/book/beside") == "beside"
        assert asked(other, "http://home.test/") == "beside"

        def recorded(node: TestNode) -> set[str]:
            id_ = str(decided["script_id"])
            return {str(r["path"]) for r in node.enrolled.requests() if r["script_id"] == id_}

        until(lambda: "/book/all" in recorded(home), 15, "the home records them")
        assert recorded(home) == {"/book/add/there", "/book/add/secure", "/book/all"}
        assert recorded(other) == set()
