"""Workflows on a node: what kills and rests leave of an instance, and what the control plane may ask."""

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.runtime.binary import CHECKOUT
from tests.edge.bundles import ACCOUNT_ID, Bundle, Json, slot as slot_of
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until

pytestmark = pytest.mark.edge

SCRIPT = """
import { DurableObject, WorkflowEntrypoint } from "cloudflare:workers";

export class Ledger extends DurableObject {
  async add(entry) {
    const entries = [...((await this.ctx.storage.get("entries")) ?? []), entry];
    await this.ctx.storage.put("entries", entries);
    return entries.filter((one) => one === entry).length;
  }
  async all() { return (await this.ctx.storage.get("entries")) ?? []; }
}

export class Flow extends WorkflowEntrypoint {
  async run({ payload, workflowName }, step) {
    const ledger = this.env.LEDGER.getByName(payload.ledger);
    await step.do("first", () => ledger.add("first"));
    const times = await step.do("slow", { retries: { limit: 3, delay: 100 } }, async () => {
      const times = await ledger.add("slow");
      if (times <= (payload.hangs ?? 0)) await scheduler.wait(100_000);
      await scheduler.wait(payload.slow ?? 0);
      return times;
    });
    await step.sleep("nap", payload.nap ?? 1);
    const event = payload.waits && (await step.waitForEvent("told", { type: "tell", timeout: "1 hour" }));
    await step.do("last", () => ledger.add("last"));
    return { times, told: event?.payload, workflowName };
  }
}

export default {
  async fetch(request, env) {
    const [, name] = new URL(request.url).pathname.split("/");
    return Response.json(await env.LEDGER.getByName(name).all());
  },
};
"""
WHOLE = ["first", "slow", "last"]


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_IDLE_SECONDS="2") as node:
        yield node


class Flow:
    """A script with one workflow on a node."""

    def __init__(self, node: TestNode, name: str) -> None:
        self.node, self.name = node, name
        self.id, self._objects = uuid.uuid4().hex, uuid.uuid4().hex
        said = self.deploy()
        assert said["state"] == "live", said

    def deploy(self, source: str = SCRIPT) -> Json:
        bundle = Bundle(
            source,
            compatibility_date="2026-11-01",
            objects=[{"class_name": "Ledger", "namespace_id": self._objects, "sqlite": True}],
            workflows=[{"name": f"{self.name}-flow", "class_name": "Flow", "id": self.id}],
            bindings=[
                {
                    "name": "LEDGER",
                    "type": "durable_object_namespace",
                    "class_name": "Ledger",
                },
                {"name": "FLOW", "type": "workflow", "workflow_name": f"{self.name}-flow"},
            ],
        )
        return self.node.deploy(self.name, bundle)

    def ask(self, what: str, **body: object) -> Json:
        path = f"/stores/workflows/{ACCOUNT_ID}/{self.id}/{what}"
        content = json.dumps(body).encode()
        return self.node.gateway.call(self.node.enrolled, "POST", path, content)[1]

    def create(self, id_: str, **params: object) -> None:
        assert self.ask("create", id=id_, params={"ledger": id_, **params}) == {"id": id_}

    def entries(self, id_: str) -> list[str]:
        found = json.loads(self.node.visit(self.name, f"/{id_}").body)
        assert isinstance(found, list)
        return found

    def status(self, id_: str) -> object:
        return self.ask("describe", id=id_).get("status")

    def complete(self, id_: str, seconds: float = 30) -> Json:
        until(lambda: self.status(id_) == "complete", seconds, f"{id_} completes")
        return self.ask("describe", id=id_)

    def pid(self) -> int | None:
        slots = self.node.status()["slots"]
        assert isinstance(slots, list)
        script_id = slot_of(self.name, 0, None, None)["script_id"]
        (found,) = [one for one in slots if one["script_id"] == script_id]
        (cell,) = found["cells"]
        pid = cell["pid"]
        return None if pid is None else int(pid)

    def kill(self) -> None:
        pid = self.pid()
        assert pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.pid() not in (None, pid), 20, "it comes back, though nobody visits it")


