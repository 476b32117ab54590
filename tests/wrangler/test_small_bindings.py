"""Bindings that need nothing made before: rate limits, Analytics Engine, version metadata, variables."""

from typing import Any

import pytest

from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("platform")

SCRIPT = """
export default {
  async fetch(request, env) {
    const key = new URL(request.url).pathname;
    const passed = [];
    for (let turn = 0; turn < 3; turn++) passed.push((await env.LIMIT.limit({ key })).success);
    const written = typeof env.POINTS.writeDataPoint({ blobs: [key], doubles: [1] });
    const { id, tag, timestamp } = env.VERSION;
    const dated = !Number.isNaN(Date.parse(timestamp));
    return Response.json({ passed, written, id, tag, dated, text: env.TEXT, json: env.JSON });
  },
};
"""


def limits(wrangler: Wrangler) -> dict[str, Any]:
    """Wrangler 3 knows the binding only as an unsafe one."""
    namespace = wrangler.version.replace(".", "")
    rate = {"name": "LIMIT", "namespace_id": namespace, "simple": {"limit": 2, "period": 60}}
    if wrangler.version.startswith("3"):
        return {"unsafe": {"bindings": [{"type": "ratelimit", **rate}]}}
    return {"ratelimits": [rate]}


def test_small_bindings(wrangler: Wrangler, project: Project) -> None:
    project.write({"index.js": SCRIPT})
    project.configure(
        version_metadata={"binding": "VERSION"},
        analytics_engine_datasets=[{"binding": "POINTS", "dataset": "small"}],
        vars={"TEXT": "words", "JSON": {"deep": [1, None]}},
        **limits(wrangler),
    )
    version = wrangler("deploy").version_id
    # A period may end in the middle of one, not in two that follow one another.
    found = [project.platform.get(project.hostname, f"/{turn}").json() for turn in range(2)]
    assert [True, True, False] in [one.pop("passed") for one in found]
    json = {"deep": [1, None]}
    assert found[0].pop("written") == "undefined"
    assert found[0] == {"id": version, "tag": "", "dated": True, "text": "words", "json": json}
