"""Stored logs: taken once, asked for by anybody who may, with Cloudflare's telemetry query."""

import gzip
import json
import subprocess
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Connection, func, select
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from api.clock import now
from api.gateway import create_gateway
from api.invocations import partitions
from api.invocations.models import losses
from api.logs.models import log_events
from api.nodes.service import Enrolment
from api.scripts.models import Script
from api.settings import CHECKOUT
from api.tails import service as tails
from api.versions import service as versions
from api.versions.models import Version
from tests.cast import Tenant, upload_parts

SCRIPT = "workers/scripts/shop"
OBSERVED = {"observability": {"enabled": True, "head_sampling_rate": 0.5}}
RAY = "0123456789abcdef"


@pytest.fixture
def gateway(connection: Connection) -> Iterator[TestClient]:
    with TestClient(create_gateway(), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def shop(alice: Tenant, session: Session) -> str:
    """The id of a script that alice has."""
    alice.result("PUT", SCRIPT, **upload_parts(**OBSERVED))
    return str(next(s["tag"] for s in alice.result("GET", "workers/scripts") if s["id"] == "shop"))


def _now_ms() -> int:
    return round(now().timestamp() * 1000)


def _told(script_id: str, path: str = "/cart", **changes: Any) -> dict[str, Any]:
    """An invocation as a node hands it over, with a line of structure."""
    event = {
        "outcome": "ok",
        "eventTimestamp": _now_ms(),
        "event": {
            "request": {
                "url": f"http://shop.dev.localhost{path}?secret=1",
                "method": "GET",
                "headers": {"CF-Ray": f"{RAY}-EDGE1", "user-agent": "curl"},
            },
            "response": {"status": 200},
        },
        "logs": [
            {
                "level": "log",
                "message": ["took", {"user": {"id": 7}, "items": 3}],
                "timestamp": _now_ms(),
            }
        ],
        "exceptions": [],
        **changes.pop("event", {}),
    }
    return {
        "script_id": script_id,
        "version_id": "v1",
        "rate": 1,
        "invocation": True,
        "heard_ms": _now_ms(),
        "front": {"status": 200, "duration_us": 1500, "cold": False},
        "event": event,
        **changes,
    }


def _send(
    gateway: TestClient, node: Enrolment, *events: Any, batch_id: str = "", **more: Any
) -> tuple[int, Any]:
    answer = gateway.put(
        f"/edge/v1/logs/{batch_id or uuid.uuid4()}",
        content=gzip.compress(json.dumps({"events": events, **more}).encode()),
        headers={"Authorization": f"Bearer {node.token}", "Content-Type": "application/gzip"},
    )
    return answer.status_code, answer.json()


def _count(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(log_events)) or 0


def test_a_batch_that_comes_again_counts_once(
    gateway: TestClient, node: Enrolment, session: Session, shop: str
) -> None:
    batch = {"batch_id": str(uuid.uuid4()), "lost": {"log_spool": 2}}
    assert _send(gateway, node, _told(shop), **batch) == (200, {"taken": True})
    assert _send(gateway, node, _told(shop), **batch) == (200, {"taken": False})
    assert _count(session) == 2
    assert session.execute(select(losses.c.reason, losses.c.records)).all() == [("log_spool", 2)]
    rows = session.execute(select(log_events).order_by(log_events.c.number)).all()
    invocation, line = rows
    assert (invocation.kind, invocation.message) == (
        "invocation",
        "GET http://shop.dev.localhost/cart?secret=1",
    )
    assert (line.kind, line.message) == ("log", 'took {"user": {"id": 7}, "items": 3}')
    assert line.fields == {"user": {"id": 7}, "items": 3}
    for row in rows:
        assert (row.ray, row.path, row.status, row.duration_us) == (RAY, "/cart", 200, 1500)
        assert (row.script_name, row.version_id, row.node_id) == ("shop", "v1", node.node.id)


def test_what_postgres_cannot_hold_is_replaced_and_strangers_are_left_out(
    gateway: TestClient, node: Enrolment, session: Session, shop: str
) -> None:
    lines = [
        {"level": "log", "message": ["a\0b", {"c\0": "\ud800"}], "timestamp": 1e300},
        {"level": "log", "message": ['{"x": NaN}'], "timestamp": "never"},
        "no line",
    ]
    told = _told(shop, event={"logs": lines, "eventTimestamp": None})
    assert _send(gateway, node, told, _told("unknown"))[0] == 200
    assert _count(session) == 3
    message = session.scalar(select(log_events.c.message).where(log_events.c.number == 1))
    assert message == 'a\ufffdb {"c\ufffd": "?"}'


@pytest.mark.parametrize(
    "event", [{"rate": 0}, {"rate": 2}, {"event": []}, {"more": 1}, {"front": {"status": "x"}}]
)
def test_what_is_no_batch_is_refused(
    gateway: TestClient, node: Enrolment, session: Session, shop: str, event: Any
) -> None:
    told = _told(shop)
    assert _send(gateway, node, {**told, **event})[0] == 400
    assert _count(session) == 0


def test_invocations_are_left_out_when_they_are_not_wanted(
    gateway: TestClient, node: Enrolment, session: Session, shop: str
) -> None:
    _send(gateway, node, _told(shop, invocation=False, rate=0.25))
    assert session.execute(select(log_events.c.kind, log_events.c.rate)).all() == [("log", 0.25)]


SOURCE = """interface Cart { items: number }
function pay(cart: Cart): never {
  throw new TypeError("cannot pay " + cart.items);
}
export default { fetch() { pay({ items: 1 }); } };
"""


def test_a_stack_is_led_back_to_its_sources(
    gateway: TestClient,
    node: Enrolment,
    session: Session,
    alice: Tenant,
    shop: str,
    broker: redis.Redis,
    tmp_path: Path,
) -> None:
    """The map is esbuild's, as wrangler's is, and stays with a version made of another."""
    (tmp_path / "cart.ts").write_text(SOURCE)
    esbuild = CHECKOUT / "node_modules" / ".bin" / "esbuild"
    arguments = ["cart.ts", "--sourcemap", "--format=esm", "--outfile=index.js"]
    subprocess.run([esbuild, *arguments], cwd=tmp_path, check=True, capture_output=True)
    source_map = (tmp_path / "index.js.map").read_bytes()
    extra = {"index.js.map": ("index.js.map", source_map, "application/source-map")}
    parts = upload_parts((tmp_path / "index.js").read_text(), extra=extra)
    alice.result("PUT", SCRIPT, **parts)
    alice.result("PUT", f"{SCRIPT}/secrets", json={"name": "A", "text": "b", "type": "secret_text"})
    version_id = alice.result("GET", f"{SCRIPT}/versions")["items"][0]["id"]
    stack = "TypeError: cannot pay 1\n    at pay (index.js:2:9)\n    at index.js:5:3"
    thrown = {"name": "TypeError", "message": "cannot pay 1", "stack": stack, "timestamp": 1}
    event = {"outcome": "exception", "logs": [], "exceptions": [thrown]}
    _send(gateway, node, _told(shop, event=event, version_id=version_id))
    fields = session.scalar(select(log_events.c.fields).where(log_events.c.kind == "exception"))
    assert fields
    assert fields["runtime_stack"] == stack
    assert "at pay (cart.ts:3:9)" in fields["stack"]
    assert "at cart.ts:5:" in fields["stack"]
    # Whoever tails the script sees the same.
    with broker.pubsub(ignore_subscribe_messages=True) as shown:
        shown.subscribe(tails.events_channel(shop))
        shown.get_message(timeout=5)
        odd = {"outcome": "ok", "exceptions": [{"stack": 1}, "none"]}
        told = [
            {"script_id": shop, "version_id": version_id, "event": one}
            for one in ({**event, "exceptions": [thrown]}, odd, None)
        ]
        headers = {"Authorization": f"Bearer {node.token}"}
        answer = gateway.post("/edge/v1/tail-events", json={"events": told}, headers=headers)
        assert answer.status_code == 200
        (first, second, _) = json.loads(shown.get_message(timeout=5)["data"])
    assert first["event"]["exceptions"] == [{**thrown, "stack": fields["stack"]}]
    assert second["event"] == odd


TELEMETRY = "workers/observability/telemetry"


def _query(tenant: Tenant, view: str = "events", **more: Any) -> Any:
    timeframe = {"from": _now_ms() - 3_600_000, "to": _now_ms() + 60_000}
    parameters = more.pop("parameters", {})
    body = {"queryId": "q", "timeframe": timeframe, "view": view, "parameters": parameters, **more}
    return tenant.result("POST", f"{TELEMETRY}/query", json=body)


def _messages(tenant: Tenant, *filters: dict[str, Any], **parameters: Any) -> list[str]:
    found = _query(tenant, parameters={"filters": filters, **parameters})["events"]
    return [one["$metadata"]["message"] for one in found["events"]]


def _is(key: str, value: Any, operation: str = "eq", type_: str = "string") -> dict[str, Any]:
    return {"key": key, "operation": operation, "type": type_, "value": value}


LINE = 'took {"user": {"id": 7}, "items": 3}'
FILTERS = [
    (_is("$metadata.service", "shop"), 4),
    (_is("$metadata.service", "other"), 0),
    (_is("$workers.event.request.path", "/pay"), 2),
    (_is("$workers.event.request.path", "/p", "starts_with"), 2),
    (_is("$workers.event.request.path", "^/(pay|cart)$", "MATCH_REGEX"), 4),
    (_is("$workers.outcome", "ok", "!="), 2),
    (_is("$workers.outcome", "ok,exception", "IN"), 4),
    (_is("$workers.outcome", "exception", "not_in"), 2),
    (_is("$workers.wallTimeMs", 100, "gt", "number"), 2),
    (_is("$workers.wallTimeMs", 100, "<=", "number"), 2),
    (_is("$workers.event.rayId", RAY), 2),
    (_is("$workers.event.response.status", 500, "eq", "number"), 2),
    (_is("user.id", 7, "eq", "number"), 1),
    (_is("items", 4, "lt", "number"), 1),
    (_is("user.id", None, "exists"), 1),
    (_is("user.id", None, "DOES_NOT_EXIST"), 3),
    (_is("$metadata.error", "cannot", "includes"), 1),
    (_is("$metadata.error", "cannot", "not_includes"), 3),
    (_is("$workers.truncated", False, "eq", "boolean"), 4),
    (_is("nothing.of.it", "x"), 0),
]


@pytest.fixture
def told(gateway: TestClient, node: Enrolment, shop: str) -> str:
    """A visit that went well, with a line, and one that did not, which stands for two."""
    thrown = {"name": "TypeError", "message": "cannot pay", "stack": "TypeError: cannot pay"}
    event = _told(shop, "/pay")["event"]
    event["event"]["request"]["headers"]["CF-Ray"] = "f" * 16
    failed = {**event, "outcome": "exception", "logs": [], "exceptions": [thrown]}
    front = {"status": 500, "duration_us": 250_000, "cold": True}
    _send(gateway, node, _told(shop), _told(shop, event=failed, front=front, rate=0.5))
    return shop


@pytest.mark.usefixtures("told")
def test_filters_and_words(alice: Tenant) -> None:
    for asked, count in FILTERS:
        assert len(_messages(alice, asked)) == count, asked
    assert (
        _messages(alice, _is("items", 3, "eq", "number"), _is("user.id", 8, "eq", "number")) == []
    )
    either = [_is("items", 3, "eq", "number"), _is("$metadata.type", "exception")]
    assert len(_messages(alice, *either, filterCombination="or")) == 2
    assert _messages(alice, needle={"value": "ITEMS"}) == [LINE]
    assert _messages(alice, needle={"value": "ITEMS", "matchCase": True}) == []
    assert _messages(alice, needle={"value": "c.n+ot", "isRegex": True}) == [
        "TypeError: cannot pay"
    ]
    assert _messages(alice, needle={"value": "50%_"}) == []


@pytest.mark.usefixtures("told")
def test_events_invocations_and_their_pages(alice: Tenant) -> None:
    found = _query(alice)["events"]
    assert found["count"] == 4
    happened = sum(data["count"] for step in found["series"] for data in step["data"])
    assert happened == 2 + 2 / 0.5
    (line,) = [one for one in found["events"] if one["$metadata"]["message"] == LINE]
    assert line["source"]["user"] == {"id": 7}
    workers = line["$workers"]
    assert (workers["outcome"], workers["eventType"], workers["wallTimeMs"]) == ("ok", "fetch", 1.5)
    assert workers["event"]["response"] == {"status": 200}
    assert line["$skerry"]["sampleRate"] == 1

    seen: list[str] = []
    offset: str | None = None
    for _ in range(4):
        (one,) = _query(alice, limit=1, offset=offset)["events"]["events"]
        offset = one["$metadata"]["id"]
        seen.append(one["$metadata"]["id"])
    assert seen == [one["$metadata"]["id"] for one in found["events"]]
    assert _query(alice, limit=1, offset=offset)["events"]["events"] == []

    asked = {"filters": [_is("$metadata.type", "exception")]}
    (events,) = _query(alice, "invocations", parameters=asked)["invocations"].values()
    kinds = [one["$skerry"]["kind"] for one in events]
    assert sorted(kinds) == ["exception", "invocation"]


@pytest.mark.usefixtures("told")
def test_calculations_tell_what_happened_and_not_what_was_sampled(alice: Tenant) -> None:
    invocations = [_is("$metadata.type", "invocation")]
    wanted = [
        {"operator": "count", "alias": "visits"},
        {"operator": "p95", "key": "$workers.wallTimeMs"},
        {"operator": "AVG", "key": "$workers.wallTimeMs"},
        {"operator": "uniq", "key": "$workers.event.request.path"},
    ]
    parameters = {"filters": invocations, "calculations": wanted}
    found = _query(alice, "calculations", parameters=parameters)["calculations"]
    values = [one["aggregates"][0]["value"] for one in found]
    assert values == [3, pytest.approx(237.575), pytest.approx((1.5 + 2 * 250) / 3), 2]
    assert found[0]["alias"] == "visits"
    assert found[0]["aggregates"][0]["sampleInterval"] == 1.5
    assert found[0]["series"]
    groups = [{"type": "string", "value": "$workers.outcome"}]
    grouped = {"filters": invocations, "calculations": wanted[:1], "groupBys": groups}
    (count,) = _query(alice, "calculations", parameters=grouped, ignoreSeries=True)["calculations"]
    assert [(one["groups"][0]["value"], one["value"]) for one in count["aggregates"]] == [
        ("exception", 2),
        ("ok", 1),
    ]


@pytest.mark.usefixtures("told")
def test_keys_and_values(alice: Tenant) -> None:
    found = {one["key"]: one["type"] for one in alice.result("POST", f"{TELEMETRY}/keys", json={})}
    assert found["user.id"] == "number"
    assert found["stack"] == "string"
    assert found["$workers.outcome"] == "string"
    narrowed = alice.result("POST", f"{TELEMETRY}/keys", json={"keyNeedle": {"value": "USER"}})
    assert [one["key"] for one in narrowed] == ["headers.user-agent", "user.id"]
    timeframe = {"from": _now_ms() - 60_000, "to": _now_ms() + 60_000}
    asked = {"key": "$workers.outcome", "type": "string", "timeframe": timeframe, "datasets": []}
    values = alice.result("POST", f"{TELEMETRY}/values", json=asked)
    assert [one["value"] for one in values] == ["exception", "ok"]


@pytest.mark.usefixtures("told")
def test_another_account_sees_nothing(alice: Tenant, mallory: Tenant) -> None:
    assert _messages(mallory) == []
    assert _messages(mallory, _is("$metadata.service", "shop")) == []
    keys = mallory.result("POST", f"{TELEMETRY}/keys", json={})
    assert "user.id" not in {one["key"] for one in keys}
    path = f"/accounts/{alice.id}/{TELEMETRY}/query"
    body = {"queryId": "q", "timeframe": {"from": 0, "to": 1}}
    assert mallory.refusal("POST", path, json=body)[0] in (403, 404)


REFUSED = [
    ({"view": "traces"}, "events, invocations and calculations"),
    ({"compare": True}, "ask twice"),
    ({"timeframe": {"from": 2, "to": 1}}, "later than"),
    ({"offset": "x"}, "$metadata.id"),
    ({"view": "calculations"}, "needs `parameters.calculations`"),
    ({"parameters": {"filters": [_is("a", "b", "sounds_like")]}}, "no operation"),
    ({"parameters": {"filters": [_is("$workers.cpuTimeMs", 1)]}}, "CPU time"),
    ({"parameters": {"filters": [_is("$workers.wallTimeMs", "x", "eq")]}}, "is a number"),
    ({"parameters": {"filters": [_is("a", "(", "regex")]}}, "cannot be read"),
    ({"parameters": {"havings": [{"key": "a"}]}}, "havings"),
]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_is_not_answered_is_said(alice: Tenant, changes: dict[str, Any], words: str) -> None:
    timeframe = {"from": _now_ms() - 60_000, "to": _now_ms() + 60_000}
    body = {"queryId": "q", "timeframe": timeframe, **changes}
    status, _, message = alice.refusal("POST", f"{TELEMETRY}/query", json=body)
    assert status == 400
    assert words in message


def _observed(session: Session, name: str = "shop") -> Any:
    """What nodes are told of the newest version."""
    session.expire_all()
    version = session.scalar(
        select(Version).join(Script).where(Script.name == name).order_by(Version.number.desc())
    )
    assert version
    return versions.spec(version)["observability"]


def test_the_last_word_on_what_is_stored_counts(alice: Tenant, session: Session, shop: str) -> None:
    assert _observed(session) == {"rate": 0.5, "invocations": True, "subrequests": False}
    settings = f"{SCRIPT}/script-settings"
    alice.result("PATCH", settings, json={"observability": {"enabled": False}})
    assert _observed(session) is None
    logs = {"enabled": True, "head_sampling_rate": 0.1, "invocation_logs": False}
    parts = {"logs": logs, "traces": {"enabled": True}}
    alice.result("PATCH", settings, json={"observability": {"enabled": False, **parts}})
    assert _observed(session) == {"rate": 0.1, "invocations": False, "subrequests": True}
    alice.result("PUT", SCRIPT, **upload_parts())
    assert _observed(session) is None
    alice.result("PUT", SCRIPT, **upload_parts(observability={"logs": {"enabled": True}}))
    assert _observed(session) == {"rate": 1, "invocations": True, "subrequests": False}
    for wrong in (
        {"enabled": 1},
        {"head_sampling_rate": 2},
        {"logs": {"persist": "no"}},
        {"traces": {"enabled": "yes"}},
    ):
        assert alice.refusal("PATCH", settings, json={"observability": wrong})[0] == 422
        assert alice.refusal("PUT", SCRIPT, **upload_parts(observability=wrong))[0] == 400
    assert shop


def test_an_old_day_goes_at_once(
    gateway: TestClient, node: Enrolment, session: Session, shop: str
) -> None:
    _send(gateway, node, _told(shop))
    partitions.ensure(session, {(now() - timedelta(days=20)).date()}, partitions.LOGS)
    (gone,) = partitions.expire(session)
    assert gone.startswith("log_events_")
    assert _count(session) == 2
