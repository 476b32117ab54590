"""`observability` and `upload_source_maps` of wrangler's configuration, until a query tells the story."""

import time
from typing import Any

import pytest

from tests.edge.nodes import until
from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = """
interface Cart { items: number }

function pay(cart: Cart): never {
  throw new TypeError("cannot pay " + cart.items);
}

export default {
  async fetch(request: Request): Promise<Response> {
    console.log("asked for", { cart: { items: 3 } });
    if (new URL(request.url).pathname === "/pay") pay({ items: 3 });
    return new Response("talks");
  },
};
"""
SECONDS = 60


def _events(project: Project, *filters: dict[str, Any]) -> list[dict[str, Any]]:
    now = round(time.time() * 1000)
    body = {
        "queryId": "stored",
        "timeframe": {"from": now - 600_000, "to": now + 60_000},
        "view": "events",
        "parameters": {
            "filters": [
                {
                    "key": "$metadata.service",
                    "operation": "eq",
                    "type": "string",
                    "value": project.name,
                },
                *filters,
            ]
        },
    }
    path = "workers/observability/telemetry/query"
    found: list[dict[str, Any]] = project.platform.api.result("POST", path, json=body)["events"][
        "events"
    ]
    return found


def test_stored_logs(wrangler: Wrangler, project: Project) -> None:
    project.write({"src/shop.ts": SCRIPT})
    observability = {"enabled": True, "head_sampling_rate": 1}
    project.configure(
        main="src/shop.ts", upload_source_maps=True, observability=observability, minify=True
    )
    version_id = wrangler("deploy").version_id
    project.answers("talks")
    answer = project.platform.get(project.hostname, "/pay")
    ray = answer.headers["cf-ray"].partition("-")[0]
    by_ray = {"key": "$workers.event.rayId", "operation": "eq", "type": "string", "value": ray}
    until(lambda: len(_events(project, by_ray)) == 3, SECONDS, "the invocation is stored")
    found = {one["$skerry"]["kind"]: one for one in _events(project, by_ray)}
    for one in found.values():
        workers = one["$workers"]
        assert (workers["outcome"], workers["eventType"]) == ("exception", "fetch")
        assert workers["scriptVersion"] == {"id": version_id}
        assert workers["event"]["response"]["status"] == 500
    assert found["log"]["source"]["cart"] == {"items": 3}
    # The code that ran was minified; the line is that of the source.
    stack = found["exception"]["source"]["stack"]
    assert "src/shop.ts:5:" in stack
    assert "index" not in stack
    structured = {"key": "cart.items", "operation": "gt", "type": "number", "value": 2}
    assert len(_events(project, structured)) >= 2
