"""The Cache API, step by step, compared with `wrangler dev --local`."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.conftest import Both
from tests.wrangler.conftest import Project

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = """
const good = { "cache-control": "max-age=100" };
const since = "Mon, 02 Nov 2026 08:00:00 GMT";
const later = "Tue, 03 Nov 2026 08:00:00 GMT";
// Of a put: status, headers and body of what is stored, and headers of the request for it.
const PUTS = {
  plain: [200, good, "hello"],
  nothing: [200, {}, "hello"],
  guessed: [200, { "last-modified": since }, "hello"],
  public: [200, { "cache-control": "public" }, "hello"],
  shared: [200, { "cache-control": "max-age=0, s-maxage=100" }, "hello"],
  stale: [200, { "cache-control": "max-age=100, s-maxage=0" }, "hello"],
  noCache: [200, { "cache-control": "no-cache, max-age=100" }, "hello"],
  noStore: [200, { "cache-control": "no-store" }, "hello"],
  private: [200, { "cache-control": "private, max-age=100" }, "hello"],
  cookie: [200, { ...good, "set-cookie": "a=b" }, "hello"],
  privateCookie: [200, { "cache-control": "private=set-cookie, max-age=100", "set-cookie": "a=b" }, "hello"],
  expires: [200, { expires: new Date(Date.now() + 100_000).toUTCString() }, "hello"],
  expired: [200, { expires: since }, "hello"],
  old: [200, { ...good, age: "200" }, "hello"],
  authorized: [200, good, "hello", { authorization: "Bearer x" }],
  authorizedPublic: [200, { "cache-control": "public, max-age=100" }, "hello", { authorization: "Bearer x" }],
  notFound: [404, good, "gone"],
  failed: [500, good, "failed"],
  redirect: [302, { ...good, location: "/x" }, null],
  empty: [200, good, ""],
  vary: [200, { ...good, vary: "accept" }, "hello"],
  varyStar: [200, { ...good, vary: "*" }, "hello"],
  partial: [206, { ...good, "content-range": "bytes 0-4/10" }, "hello"],
  tagged: [200, { ...good, etag: '"v1"', "last-modified": since, "content-type": "text/x" }, "0123456789"],
  large: [200, good, "0123456789".repeat(30_000)],
};
// Of a match: what is asked for, and the headers of the request.
const MATCHES = {
  range: ["tagged", { range: "bytes=2-4" }],
  suffix: ["tagged", { range: "bytes=-3" }],
  open: ["tagged", { range: "bytes=7-" }],
  beyond: ["tagged", { range: "bytes=50-60" }],
  largeRange: ["large", { range: "bytes=100000-100009" }],
  sameTag: ["tagged", { "if-none-match": '"v0", W/"v1"' }],
  otherTag: ["tagged", { "if-none-match": '"v2"' }],
  anyTag: ["tagged", { "if-none-match": "*" }],
  unchanged: ["tagged", { "if-modified-since": later }],
  changed: ["tagged", { "if-modified-since": "Sun, 01 Nov 2026 08:00:00 GMT" }],
  vary: ["vary", { accept: "other" }],
};
const HEADERS = ["content-type", "content-range", "cf-cache-status", "cache-control", "etag", "set-cookie",
                 "vary", "location"];
const urlOf = (name) => `https://cached.example/${name}?q=1`;

async function told(name, answer) {
  if (answer === undefined) return { name, answer: "nothing" };
  const body = await answer.text();
  const headers = Object.fromEntries(HEADERS.map((one) => [one, answer.headers.get(one)]));
  return { name, status: answer.status, length: body.length, body: body.slice(0, 20), ...headers };
}

export default {
  async fetch(request) {
    if (new URL(request.url).pathname !== "/run") return new Response("ready");
    const found = [];
    const tried = async (name, work) => {
      try { found.push(await work()); } catch (error) { found.push({ name, threw: error.message }); }
    };
    const cache = caches.default;
    for (const [name, [status, headers, body, asked]] of Object.entries(PUTS)) {
      const key = new Request(urlOf(name), { headers: asked });
      await tried(`put ${name}`, async () => ({ name, put: typeof (await cache.put(key, new Response(body, { status, headers }))) }));
      await tried(`match ${name}`, async () => told(name, await cache.match(urlOf(name))));
    }
    for (const [name, [wanted, headers]] of Object.entries(MATCHES)) {
      await tried(`match ${name}`, async () => told(name, await cache.match(new Request(urlOf(wanted), { headers }))));
    }
    const named = await caches.open("named");
    await tried("named", async () => told("named", await named.match(urlOf("plain"))));
    await named.put(urlOf("plain"), new Response("mine", { headers: good }));
    await tried("head", async () => told("head", await cache.match(new Request(urlOf("plain"), { method: "HEAD" }))));
    await tried("post", async () => told("post", await cache.match(new Request(urlOf("plain"), { method: "POST" }))));
    await tried("any", async () => told("any", await cache.match(new Request(urlOf("plain"), { method: "POST" }), { ignoreMethod: true })));
    await tried("put post", () => cache.put(new Request(urlOf("plain"), { method: "POST" }), new Response("x")));
    await tried("http", async () => told("http", await cache.match(urlOf("plain").replace("https", "http"))));
    await tried("delete", async () => ({ deleted: await cache.delete(urlOf("plain")), again: await cache.delete(urlOf("plain")) }));
    await tried("deleted", async () => told("deleted", await cache.match(urlOf("plain"))));
    await tried("still named", async () => told("still named", await named.match(urlOf("plain"))));
    return Response.json(found);
  },
};
"""


def compared(step: dict[str, Any]) -> dict[str, Any]:
    """`wrangler dev` cuts `private=Set-Cookie` out of the header and leaves its comma."""
    return {**step, "cache-control": None} if step.get("name") == "privateCookie" else step


def test_every_step(both: Callable[[], Both], project: Project) -> None:
    project.write({"index.js": SCRIPT})
    sites = both()
    found, reference = (site.ask("GET", "/run").json() for site in (sites.skerry, sites.local))
    assert len(found) > 60
    for ours, theirs in zip(found, reference, strict=True):
        assert compared(ours) == compared(theirs)
