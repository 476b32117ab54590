"""Scripts that call each other: each call crosses from one cell to another."""

import json
import os
import signal
import ssl
import threading

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.edge.bundles import Bundle, Json
from tests.edge.gateway import pem
from tests.edge.nodes import TestNode, until
from tests.loops import run

CALLEE = """import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
class Counter extends RpcTarget { #n = 0; add(k) { return this.#n += k; } }
export default {
  fetch: (request, env, ctx) => request.url.endsWith("/throws") ? nothing() : request.url.endsWith("/own500")
    ? new Response("its own", { status: 500 }) : new Response(`VERSION ${request.url} ${JSON.stringify(ctx.props)}`),
};
export class Admin extends WorkerEntrypoint {
  fetch() { return new Response(`admin ${JSON.stringify(this.ctx.props)}`); }
  version() { return "VERSION"; }
  add(a, b) { return a + b; }
  counter() { return new Counter(); }
  async ask(back) { return `asked ${await back(2)}`; }
  async slow(milliseconds) { await scheduler.wait(milliseconds); return "VERSION"; }
  stream() { return new Response("x".repeat(100_000)).body; }
  fail() { throw new RangeError("on purpose"); }
}
"""
CALLER = """export default { async fetch(request, env) {
  const { pathname, searchParams } = new URL(request.url);
  try {
    switch (pathname) {
      case "/fetch": return await env.CALLEE.fetch("http://callee/path");
      case "/named": return await env.ADMIN.fetch("http://callee/path");
      case "/version": return new Response(await env.ADMIN.version());
      case "/slow": return new Response(await env.ADMIN.slow(Number(searchParams.get("ms"))));
      case "/rpc": {
        using counter = await env.ADMIN.counter();
        await counter.add(1);
        const stream = await new Response(await env.ADMIN.stream()).text();
        const failed = await env.ADMIN.fail().catch((error) => `${error.name}: ${error.message}`);
        return Response.json([await env.ADMIN.add(1, 2), await counter.add(4),
          await env.ADMIN.counter().add(7), await env.ADMIN.ask((n) => n * 21), stream.length, failed]);
      }
      default: return await env.CALLEE.fetch(request);
    }
  } catch (error) { return new Response(String(error), { status: 599 }); }
} };
"""


def callee(version: str = "v1") -> Bundle:
    return Bundle(CALLEE.replace("VERSION", version))


def binding(name: str, service: str, **more: object) -> Json:
    return {"name": name, "type": "service", "service": service, **more}


def caller(service: str) -> Bundle:
    admin = binding("ADMIN", service, entrypoint="Admin", props={"who": "me"})
    return Bundle(CALLER, bindings=[binding("CALLEE", service), admin])


def deployed(node: TestNode, name: str, bundle: Bundle) -> Json:
    said = node.deploy(name, bundle)
    assert said["state"] == "live", said
    return said


def cells_of(node: TestNode, script: Json) -> list[Json]:
    slots = node.status()["slots"]
    (found,) = [slot for slot in slots if slot["script_id"] == script["script_id"]]  # type: ignore[attr-defined]
    cells: list[Json] = found["cells"]
    return cells


def called(
    node: TestNode, script: Json, entrance: object, push_key: str = "", **asked: object
) -> str:
    """What a function in AWS, for which the control plane asks, is answered, or why it is not."""
    return run(_called(node, script, entrance, push_key, asked))


async def _called(
    node: TestNode, script: Json, entrance: object, push_key: str, asked: dict[str, object]
) -> str:
    """In one thread: two that read and write one TLS connection hung once (OpenSSL has no lock of its own)."""
    url = f"{node.enrolled.agent_url.replace('https', 'wss')}/calls/{script['script_id']}"
    trust = ssl.create_default_context(cadata=pem(node.gateway.authority.certificate))
    key = push_key or node.enrolled.push_key
    async with connect(
        url,
        ssl=trust,
        server_hostname=f"{node.enrolled.node_id}.node.skerry",
        additional_headers={"Authorization": f"Bearer {key}"},
        proxy=None,
    ) as agent:
        asked = {"method": "GET", "host": "x", "target": "/", "headers": [], **asked}
        head = json.dumps(asked).encode()
        for message in (json.dumps(entrance), len(head).to_bytes(4, "big") + head, ""):
            await agent.send(message)
        *pieces, end = [piece async for piece in agent]
    if end:
        return str(end)
    answer = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    size = 4 + int.from_bytes(answer[:4], "big")
    return f"{json.loads(answer[4:size])['status']} {answer[size:].decode()}"


