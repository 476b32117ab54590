"""Tails as the API has them: who may make them, what they show, how they end."""

import asyncio
from typing import Any

import pytest
import redis

from api.tails import service, watching
from api.tails.filters import Filter, for_visitor
from api.websockets import Remasking
from tests.cast import Tenant, upload_parts
from tests.loops import run

TAILS = "workers/scripts/my-app/tails"


@pytest.fixture
def script(alice: Tenant) -> Tenant:
    alice.result("PUT", "workers/scripts/my-app", **upload_parts())
    return alice


def _event(path: str = "/", **changes: Any) -> dict[str, Any]:
    headers = {"cf-connecting-ip": "192.0.2.1", "x-who": "it is me"}
    request = {"url": f"http://app.test{path}", "method": "GET", "headers": headers}
    logs = [{"message": ["said", {"deep": "words"}], "level": "log", "timestamp": 1}]
    return {
        "outcome": "ok",
        "exceptions": [],
        "logs": logs,
        "event": {"request": request},
        **changes,
    }


def test_a_tail_is_made_listed_and_ended(script: Tenant) -> None:
    made = script.result("POST", TAILS, json={"filters": [{"sampling_rate": 1}]})
    assert made["url"].startswith("ws://")
    assert made["expires_at"]
    (listed,) = script.result("GET", TAILS)
    assert (listed["id"], listed["url"]) == (made["id"], None)
    script.result("DELETE", f"{TAILS}/{made['id']}")
    assert script.result("GET", TAILS) == []
    assert script.refusal("DELETE", f"{TAILS}/{made['id']}")[:2] == (404, 7003)


def test_wrangler_may_send_no_filters_as_text(script: Tenant) -> None:
    assert script.result(
        "POST", TAILS, content=b'{"filters":[]}', headers={"Content-Type": "text/plain"}
    )
    assert script.refusal("POST", TAILS)[0] == 422


def test_a_script_has_ten_tails(script: Tenant) -> None:
    for _ in range(10):
        script.result("POST", TAILS, json={})
    status, code, message = script.refusal("POST", TAILS, json={})
    assert (status, code) == (429, 10429)
    assert "10 tails" in message
    script.result("DELETE", f"{TAILS}/{script.result('GET', TAILS)[0]['id']}")
    script.result("POST", TAILS, json={})


def test_a_tail_that_nobody_looks_at_ends_by_itself(script: Tenant, broker: redis.Redis) -> None:
    made = script.result("POST", TAILS, json={})
    (name,) = [key.decode() for key in broker.keys("tails:of:*")]
    until = broker.zscore(name, made["id"])
    broker.zadd(name, {made["id"]: float(until) - service.ALONE_SECONDS - 1})
    assert script.result("GET", TAILS) == []


def test_strangers_see_no_tails(script: Tenant, mallory: Tenant) -> None:
    made = script.result("POST", TAILS, json={})
    assert mallory.refusal("POST", TAILS, json={})[:2] == (404, 10007)
    assert mallory.refusal("GET", TAILS)[:2] == (404, 10007)
    assert mallory.refusal("DELETE", f"{TAILS}/{made['id']}")[:2] == (404, 10007)


@pytest.mark.parametrize(
    "body",
    [
        {"filters": [{"colour": "red"}]},
        {"filters": [{"outcome": ["good"]}]},
        {"filters": [{}] * 21},
    ],
)
def test_filters_that_do_not_exist_are_refused(script: Tenant, body: dict[str, Any]) -> None:
    assert script.refusal("POST", TAILS, json=body)[0] == 422
    assert script.result("GET", TAILS) == []


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({}, True),
        ({"sampling_rate": 0}, False),
        ({"sampling_rate": 1}, True),
        ({"outcome": ["ok", "canceled"]}, True),
        ({"outcome": ["exception"]}, False),
        ({"method": ["get"]}, True),
        ({"method": ["POST"]}, False),
        ({"header": {"key": "X-Who"}}, True),
        ({"header": {"key": "x-who", "query": "me"}}, True),
        ({"header": {"key": "x-who", "query": "you"}}, False),
        ({"header": {"key": "x-other"}}, False),
        ({"client_ip": ["192.0.2.9", "192.0.2.1"]}, True),
        ({"client_ip": ["192.0.2.9"]}, False),
        ({"client_ip": ["self"]}, True),
        ({"query": "said"}, True),
        ({"query": "words"}, True),
        ({"query": "unsaid"}, False),
        ({"scriptVersion": "v1"}, True),
        ({"scriptVersion": "v2"}, False),
    ],
)
def test_what_a_filter_shows(sent: dict[str, Any], shown: bool) -> None:
    (one,) = for_visitor([Filter.model_validate(sent)], "192.0.2.1")
    assert one.passes(_event(), "v1") is shown


