"""Two Workers that call each other, compared answer by answer."""

import json
from collections.abc import Callable

import pytest

from tests.conformance.conftest import Both
from tests.wrangler.conftest import COMPATIBILITY_DATE, Project

pytestmark = pytest.mark.xdist_group("platform")

CALLEE = """import { WorkerEntrypoint, RpcTarget } from "cloudflare:workers";
class Counter extends RpcTarget {
  #count = 0;
  add(amount = 1) { return (this.#count += amount); }
  get count() { return this.#count; }
}
export default {
  async fetch(request, env, ctx) {
    if (request.headers.get("upgrade") === "websocket") {
      const { 0: client, 1: server } = new WebSocketPair();
      server.accept();
      server.addEventListener("message", ({ data }) => server.send(`echo ${data}`));
      return new Response(null, { status: 101, webSocket: client });
    }
    const { pathname, search } = new URL(request.url);
    if (pathname === "/throws") throw new TypeError("thrown by fetch");
    if (pathname === "/redirect") return Response.redirect("http://callee/elsewhere", 302);
    return Response.json(
      { method: request.method, pathname, search, sent: request.headers.get("x-sent"),
        body: await request.text(), props: ctx.props ?? null },
      { status: 201, headers: { "x-answered": "yes" } },
    );
  },
};
export const Plain = { fetch: () => new Response("a plain object") };
export class Admin extends WorkerEntrypoint {
  fetch() { return Response.json({ props: this.ctx.props, stage: this.env.STAGE }); }
  add(a, b) { return a + b; }
  counter() { return new Counter(); }
  get version() { return "one"; }
  async ask(back) { return `asked ${await back(2)}`; }
  measure(stream) { return new Response(stream).text().then((text) => text.length); }
  stream() { return new Response("x".repeat(100_000)).body; }
  async echo(request) { return new Response(`got ${await request.text()}`, { status: 202 }); }
  many() { return { map: new Map([["a", 1]]), date: new Date(5), bytes: new Uint8Array([1, 2]), nested: { double: (n) => n * 2 } }; }
  fail() { throw new RangeError("on purpose"); }
  own = "an instance property";
}
"""
CALLER = """import { WorkerEntrypoint } from "cloudflare:workers";
const attempts = {
  fetch: (env) => told(env.CALLEE.fetch("http://callee/path?x=1", { method: "POST", body: "hello", headers: { "x-sent": "1" } })),
  forwarded: (env, request) => told(env.CALLEE.fetch(request)),
  throws: (env) => told(env.CALLEE.fetch("http://callee/throws")),
  redirect: (env) => told(env.CALLEE.fetch("http://callee/redirect", { redirect: "manual" })),
  named: (env) => told(env.ADMIN.fetch("http://callee/")),
  plain: (env) => told(env.PLAIN.fetch("http://callee/")),
  add: (env) => env.ADMIN.add(1, 2),
  counter: async (env) => { using counter = await env.ADMIN.counter(); await counter.add(); return [await counter.add(5), await counter.count]; },
  pipelined: (env) => env.ADMIN.counter().add(7),
  property: (env) => env.ADMIN.version,
  instanceProperty: (env) => env.ADMIN.own,
  callback: (env) => env.ADMIN.ask((n) => n * 21),
  streamIn: (env) => env.ADMIN.measure(new Response("y".repeat(50_000)).body),
  streamOut: async (env) => (await new Response(await env.ADMIN.stream()).text()).length,
  response: async (env) => told(env.ADMIN.echo(new Request("http://callee/", { method: "POST", body: "hey" }))),
  many: async (env) => { const many = await env.ADMIN.many(); return [many.map.get("a"), many.date.getTime(), [...many.bytes], await many.nested.double(4)]; },
  fail: (env) => env.ADMIN.fail(),
  missing: (env) => env.ADMIN.nothing(),
  itself: (env) => env.ITSELF.hello("me"),
  exported: (env, request, ctx) => ctx.exports.Greeter.hello("again"),
  socket: async (env) => {
    const { webSocket } = await env.CALLEE.fetch("http://callee/", { headers: { upgrade: "websocket" } });
    webSocket.accept();
    const heard = new Promise((resolve) => webSocket.addEventListener("message", ({ data }) => resolve(data)));
    webSocket.send("hi");
    try { return await heard; } finally { webSocket.close(); }
  },
  kind: (env) => Object.prototype.toString.call(env.ADMIN),
};
async function told(answering) {
  const answer = await answering;
  return [answer.status, answer.headers.get("location"), answer.headers.get("x-answered"), await answer.text()];
}
export class Greeter extends WorkerEntrypoint {
  hello(name) { return `hello ${name}`; }
}
export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    const attempt = attempts[pathname.slice(1)];
    if (!attempt) return Response.json(Object.keys(attempts));
    try {
      return Response.json({ value: await attempt(env, request, ctx) });
    } catch (error) {
      return Response.json({ name: error.name, message: error.message });
    }
  },
};
"""


def test_the_same_calls(both: Callable[..., Both], project: Project) -> None:
    callee = f"{project.name}-callee"
    config = {
        "name": callee,
        "main": "callee.js",
        "compatibility_date": COMPATIBILITY_DATE,
        "vars": {"STAGE": "test"},
    }
    files = {"index.js": CALLER, "callee.js": CALLEE, "callee.json": json.dumps(config)}
    project.write(files)
    named = {"service": callee, "entrypoint": "Admin", "props": {"who": ["me", 1]}}
    project.configure(
        services=[
            {"binding": "CALLEE", "service": callee},
            {"binding": "ADMIN", **named},
            {"binding": "PLAIN", "service": callee, "entrypoint": "Plain"},
            {"binding": "ITSELF", "service": project.name, "entrypoint": "Greeter"},
        ]
    )
    sites = both("callee.json")
    attempts = sites.skerry.ask("GET", "/").json()
    # wrangler dev answers with a page of its own where Cloudflare's `fetch` throws.
    attempts.remove("throws")
    thrown = sites.skerry.ask("GET", "/throws").json()
    assert thrown == {"name": "Error", "message": "The Worker that was called threw an exception."}
    assert len(attempts) > 20
    differing = {
        path: answers
        for path in attempts
        if (answers := sites.answers(f"/{path}", ["content-type"], "POST", content=b"sent"))[0]
        != answers[1]
    }
    assert differing == {}
    assert sites.skerry.ask("GET", "/add").json() == {"value": 3}