def test_everything_crosses(node: TestNode) -> None:
    deployed(node, "math", callee())
    deployed(node, "shop", caller("math"))
    assert node.visit("shop", "/fetch").text == "v1 http://callee/path {}"
    assert node.visit("shop", "/named").text == 'admin {"who":"me"}'
    answered = node.visit("shop", "/rpc").text
    thrown = node.visit("shop", "/throws")
    assert (thrown.status, thrown.text[:7]) == (599, "Error: ")
    assert node.visit("shop", "/own500").text == "its own"
    assert answered == '[3,5,7,"asked 42",100000,"RangeError: on purpose"]'


def test_a_callee_with_static_assets(node: TestNode) -> None:
    source = """import { WorkerEntrypoint } from "cloudflare:workers";
    export default class extends WorkerEntrypoint {
      fetch() { return new Response("from the script"); }
      add(a, b) { return a + b; }
    }"""
    deployed(node, "site", Bundle(source, assets={"/page.txt": b"from a file"}))
    asking = """export default { async fetch(request, env) {
      const { pathname } = new URL(request.url);
      if (pathname === "/add") return new Response(await env.SITE.add(1, 2));
      return env.SITE.fetch(request);
    } };"""
    deployed(node, "asking", Bundle(asking, bindings=[binding("SITE", "site")]))
    assert node.visit("asking", "/page.txt").text == "from a file"
    assert node.visit("asking", "/else").text == "from the script"
    assert node.visit("asking", "/add").text == "3"


class Calling(threading.Thread):
    """Calls without a pause, on its own connection, until it is told to stop."""

    def __init__(self, node: TestNode, path: str) -> None:
        super().__init__(daemon=True)
        self._node, self._path = node, path
        self.answers: list[str] = []
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.is_set():
            answer = self._node.visit("shop", self._path)
            self.answers.append(f"{answer.status} {answer.text}")

    def stop(self) -> list[str]:
        self._done.set()
        self.join()
        return self.answers


def test_an_exchange_of_the_callee_loses_nothing(node: TestNode) -> None:
    deployed(node, "math", callee("v0"))
    deployed(node, "shop", caller("math"))
    paths = ("/version", "/version", "/slow?ms=300", "/slow?ms=40", "/fetch")
    threads = [Calling(node, path) for path in paths]
    for thread in threads:
        thread.start()
    for number in range(1, 13):
        deployed(node, "math", callee(f"v{number}"))
        # From the answer of the deploy on, the next call reaches the new version.
        assert node.visit("shop", "/version").text == f"v{number}"
        assert node.visit("shop", "/fetch").text.startswith(f"v{number} ")
    answers = [answer for thread in threads for answer in thread.stop()]
    assert len(answers) > 20
    assert [answer for answer in answers if not answer.startswith("200 v")] == []
    assert "caller_did_not_turn" not in node.log()


def test_a_callee_that_is_killed_serves_the_next_call(node: TestNode) -> None:
    said = deployed(node, "math", callee())
    deployed(node, "shop", caller("math"))
    assert node.visit("shop", "/version").text == "v1"
    for path in ("/version", "/fetch"):

        def answered(path: str = path) -> bool:
            return node.visit("shop", path).text.startswith("v1")

        (cell,) = [cell for cell in cells_of(node, said) if cell["state"] == "serving"]
        os.kill(int(str(cell["pid"])), signal.SIGKILL)
        until(answered, 20, "the next call is answered")


def test_a_callee_at_rest_is_started_by_the_call(node: TestNode) -> None:
    resting = {"idle_seconds": 1, "max_cells": 1}
    calling = deployed(node, "shop", caller("math"))
    said = deployed(node, "math", Bundle(callee().source, scaling=resting))

    def at_rest(script: Json) -> bool:
        return [cell["state"] for cell in cells_of(node, script)] == ["idle"]

    until(lambda: at_rest(said), 30, "the callee has no process")
    assert node.visit("shop", "/version").text == "v1"
    assert not at_rest(said)
    # A connection to a callee keeps no caller from resting, and then the callee rests, too.
    deployed(node, "shop", Bundle(CALLER, bindings=caller("math").bindings, scaling=resting))
    assert node.visit("shop", "/version").text == "v1"
    until(lambda: at_rest(calling) and at_rest(said), 40, "both rest")
    assert called(node, said, ["Admin", {"who": "me"}]) == '200 admin {"who":"me"}'
    assert at_rest(calling)
    assert node.visit("shop", "/version").text == "v1"


