"""The Cache API on a node: one server an account, shared by the cells of a script and by nobody else."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from edge.paths import NodePaths
from tests.edge.bundles import Bundle
from tests.edge.gateway import Gateway
from tests.edge.nodes import Answer, TestNode, running_node

SCRIPT = """
const named = (url) => {
  const name = url.searchParams.get("name");
  return name === null ? caches.default : caches.open(name);
};
export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const key = new Request(url.searchParams.get("key"), { headers: request.headers });
    const cache = await named(url);
    try {
      if (request.method === "PUT") {
        const { status = 200, headers } = JSON.parse(url.searchParams.get("answer"));
        await cache.put(key, new Response(request.body, { status, headers }));
        return new Response("put");
      }
      if (request.method === "DELETE") return new Response(`${await cache.delete(key)}`);
      return (await cache.match(key)) ?? new Response("miss", { status: 404 });
    } catch (error) {
      return new Response(error.message, { status: 400 });
    }
  },
};
"""
GOOD = {"headers": {"cache-control": "max-age=100"}}
URL = "https://example.com/page"
CACHE_MIB = 4


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_CACHE_MIB=str(CACHE_MIB)) as node:
        for name in ("one", "two"):
            assert node.deploy(name, Bundle(SCRIPT))["state"] == "live"
        yield node


def put(
    node: TestNode,
    body: bytes,
    answer: object = None,
    key: str = URL,
    script: str = "one",
    name: str = "",
) -> str:
    target = f"/?key={quote(key, safe='')}&answer={quote(json.dumps(answer or GOOD))}{name}"
    return node.visit(script, target, "PUT", body).text


def match(
    node: TestNode, key: str = URL, script: str = "one", name: str = "", **headers: str
) -> Answer:
    return node.visit(script, f"/?key={quote(key, safe='')}{name}", headers=headers)


def delete(node: TestNode, key: str = URL, script: str = "one", name: str = "") -> str:
    return node.visit(script, f"/?key={quote(key, safe='')}{name}", "DELETE").text


def test_put_match_delete(node: TestNode) -> None:
    assert match(node).status == 404
    assert put(node, b"hello") == "put"
    hit = match(node)
    assert (hit.status, hit.text, hit.headers["cf-cache-status"]) == (200, "hello", "HIT")
    assert put(node, b"newer") == "put"
    assert match(node).text == "newer"
    assert delete(node) == "true"
    assert match(node).status == 404
    assert delete(node) == "false"


def test_each_script_cache_and_scheme_has_its_own(node: TestNode) -> None:
    put(node, b"one")
    put(node, b"named", name="&name=n")
    assert match(node, script="two").status == 404
    assert match(node, name="&name=n").text == "named"
    assert match(node, name="&name=m").status == 404
    assert match(node, "http://example.com/page").status == 404
    assert delete(node, script="two") == "false"
    assert match(node).text == "one"


def test_nothing_is_served_beyond_its_time(node: TestNode) -> None:
    put(
        node,
        b"short",
        {"headers": {"cache-control": "max-age=100, s-maxage=1"}},
        "https://e.com/short",
    )
    put(
        node,
        b"old",
        {"headers": {"cache-control": "max-age=100", "age": "100"}},
        "https://e.com/old",
    )
    assert match(node, "https://e.com/old").status == 404
    fresh = match(node, "https://e.com/short")
    deadline = time.monotonic() + 10
    while fresh.status == 200 and time.monotonic() < deadline:
        assert float(fresh.headers["age"]) <= 1
        fresh = match(node, "https://e.com/short")
    assert fresh.status == 404


@pytest.mark.parametrize(
    "answer",
    [
        {"headers": {"cache-control": "max-age=100", "set-cookie": "a=b"}},
        {"headers": {"cache-control": "no-store"}},
        {"headers": {"cache-control": "private, max-age=100"}},
        {"headers": {"cache-control": "max-age=100"}, "status": 500},
    ],
)
def test_what_may_not_be_kept(node: TestNode, answer: object) -> None:
    put(node, b"x" * 100_000, answer, "https://e.com/refused")
    assert match(node, "https://e.com/refused").status == 404


def test_large_bodies_ranges_and_conditions(node: TestNode) -> None:
    body = os.urandom(1_500_000)
    headers = {
        "cache-control": "max-age=100",
        "etag": '"v1"',
        "last-modified": "Mon, 02 Nov 2026 08:00:00 GMT",
    }
    assert put(node, body, {"headers": headers}, "https://e.com/large") == "put"
    assert match(node, "https://e.com/large").body == body
    part = match(node, "https://e.com/large", Range="bytes=70000-1400000")
    assert (part.status, part.body) == (206, body[70_000:1_400_001])
    assert part.headers["content-range"] == f"bytes 70000-1400000/{len(body)}"
    assert match(node, "https://e.com/large", Range="bytes=-5").body == body[-5:]
    assert match(node, "https://e.com/large", **{"If-None-Match": 'W/"v1"'}).status == 304
    since = {"If-Modified-Since": "Tue, 03 Nov 2026 08:00:00 GMT"}
    assert match(node, "https://e.com/large", **since).status == 304


def test_a_ticket_of_the_scripts_own_opens_nothing(node: TestNode) -> None:
    put(node, b"one")
    forged = {"x-skerry-binding": "agent.00", "x-skerry-proto": "http"}
    assert match(node, **forged).text == "one"


def test_the_room_is_limited(node: TestNode) -> None:
    """The least used goes first, and what can never fit is refused."""
    size = 300_000
    keys = [f"https://e.com/fill/{number}" for number in range(20)]
    for key in keys:
        assert put(node, os.urandom(size), key=key) == "put"
    there = [match(node, key).status == 200 for key in keys]
    assert there[-1]
    assert not there[0]
    assert sum(there) * size <= CACHE_MIB * 2**20
    folder = NodePaths.of(node.folder).stores
    blobs = [path for path in folder.glob("*/cache/blobs/**/*") if path.is_file()]
    assert sum(path.stat().st_size for path in blobs) <= CACHE_MIB * 2**20
    put(node, b"x" * (CACHE_MIB * 2**20 // 2 + 1), key="https://e.com/huge")
    assert match(node, "https://e.com/huge").status == 404
    assert match(node, keys[-1]).status == 200
