"""Workflows with each wrangler: what it deploys, triggers, shows and changes."""

import re
import time

import pytest

from tests.platform import SETTLE_SECONDS, Platform
from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

WORKER = """
import { WorkflowEntrypoint } from "cloudflare:workers";

export class Order extends WorkflowEntrypoint {
  async run({ payload }, step) {
    const priced = await step.do("price it", async () => ({ item: payload.item, price: 7 }));
    const event = await step.waitForEvent("paid for", { type: "paid", timeout: "1 day" });
    return { ...priced, paid: event.payload };
  }
}

export default {
  async fetch(request, env) {
    const id = new URL(request.url).pathname.slice(1);
    return Response.json(await (await env.ORDERS.get(id)).status());
  },
};
"""


def _configure(project: Project, **more: object) -> str:
    name = f"{project.name}-orders"
    project.write({"index.js": WORKER})
    bound = {"binding": "ORDERS", "name": name, "class_name": "Order", **more}
    project.configure(compatibility_date="2026-11-01", workflows=[bound])
    return name


def _until(platform: Platform, project: Project, id_: str, status: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := platform.get(project.hostname, f"/{id_}").json())["status"] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_from_deploy_to_delete(wrangler: Wrangler, project: Project, platform: Platform) -> None:
    name = _configure(project)
    assert f"workflow: {name}" in wrangler("deploy")
    (listed,) = [
        one for one in platform.api.result("GET", "workflows") if one["script_name"] == project.name
    ]
    assert (listed["name"], listed["class_name"]) == (name, "Order")
    assert name in wrangler("workflows", "list")
    described = wrangler("workflows", "describe", name)
    assert listed["id"] in described
    assert project.versions()[0]["id"] in described

    said = wrangler("workflows", "trigger", name, '{"item": "a boat"}')
    found = re.search(r'instance "([0-9a-f-]{36})" has been queued', said.text)
    assert found, said.text
    id_ = found[1]
    _until(platform, project, id_, "waiting")
    assert id_ in wrangler("workflows", "instances", "list", name)
    shown = wrangler("workflows", "instances", "describe", name, "latest")
    assert id_ in shown
    assert "price it" in shown
    assert '{"item":"a boat","price":7}' in shown
    old = wrangler.version.startswith("3")
    if old or wrangler.version == "4.164":
        wrangler("workflows", "instances", "pause", name, id_)
        _until(platform, project, id_, "paused")
        wrangler("workflows", "instances", "resume", name, id_)
        _until(platform, project, id_, "waiting")
    if not old:
        event = ("--type", "paid", "--payload", '{"by": "card"}')
        wrangler("workflows", "instances", "send-event", name, id_, *event)
        _until(platform, project, id_, "complete")
        output = platform.get(project.hostname, f"/{id_}").json()["output"]
        assert output == {"item": "a boat", "price": 7, "paid": {"by": "card"}}
        wrangler("workflows", "instances", "restart", name, id_)
        _until(platform, project, id_, "waiting")
    wrangler("workflows", "instances", "terminate", name, id_)
    _until(platform, project, id_, "terminated")
    again = wrangler.refused("workflows", "instances", "terminate", name, id_)
    assert "finite state" in again
    if not old:
        assert name in wrangler("workflows", "delete", name)
        assert "10200" in wrangler.refused("workflows", "describe", name)
        # The script goes on without it, until it is deployed again.
        gone = platform.get(project.hostname, f"/{id_}")
        assert gone.status_code == 500
        wrangler("deploy")
        assert platform.get(project.hostname, f"/{id_}").status_code == 500
        assert platform.api.result("GET", f"workflows/{name}/instances") == []


def test_what_is_refused_changes_nothing(
    newest: Wrangler, project: Project, platform: Platform
) -> None:
    name = _configure(project, script_name="another")
    assert "10143" in newest.refused("deploy")
    project.write({"index.js": WORKER.replace("class Order", "class Other")})
    bound = {"binding": "ORDERS", "name": name, "class_name": "Order"}
    project.configure(workflows=[bound])
    assert "Order" in newest.refused("deploy")
    project.is_not_there()
    assert platform.api.result("GET", f"workflows?search={name}") == []
    assert "10200" in newest.refused("workflows", "trigger", name)

    _configure(project, limits={"steps": 2})
    newest("deploy")
    path = f"workflows/{name}/instances"
    api = platform.api

    def refused(method: str, path: str, **sent: object) -> int:
        return api.refusal(method, path, **sent)[1]

    assert api.result("POST", path, json={"instance_id": "one"})["id"] == "one"
    assert refused("POST", path, json={"instance_id": "one"}) == 10405
    assert refused("GET", f"{path}/two") == 10400
    assert refused("PATCH", f"{path}/one/status", json={"status": "sing"}) == 10004
    assert [one["id"] for one in api.result("GET", f"{path}?status=waiting")] == ["one"]
    assert api.result("GET", f"{path}?date_end=2026-01-01T00:00:00Z") == []
    made = api.result("POST", f"{path}/batch", json=[{"instance_id": "one"}, {"params": 1}])
    assert len(made) == 1
    page = api.call("GET", f"{path}?per_page=1").json()
    assert (page["result_info"]["total_count"], page["result_info"]["cursor"]) == (2, "2")
    deleted = api.result(
        "POST", f"{path}/batch/delete", json={"instances": ["one", made[0]["id"], "no"]}
    )
    assert [one["id"] for one in deleted["deleted"]] == ["one", made[0]["id"]]
    assert [(one["id"], one["code"]) for one in deleted["errors"]] == [("no", 10400)]
    assert api.result("GET", path) == []


def test_a_workflow_goes_to_another_script(
    newest: Wrangler, project: Project, platform: Platform
) -> None:
    name = _configure(project)
    newest("deploy")
    platform.api.result(
        "POST", f"workflows/{name}/instances", json={"instance_id": "kept", "params": {"item": "x"}}
    )
    _until(platform, project, "kept", "waiting")
    taker = f"{project.name}-2"
    bound = {"binding": "ORDERS", "name": name, "class_name": "Order"}
    project.configure(name=taker, compatibility_date="2026-11-01", workflows=[bound])
    newest("deploy")
    assert platform.api.result("GET", f"workflows/{name}")["script_name"] == taker
    found = platform.get(platform.hostname(taker), "/kept").json()
    assert found["status"] == "waiting"
    assert platform.get(project.hostname, "/kept").status_code == 500
    newest("delete", "--name", taker, "--force")
    assert platform.api.result("GET", f"workflows?search={name}") == []
