"""A packed version under the official runtime client: everything that calls a function, and how it ends."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from edge.lambda_zip import pack
from edge.spec import SpecError, read_spec
from tests.aws.lambdas import Functions, Lambda, answer_of, functions, packed, url_event
from tests.edge.bundles import Bundle

pytestmark = pytest.mark.edge

BURST = 50
SECRET = "only-sealed-in-the-zip"

SCRIPT = """
let later = 0;
const seen = [];
export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/later") {
      ctx.waitUntil(scheduler.wait(150).then(() => ctx.waitUntil(scheduler.wait(150).then(() => { later += 1; }))));
      return new Response("answered");
    }
    if (pathname === "/pieces") return new Response(pieces(false));
    if (pathname === "/broken") return new Response(pieces(true));
    if (pathname === "/binary") return new Response(Uint8Array.of(0, 255, 128));
    if (pathname === "/seen") return Response.json({ later, seen });
    if (pathname === "/secret") return new Response(env.SECRET);
    const headers = [["content-type", "application/json"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]];
    const told = ["x-a", "cf-connecting-ip", "x-forwarded-proto"].map((name) => request.headers.get(name));
    return new Response(JSON.stringify([request.method, request.url, told, await request.text()]), { status: 201, headers });
  },
  async scheduled({ cron, scheduledTime }) {
    seen.push([cron, scheduledTime]);
    if (cron === "boom") throw new Error("on purpose");
  },
  async queue(batch) {
    for (const message of batch.messages) {
      seen.push([batch.queue, message.id, message.body, message.attempts, message.timestamp.getTime()]);
      if (message.body === "again") message.retry();
      if (message.body === "boom") throw new Error("on purpose");
      if (message.body === "done") message.ack();
    }
  },
};
function pieces(broken) {
  const text = new TextEncoder();
  return new ReadableStream({
    async start(controller) {
      for (const word of ["one", "two", "three"]) {
        controller.enqueue(text.encode(word));
        await scheduler.wait(200);
      }
      broken ? controller.error(new Error("broke")) : controller.close();
    },
  });
}
"""
BUNDLE = Bundle(SCRIPT, bindings=[{"name": "SECRET", "type": "secret_text", "text": SECRET}])


@pytest.fixture(scope="module")
def lambdas() -> Iterator[Functions]:
    with functions() as started:
        yield started


@pytest.fixture(scope="module")
def function(lambdas: Functions) -> Lambda:
    return lambdas.start(BUNDLE)


def seen(function: Lambda) -> Any:
    return json.loads(function.visit("a.example", "/seen").body)


def test_the_same_version_is_the_same_bytes() -> None:
    assert packed(BUNDLE) == packed(BUNDLE)
    other = Bundle(SCRIPT, bindings=BUNDLE.bindings)
    assert packed(other) != packed(BUNDLE), "another version has another id"


def test_no_secret_is_readable_in_the_zip(function: Lambda) -> None:
    with zipfile.ZipFile(io.BytesIO(packed(BUNDLE))) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    assert [name for name, content in contents.items() if SECRET.encode() in content] == []
    assert function.visit("a.example", "/secret").body == SECRET.encode()


def test_storage_and_assets_alone_are_not_packed() -> None:
    limit = {"name": "RATE", "type": "ratelimit", "namespace_id": "1", "simple": {}}
    stored = Bundle(SCRIPT, bindings=[limit])
    with pytest.raises(SpecError, match=r"Binding RATE of type ratelimit cannot be offered"):
        pack(read_spec(stored.spec()), stored.files(), b"k" * 32)
    alone = Bundle(main_module="", assets={"/a": b"a"})
    with pytest.raises(SpecError, match="assets alone"):
        pack(read_spec(alone.spec()), alone.files(), b"k" * 32)


def test_what_is_given_to_wait_until_is_finished(function: Lambda) -> None:
    before = seen(function)["later"]
    invocation = function.begin(url_event("a.example", "/later"))
    assert invocation.answered.wait(20)
    assert answer_of(invocation).body == b"answered"
    assert not invocation.ended.is_set(), "the visitor has the answer while the script goes on"
    assert invocation.ended.wait(20)
    assert seen(function)["later"] == before + 1


def test_an_answer_is_streamed(function: Lambda) -> None:
    invocation = function.invoke(url_event("a.example", "/pieces"))
    assert answer_of(invocation).body == b"onetwothree"
    moments = [moment for moment, piece in invocation.pieces if piece in (b"one", b"two", b"three")]
    assert len(moments) == 3
    assert all(later - earlier > 0.1 for earlier, later in pairwise(moments))


def test_a_stream_that_breaks_is_no_whole_answer(function: Lambda) -> None:
    invocation = function.invoke(url_event("a.example", "/broken"))
    assert invocation.error == "Error"
    assert function.visit("a.example", "/seen").status == 200, "the function goes on"


# --- the other front doors --------------------------------------------------------------------

V1 = {
    "resource": "/{proxy+}",
    "path": "/a b",
    "httpMethod": "POST",
    "headers": {"Host": "a.example", "X-A": "2"},
    "multiValueHeaders": {"Host": ["a.example"], "X-A": ["1", "2"]},
    "multiValueQueryStringParameters": {"q": ["ä", "2"]},
    "requestContext": {"stage": "prod", "identity": {"sourceIp": "1.2.3.4"}, "httpMethod": "POST"},
    "body": "aGV5",
    "isBase64Encoded": True,
}
V2 = {
    **url_event("a.example", "/prod/a?q=1", "POST", b"hey", {"X-A": "1"}),
    "requestContext": {
        "domainName": "abc.execute-api.eu-central-1.amazonaws.com",
        "stage": "prod",
        "http": {"method": "POST", "sourceIp": "1.2.3.4", "protocol": "HTTP/1.1"},
    },
    "rawPath": "/prod/a",
}
BALANCED = {
    "requestContext": {"elb": {"targetGroupArn": "arn"}},
    "httpMethod": "GET",
    "path": "/a%20b",
    "queryStringParameters": {"q": "%C3%A4"},
    "headers": {
        "host": "a.example",
        "x-a": "1",
        "x-forwarded-for": "6.6.6.6, 1.2.3.4",
        "x-forwarded-proto": "http",
    },
    "body": "",
    "isBase64Encoded": False,
}
BALANCED_SEVERAL = {
    **{
        key: value
        for key, value in BALANCED.items()
        if key not in ("headers", "queryStringParameters")
    },
    "multiValueHeaders": {
        "host": ["a.example"],
        "x-a": ["1", "2"],
        "x-forwarded-for": ["1.2.3.4"],
        "x-forwarded-proto": ["https"],
    },
    "multiValueQueryStringParameters": {"q": ["1", "2"]},
}


def test_api_gateway_rest(function: Lambda) -> None:
    answer = function.invoke(V1).json()
    assert answer["statusCode"] == 201
    assert answer["isBase64Encoded"] is False
    assert answer["multiValueHeaders"]["set-cookie"] == ["a=1", "b=2"]
    assert json.loads(answer["body"]) == [
        "POST", "https://a.example/a%20b?q=%C3%A4&q=2", ["1, 2", "1.2.3.4", "https"], "hey",
    ]  # fmt: skip


def test_api_gateway_http(function: Lambda) -> None:
    answer = function.invoke(V2).json()
    assert (answer["statusCode"], answer["cookies"]) == (201, ["a=1", "b=2"])
    assert json.loads(answer["body"])[:3] == [
        "POST", "https://a.example/a?q=1", ["1", "1.2.3.4", "https"],
    ]  # fmt: skip
    binary = function.invoke({**V2, "rawPath": "/prod/binary"}).json()
    assert binary["isBase64Encoded"] is True
    assert base64.b64decode(binary["body"]) == b"\x00\xff\x80"


def test_load_balancer(function: Lambda) -> None:
    answer = function.invoke(BALANCED).json()
    assert (answer["statusCode"], answer["statusDescription"]) == (201, "201 Created")
    cookies = {value for name, value in answer["headers"].items() if name.lower() == "set-cookie"}
    assert cookies == {"a=1", "b=2"}
    assert json.loads(answer["body"]) == [
        "GET", "http://a.example/a%20b?q=%C3%A4", ["1", "1.2.3.4", "http"], "",
    ]  # fmt: skip
    several = function.invoke(BALANCED_SEVERAL).json()
    assert several["multiValueHeaders"]["set-cookie"] == ["a=1", "b=2"]
    assert json.loads(several["body"])[1] == "https://a.example/a%20b?q=1&q=2"


# --- what no visitor sends --------------------------------------------------------------------


def test_scheduled(function: Lambda) -> None:
    ran = function.invoke(
        {"skerry": "scheduled", "cron": "0 9 * * *", "scheduledTime": "2026-01-02T09:00:00Z"}
    )
    assert ran.json() == {"outcome": "ok"}
    assert ["0 9 * * *", 1767344400000] in seen(function)["seen"]
    failed = function.invoke(
        {"skerry": "scheduled", "cron": "boom", "scheduledTime": "2026-01-02T09:00:00Z"}
    )
    assert failed.error == "Error"


def record(body: str, id_: str = "m1", **attributes: Any) -> dict[str, Any]:
    return {
        "messageId": id_,
        "body": body,
        "attributes": {"SentTimestamp": "1767344400000", "ApproximateReceiveCount": "2"},
        "messageAttributes": attributes,
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:1:orders",
    }


def test_queue(function: Lambda) -> None:
    text = {"stringValue": "text", "dataType": "String"}
    mixed = [
        record("done"),
        record("again", "m2"),
        record('{"a": 1}', "m3"),
        record("1", "m4", contentType=text),
    ]
    assert function.invoke({"Records": mixed}).json() == {
        "batchItemFailures": [{"itemIdentifier": "m2"}]
    }
    assert ["orders", "m3", {"a": 1}, 2, 1767344400000] in seen(function)["seen"]
    assert ["orders", "m4", "1", 2, 1767344400000] in seen(function)["seen"]
    failing = [record("done"), record("boom", "m2"), record("never", "m3")]
    assert function.invoke({"Records": failing}).json() == {
        "batchItemFailures": [{"itemIdentifier": "m2"}, {"itemIdentifier": "m3"}]
    }


def test_what_nobody_knows_is_an_error(function: Lambda) -> None:
    assert function.invoke({"hello": "world"}).error == "Error"


# --- beginnings -------------------------------------------------------------------------------


def test_a_module_that_throws_is_an_error_of_the_start(lambdas: Functions) -> None:
    broken = lambdas.start(Bundle("throw new Error('at the start'); export default {};"))
    assert broken.process.wait(20) != 0
    assert "at the start" in broken.api.init_error


def test_fifty_cold_starts_at_once_all_answer(lambdas: Functions) -> None:
    started = [lambdas.start(BUNDLE) for _ in range(BURST)]
    invocations = [one.begin(url_event("a.example", "/secret")) for one in started]
    assert all(invocation.answered.wait(90) for invocation in invocations)
    assert {answer_of(one).body for one in invocations} == {SECRET.encode()}
    assert all(invocation.ended.wait(30) for invocation in invocations)
    for one in started:
        one.stop()
