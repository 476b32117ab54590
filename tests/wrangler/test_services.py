"""Service bindings as wrangler deploys them."""

import json

import pytest

from tests.wrangler.conftest import COMPATIBILITY_DATE, NEWEST, Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

CALLEE = """import { WorkerEntrypoint } from "cloudflare:workers";
export default { fetch: () => new Response("WORD") };
export class Admin extends WorkerEntrypoint {
  greet(name) { return `WORD ${name} ${this.ctx.props?.level ?? "without props"}`; }
}
"""
CALLER = """export default { async fetch(request, env) {
  const said = await env.CALLEE.fetch(request);
  return new Response(`${await said.text()}, ${await env.ADMIN.greet("you")}`);
} };
"""


def write(project: Project, word: str, callee: str) -> None:
    config = {"name": callee, "main": "callee.js", "compatibility_date": COMPATIBILITY_DATE}
    project.write(
        {
            "index.js": CALLER,
            "callee.js": CALLEE.replace("WORD", word),
            "callee.json": json.dumps(config),
        }
    )
    named = {"service": callee, "entrypoint": "Admin"}
    project.configure(
        services=[
            {"binding": "CALLEE", "service": callee, "environment": "production"},
            {"binding": "ADMIN", **named, "props": {"level": 3}},
        ]
    )


def test_services(wrangler: Wrangler, project: Project) -> None:
    callee = f"{project.name}-callee"
    write(project, "one", callee)
    said = wrangler.refused("deploy")
    assert "10143" in said
    assert f"Target script '{callee}' not found" in " ".join(said.text.split())
    project.is_not_there()

    wrangler("deploy", "-c", "callee.json")
    first = wrangler("deploy").version_id
    # Older wranglers send no props; what was sent is what the callee is given.
    sent = project.versions()[0]["resources"]["bindings"][1].get("props")
    if wrangler.version == NEWEST:
        assert sent == {"level": 3}
    props = "without props" if sent is None else "3"
    project.answers(f"one, one you {props}")
    write(project, "two", callee)
    wrangler("deploy", "-c", "callee.json")
    project.answers(f"two, two you {props}")
    # Version 3 prints the binding's name in the place of the script's.
    shown = "CALLEE" if wrangler.version.startswith("3") else callee
    assert shown in wrangler("versions", "view", first)

    refused = project.platform.api.refusal("DELETE", f"workers/services/{callee}")
    assert refused[:2] == (400, 10064)
    # Without a terminal wrangler answers its own question with yes, and forces.
    assert f"Worker {project.name} (production) uses this Worker" in wrangler(
        "delete", "-c", "callee.json"
    )
    assert project.platform.get(project.hostname).status_code == 500