def test_kills_during_a_step_and_a_sleep(node: TestNode) -> None:
    flow = Flow(node, "killed")
    flow.create("step", hangs=1)
    until(lambda: flow.entries("step") == ["first", "slow"], what="its step hangs")
    flow.kill()
    assert flow.complete("step")["output"] == {"times": 2, "workflowName": "killed-flow"}
    assert flow.entries("step") == ["first", "slow", "slow", "last"]

    flow.create("sleep", nap="6 seconds")
    until(lambda: flow.entries("sleep") == ["first", "slow"], what="it sleeps")
    flow.kill()
    flow.complete("sleep")
    assert flow.entries("sleep") == WHOLE


def test_a_snapshot_has_them_once_and_a_removal_leaves_nothing(
    node: TestNode, folder: Path
) -> None:
    flow = Flow(node, "copied")
    flow.create("one", waits=True)
    target = folder / "snapshot-of-workflows"
    command = [sys.executable, "-m", "edge.agent", "snapshot", "--dir", str(node.folder)]
    subprocess.run([*command, "--to", str(target)], cwd=CHECKOUT, check=True, timeout=60)
    listed = flow.ask("list", offset=0, limit=10, status="", from_ms=0, until_ms=0)
    assert isinstance(listed["instances"], list)
    (row,) = listed["instances"]
    assert (row["id"], row["status"], listed["total"]) == ("one", "waiting", 1)
    assert row["created_ms"] <= row["changed_ms"]
    (link,) = target.glob(f"{ACCOUNT_ID}/objects/*/*copied-flow")
    assert link.is_symlink()
    assert os.readlink(link) == flow.id
    assert len(list(link.glob("?" * 64 + ".sqlite"))) == 1

    node.deploy("copied", None)
    path = f"/stores/objects/{ACCOUNT_ID}/{flow.id}/destroy"
    gone = {"destroyed": flow.id}
    until(lambda: node.gateway.call(node.enrolled, "POST", path)[1] == gone, 20, "it is free")
    assert not list(node.folder.glob(f"stores/*/objects/*/{flow.id}"))
    assert not list(node.folder.glob("stores/*/objects/*/*copied-flow"))


def test_kills_of_agent_and_node(node: TestNode) -> None:
    flow = Flow(node, "robust")
    flow.create("step", hangs=1)
    flow.create("sleep", nap="15 seconds")
    flow.create("event", waits=True)
    until(lambda: flow.entries("step")[-1:] == ["slow"], what="its step hangs")
    until(lambda: flow.entries("sleep") == flow.entries("event") == ["first", "slow"])
    node.kill_everything()
    node.start()
    flow.complete("step")
    node.kill_agent()
    node.start()
    flow.complete("sleep")
    assert flow.entries("sleep") == WHOLE
    assert flow.ask("event", id="event", type="tell", payload={"what": [1]}) == {}
    assert flow.complete("event")["output"] == {
        "times": 1,
        "told": {"what": [1]},
        "workflowName": "robust-flow",
    }
    assert flow.entries("event") == WHOLE


def test_rests_between_steps_and_never_in_one(node: TestNode) -> None:
    flow = Flow(node, "resting")
    flow.create("rests", nap="14 seconds")
    flow.create("works", slow=9_000, nap="11 seconds")
    before = flow.pid()
    until(lambda: flow.pid() is None, 20, "it rests")
    rested = node.events("script_rests")[-1]
    assert rested["script"] == "resting"
    assert before
    # Nobody asks: its alarm starts it.
    until(lambda: flow.pid() is not None, 20, "its alarm starts it")
    flow.complete("rests")
    flow.complete("works")
    # A step was not cut off to rest.
    assert flow.entries("works") == flow.entries("rests") == WHOLE