def test_a_function_calls_where_a_cell_would(node: TestNode) -> None:
    """What it sees is compared in tests/aws/test_storage.py."""
    math = deployed(node, "math", callee())
    nope = binding("NOPE", "math", entrypoint="Nope")
    shop = deployed(node, "shop", Bundle(CALLER, bindings=[*caller("math").bindings, nope]))
    with pytest.raises(InvalidStatus, match="401"):
        called(node, math, ["", None], push_key="wrong")
    asked = {"headers": [["Host", "y"], ["Connection", "upgrade"], ["x-a", "1"]], "target": "/path"}
    assert called(node, math, ["", None], **asked) == "200 v1 http://x/path {}"
    assert "does not have the entrypoint Nope" in called(node, math, ["Nope", None])
    assert "does not have a way in" in called(node, shop, ["", None]), "nobody binds it"
    for malformed in ({"method": "G T"}, {"target": "/ x"}, {"headers": [["a", "b\r\nc"]]}):
        assert "The request cannot be sent" in called(node, math, ["", None], **malformed)


def test_callers_and_callees_in_any_order(node: TestNode) -> None:
    deployed(node, "early", caller("late"))
    assert node.visit("early", "/version").status == 599
    deployed(node, "late", callee())
    assert node.visit("early", "/version").text == "v1"
    assert node.visit("early", "/named").text == 'admin {"who":"me"}'
    node.deploy("late", None)
    assert node.visit("early", "/version").status == 599


def test_an_entrypoint_that_is_not_there(node: TestNode) -> None:
    deployed(node, "math", callee())
    more = [*caller("math").bindings, binding("NOPE", "math", entrypoint="Nope")]
    source = CALLER.replace(
        'case "/version"', 'case "/nope": return env.NOPE.fetch(request);\ncase "/version"'
    )
    deployed(node, "asking", Bundle(source, bindings=more))
    assert node.visit("asking", "/version").text == "v1"
    assert node.visit("asking", "/nope").status >= 500
    # A version that lacks what is bound is deployed all the same.
    deployed(node, "math", Bundle("export default { fetch: () => new Response('v2 only') };"))
    assert node.visit("asking", "/fetch").text == "v2 only"
    assert node.visit("asking", "/version").status == 599
    deployed(node, "math", callee("v3"))
    assert node.visit("asking", "/version").text == "v3"


def test_a_callee_that_cannot_start(node: TestNode) -> None:
    """Its files are gone from the disk: whoever calls it is told at once, and served when they are back."""
    bundle = callee("v7")
    said = deployed(node, "math", bundle)
    deployed(node, "shop", caller("math"))
    assert node.visit("shop", "/version").text == "v7"
    ((digest, content),) = bundle.files().items()
    (file,) = (node.folder / "modules").rglob(f"*{digest.removeprefix('sha256:')}")
    file.unlink()
    (cell,) = [cell for cell in cells_of(node, said) if cell["state"] == "serving"]
    os.kill(int(str(cell["pid"])), signal.SIGKILL)
    for path in ("/version", "/fetch"):
        answer = node.visit("shop", path)
        assert (answer.status, answer.text) == (599, "Error: Network connection lost.")
    file.write_bytes(content)
    until(lambda: node.visit("shop", "/version").text == "v7", 40, "it is back")


def test_loops_end(node: TestNode) -> None:
    forward = "export default { fetch: (request, env) => env.NEXT.fetch(request) };"
    deployed(node, "itself", Bundle(forward, bindings=[binding("NEXT", "itself")]))
    deployed(node, "ping", Bundle(forward, bindings=[binding("NEXT", "pong")]))
    deployed(node, "pong", Bundle(forward, bindings=[binding("NEXT", "ping")]))
    for name in ("itself", "ping"):
        answer = node.visit(name, headers={"x-skerry-hops": "-1000"})
        assert (answer.status, answer.text) == (500, "error code: 1019")


def test_a_cell_sees_only_the_sockets_of_what_it_binds(node: TestNode) -> None:
    deployed(node, "math", callee())
    shop = deployed(node, "shop", caller("math"))
    alone = deployed(node, "alone", Bundle(CALLER))
    seen = {}
    for name, script in (("shop", shop), ("alone", alone)):
        (cell,) = [cell for cell in cells_of(node, script) if cell["state"] == "serving"]
        root = f"/proc/{cell['pid']}/root"
        seen[name] = (
            sorted(os.listdir(f"{root}/callees")) if os.path.exists(f"{root}/callees") else []
        )
        assert not os.path.exists(f"{root}{node.folder}")
    assert seen == {"shop": ["0.sock", "1.sock"], "alone": []}


def test_a_new_agent_goes_on(node: TestNode) -> None:
    deployed(node, "math", callee("v1"))
    deployed(node, "shop", caller("math"))
    assert node.visit("shop", "/version").text == "v1"
    node.kill_agent()
    assert node.visit("shop", "/version").text == "v1"
    node.start()
    deployed(node, "math", callee("v2"))
    assert node.visit("shop", "/version").text == "v2"
    node.kill_everything()
    node.start()
    assert node.visit("shop", "/version").text == "v2"
    assert node.visit("shop", "/fetch").text.startswith("v2 ")
