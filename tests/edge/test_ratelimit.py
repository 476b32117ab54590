"""Rate limits: counted on the node, for all cells of a script together, by namespace and key."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.edge.bundles import ACCOUNT_ID, Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

SCRIPT = """
export default {
  async fetch(request, env) {
    const asked = JSON.parse(decodeURIComponent(new URL(request.url).search.slice(1)));
    try {
      return Response.json(await env[asked.binding ?? "LIMIT"].limit(asked.options));
    } catch (error) {
      return new Response(error.message, { status: 400 });
    }
  },
};
"""
ROLE = f"store:limits-{ACCOUNT_ID}"


def limited(name: str, namespace: str, limit: int = 3, period: int = 60) -> Json:
    simple = {"limit": limit, "period": period}
    return {"name": name, "type": "ratelimit", "namespace_id": namespace, "simple": simple}


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_IDLE_SECONDS="1") as node:
        bindings = [
            limited("LIMIT", "1001"),
            limited("OTHER", "1002"),
            limited("SHORT", "1003", 1, 10),
        ]
        assert node.deploy("one", Bundle(SCRIPT, bindings=bindings))["state"] == "live"
        assert node.deploy("two", Bundle(SCRIPT, bindings=bindings))["state"] == "live"
        yield node


def ask(node: TestNode, options: str, binding: str = "LIMIT", script: str = "one") -> object:
    asked = quote(f'{{"binding":"{binding}","options":{options}}}')
    answer = node.visit(script, f"/?{asked}")
    return answer.json()["success"] if answer.status == 200 else answer.text


def early(period: int, within: float) -> None:
    """Wait until so much of the current period is left."""
    while period - time.time() % period < within:
        time.sleep(0.1)


def test_each_namespace_and_key_has_its_own_count(node: TestNode) -> None:
    early(60, 15)
    assert [ask(node, '{"key":"a"}') for _ in range(5)] == [True, True, True, False, False]
    assert ask(node, '{"key":"b"}') is True
    assert ask(node, '{"key":"a"}', "OTHER") is True
    # Another script of the account with the same namespace counts with it, and so does another process.
    assert ask(node, '{"key":"a"}', script="two") is False
    os.kill(node.pids("cell:")[0], signal.SIGKILL)
    os.kill(node.pids("cell:")[-1], signal.SIGKILL)
    # The front may still have connections to a process that has just ended.
    until(lambda: ask(node, '{"key":"a"}') is False, what="the count outlives the cells")
    assert ask(node, '{"key":"weighed","delta":3}') is True
    assert ask(node, '{"key":"weighed"}') is False


def test_a_period_ends(node: TestNode) -> None:
    early(10, 4)
    assert ask(node, '{"key":"a"}', "SHORT") is True
    assert ask(node, '{"key":"a"}', "SHORT") is False
    deadline = time.monotonic() + 20
    while ask(node, '{"key":"a"}', "SHORT") is not True:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("1", "invalid rate limit options"),
        ('{"name":"a"}', "bad rate limit options: [name]"),
        ('{"key":1}', "invalid key: 1"),
        ('{"key":"a","period":20}', "unsupported period: 20"),
        ('{"key":"a","delta":0}', "delta must be non-zero"),
    ],
)
def test_what_is_no_question(node: TestNode, options: str, said: str) -> None:
    assert ask(node, options) == said


def test_a_process_that_counts_is_not_ended_for_a_minute(node: TestNode) -> None:
    """SKERRY_IDLE_SECONDS is 1 here: other stores rest by now."""
    ask(node, '{"key":"kept"}')
    (pid,) = node.pids(ROLE)
    time.sleep(4)
    assert node.pids(ROLE) == [pid]