@pytest.mark.parametrize("sent", [{"method": ["GET"]}, {"header": {"key": "x-who"}}])
def test_what_is_no_request_passes_no_filter_of_requests(sent: dict[str, Any]) -> None:
    cron = _event(event={"cron": "* * * * *", "scheduledTime": 1})
    assert not Filter.model_validate(sent).passes(cron, "v1")


def test_a_slow_reader_loses_events_and_is_told_how_many(script: Tenant) -> None:
    made = script.result("POST", TAILS, json={})
    secret = made["url"].rsplit("/", 1)[1]

    async def read() -> tuple[int, int]:
        valkey = watching.connect()
        tail = await watching.find(valkey, secret)
        assert tail
        seen = lost = 0
        reading = watching.watch(valkey, tail)
        begun = asyncio.ensure_future(anext(reading))
        await asyncio.sleep(0.3)  # the subscription
        sent = [{"version_id": "v1", "event": _event(), "dropped": 0}] * 500
        for _ in range(4):
            await asyncio.to_thread(service.publish, {tail.script_id: sent})
        await asyncio.to_thread(service.publish, {tail.script_id: [{"dropped": 7}]})
        first = await begun
        seen, lost = len(first.events), first.dropped
        await asyncio.sleep(0.5)  # it reads nothing meanwhile
        while seen + lost < 2007:
            shown = await anext(reading)
            seen, lost = seen + len(shown.events), lost + shown.dropped
        await reading.aclose()
        await valkey.aclose()
        return seen, lost

    seen, lost = run(asyncio.wait_for(read(), 30))
    assert seen + lost == 2007
    assert lost > 7
    assert seen >= watching.WAITING_MAX


def test_a_tail_that_is_ended_while_it_is_read_does_not_come_back(
    script: Tenant, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = script.result("POST", TAILS, json={})
    prolongation = service.prolongation

    def ended_meanwhile(tail: service.Tail) -> list[tuple[str, dict[str, float]]]:
        service.end(tail.account_id, tail.script_id, tail.id)
        return prolongation(tail)

    async def read() -> None:
        valkey = watching.connect()
        tail = await watching.find(valkey, made["url"].rsplit("/", 1)[1])
        assert tail
        monkeypatch.setattr(service, "prolongation", ended_meanwhile)
        with pytest.raises(StopAsyncIteration):
            await anext(watching.watch(valkey, tail))
        await valkey.aclose()

    run(asyncio.wait_for(read(), 30))
    assert broker.keys("tails:of:*") == []


@pytest.mark.parametrize("cut", range(1, 12))
def test_frames_without_a_mask_get_one(cut: int) -> None:
    bare = bytes([0x81, 3]) + b"abc"
    masked = bytes([0x89, 0x80 | 2]) + b"\1\2\3\4" + b"xy"
    long = bytes([0x82, 126]) + (300).to_bytes(2, "big") + b"z" * 300
    sent = bare + masked + long
    remasking = Remasking()
    got = remasking.pass_on(sent[:cut]) + remasking.pass_on(sent[cut:])
    assert got == (
        bytes([0x81, 0x83])
        + bytes(4)
        + b"abc"
        + masked
        + bytes([0x82, 0x80 | 126])
        + (300).to_bytes(2, "big")
        + bytes(4)
        + b"z" * 300
    )


def test_a_tail_needs_valkey(script: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.settings import settings  # noqa: PLC0415 - after the environment is set

    monkeypatch.setattr(settings(), "redis_url", "redis://127.0.0.1:9/0")
    assert script.refusal("POST", TAILS, json={})[:2] == (503, 10500)
