"""Rate limits, Analytics Engine, version metadata and variables, compared with `wrangler dev --local`."""

from collections.abc import Callable

import pytest

from tests.conformance.conftest import Both
from tests.wrangler.conftest import Project

pytestmark = pytest.mark.xdist_group("platform")

SCRIPT = """
const QUESTIONS = [
  [{ key: "a" }], [{ key: "a" }], [{ key: "a" }], [{ key: "b" }], [{}], [{ key: "c", delta: 2 }], [{ key: "c" }],
  [{ key: "d", limit: 1 }], [{ key: "d", limit: 1 }], [{ key: "e", period: 10 }],
  [], [1], [null], [{ name: "x" }], [{ key: 1 }], [{ limit: "1" }], [{ period: 20 }], [{ delta: 0 }],
  [{ delta: -1 }], [{ delta: 0.5 }], [{ delta: "x" }], [{ delta: 2 ** 33 }],
];

async function tried(work) {
  try { return (await work()) ?? "nothing"; } catch (error) { return `${error.name}: ${error.message}`; }
}

export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname !== "/run") return new Response("ready");
    // One that begins late in a period would see its end.
    while (60_000 - (Date.now() % 60_000) < 6_000) await scheduler.wait(500);
    const limits = [];
    for (const question of QUESTIONS) limits.push(await tried(() => env.LIMIT.limit(...question)));
    const points = [{ blobs: ["a"], doubles: [1], indexes: ["i"] }, {}];
    const written = [];
    for (const point of points) written.push(await tried(() => env.POINTS.writeDataPoint(point)));
    const { id, tag, timestamp } = env.VERSION;
    const version = [typeof id, id.length, tag, Number.isNaN(Date.parse(timestamp))];
    return Response.json({ limits, written, version, text: env.TEXT, json: env.JSON, names: Object.keys(env).sort() });
  },
};
"""


def test_what_they_answer(both: Callable[[], Both], project: Project) -> None:
    project.write({"index.js": SCRIPT})
    project.configure(
        ratelimits=[{"name": "LIMIT", "namespace_id": "77", "simple": {"limit": 2, "period": 60}}],
        analytics_engine_datasets=[{"binding": "POINTS", "dataset": "conformance"}],
        version_metadata={"binding": "VERSION"},
        vars={"TEXT": "words", "JSON": [1, {"deep": None}]},
    )
    sites = both()
    found, reference = (site.ask("GET", "/run").json() for site in (sites.skerry, sites.local))
    assert found["limits"][:3] == [{"success": True}, {"success": True}, {"success": False}]
    assert found == reference
