"""What invocations ask of others, as a node stores it of scripts with `observability.traces`."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.edge.bundles import Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

ASKS = """
const DONE = "asked everybody";

import { DurableObject } from "cloudflare:workers";

export class Counter extends DurableObject {
  add(number) { return number + 1; }
  get step() { return 1; }
  parts() { return { first: (word) => word.length }; }
  async fetch(request) {
    await this.env.KV.get("of the object");
    return new Response("counted");
  }
}

const ways = {
  "/several": async (to, env, request) => {
    const sent = { method: "POST", body: "a-secret-body", headers: { authorization: "a-secret-header" } };
    await (await fetch(`${to}/cart?a-secret-query`, sent)).text();
    await (await fetch(`${to}/missing`)).text();
    await fetch(`${to}/broken`).then((answer) => answer.text()).catch(() => {});
    await env.KV.put("a-secret-key", "a-secret-value");
    await env.KV.get("a-secret-key");
    await env.DB.prepare("SELECT 'a-secret-statement'").all();
    const stub = env.COUNTER.get(env.COUNTER.idFromName("a-secret-name"));
    await (await stub.fetch(request)).text();
    await stub.add(1);
    await caches.default.match(`${to}/cached?a-secret-query`);
  },
  "/many": async (to, env, request, ctx) => {
    ctx.waitUntil(scheduler.wait(300).then(() => fetch(`${to}/later`)).then((answer) => answer.text()));
    await Promise.all(Array.from({ length: 60 }, async (_, number) => (await fetch(`${to}/${number}`)).text()));
  },
  "/none": async () => {},
};

export default {
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    const to = searchParams.get("to");
    await ways[pathname](to, env, request, ctx);
    return new Response(DONE);
  },
};
"""
# Calls what the script above has.
CALLS = """
export default {
  async fetch(request, env) {
    const stub = env.OF_ANOTHER.getByName("a-secret-name");
    const answer = [await stub.add(1), await stub.step, (await stub.fetch(request)).status];
    await stub.missing().catch(() => {});
    using parts = await stub.parts();
    return Response.json([...answer, await parts.first("a-secret-argument")]);
  },
};
"""
EVERYTHING: Json = {"rate": 1.0, "invocations": True, "subrequests": True}
SLOW_SECONDS = 0.2


class Requests(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/broken":
            self.close_connection = True
            return
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(SLOW_SECONDS)
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Requests)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_EGRESS_ALLOW="127.0.0.0/8") as node:
        bundle = Bundle(
            ASKS,
            bindings=[
                {"name": "KV", "type": "kv_namespace", "namespace_id": "asked"},
                {"name": "DB", "type": "d1", "id": "asked"},
                {"name": "COUNTER", "type": "durable_object_namespace", "class_name": "Counter"},
            ],
            objects=[{"class_name": "Counter", "namespace_id": "c" * 32, "sqlite": True}],
            observability=EVERYTHING,
        )
        assert node.deploy("asks", bundle)["state"] == "live"
        yield node


def _stored(node: TestNode, path: str, entrypoint: str | None = None) -> Json:
    def found() -> list[Json]:
        return [
            one["event"]
            for batch in list(node.enrolled.logs.values())
            for one in batch["events"]  # type: ignore[attr-defined]
            if path in str(one["event"]["event"]) and one["event"].get("entrypoint") == entrypoint
        ]

    until(found, 30, f"{path} is stored")
    (event,) = found()
    return event


def test_fetches_and_bindings_are_told_with_their_answers(node: TestNode, host: str) -> None:
    assert node.visit("asks", f"/several?to=http://{host}").text == "asked everybody"
    event = _stored(node, "/several")
    said = event["subrequests"]
    listed = said["listed"]  # type: ignore[index]
    told = [(one["kind"], one["method"], one["target"], one["status"]) for one in listed]
    assert told == [
        ("fetch", "POST", f"{host}/cart", 200),
        ("fetch", "GET", f"{host}/missing", 404),
        ("fetch", "GET", f"{host}/broken", None),
        ("kv_put", "", "KV", None),
        ("kv_get", "", "KV", None),
        ("d1_all", "", "", None),
        ("durable_object_subrequest", "", "", None),
        ("durable_object_subrequest", "add", "", None),
        ("cache_match", "GET", f"{host}/cached", 504),
    ]
    assert said["count"] == len(listed)  # type: ignore[index]
    assert "a-secret" not in str(said)
    first, second = listed[:2]
    assert first["duration_ms"] >= SLOW_SECONDS * 1000 - 5
    assert second["offset_ms"] >= first["duration_ms"]
    of_object = _stored(node, "/several", "Counter")["subrequests"]
    assert of_object["count"] == 1  # type: ignore[index]


def test_the_first_fifty_are_listed_and_the_rest_is_counted(node: TestNode, host: str) -> None:
    node.visit("asks", f"/many?to=http://{host}")
    said = _stored(node, "/many")["subrequests"]
    assert said["count"] == 61  # type: ignore[index]
    assert len(said["listed"]) == 50  # type: ignore[index]


def test_none_is_a_number_too(node: TestNode, host: str) -> None:
    node.visit("asks", f"/none?to=http://{host}")
    assert _stored(node, "/none")["subrequests"] == {"count": 0, "listed": []}


def test_calls_of_another_workers_object_are_told_as_they_were_written(node: TestNode) -> None:
    binding: Json = {
        "name": "OF_ANOTHER",
        "type": "durable_object_namespace",
        "class_name": "Counter",
        "script": "asks",
        "namespace_id": "c" * 32,
    }
    bundle = Bundle(
        CALLS, compatibility_date="2026-11-01", bindings=[binding], observability=EVERYTHING
    )
    assert node.deploy("calls", bundle)["state"] == "live"
    assert node.visit("calls", "/across").json() == [2, 1, 200, 17]
    said = _stored(node, "/across")["subrequests"]
    told = [(one["kind"], one["target"], one["method"]) for one in said["listed"]]  # type: ignore[index]
    assert told == [
        ("durable_object_subrequest", "OF_ANOTHER", "add"),
        ("durable_object_subrequest", "OF_ANOTHER", "step"),
        ("fetch", "calls.dev.localhost/across", "GET"),
        ("durable_object_subrequest", "OF_ANOTHER", "missing"),
        ("durable_object_subrequest", "OF_ANOTHER", "parts"),
    ]
    assert "a-secret" not in str(said)
