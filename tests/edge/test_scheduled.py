"""Scheduled events reach the script's handler once, also in a script that has no process."""

import json
import uuid

from tests.edge.bundles import Bundle, Json
from tests.edge.nodes import TestNode, until
from tests.edge.test_assets import SITE

SCRIPT = """let ran = 0;
export default {
  fetch: () => new Response(String(ran)),
  async scheduled(controller, env, ctx) {
    ran++;
    console.log("ran", controller.cron, controller.scheduledTime);
    if (controller.cron === "throws") throw new Error("on purpose");
    if (controller.cron === "spins") while (true) {}
    ctx.waitUntil(new Promise((done) => setTimeout(() => { console.log("later"); done(); }, 300)));
  },
};"""


def send(node: TestNode, script: Json, cron: str, run_id: str | None = None) -> str:
    run_id = run_id or uuid.uuid4().hex
    body = {
        "run_id": run_id,
        "script_id": script["script_id"],
        "cron": cron,
        "scheduled_ms": 1_700_000_000_000,
    }
    status, answer = node.gateway.call(
        node.enrolled, "POST", "/scheduled", json.dumps(body).encode()
    )
    assert status == 202, answer
    return run_id


def reported(node: TestNode, run_id: str) -> list[Json]:
    found = [run for report in node.enrolled.reports for run in report["runs"]]  # type: ignore[attr-defined]
    return [run for run in found if run["run_id"] == run_id]


def ended(node: TestNode, run_id: str) -> Json:
    until(lambda: reported(node, run_id), 30, f"the run is reported\n{node.log()[-2000:]}")
    return reported(node, run_id)[0]


def test_a_running_script(node: TestNode) -> None:
    said = node.deploy("clock", Bundle(SCRIPT))
    run_id = send(node, said, "* * * * *")
    send(node, said, "* * * * *", run_id)
    run = ended(node, run_id)
    assert (run["outcome"], run["reason"]) == ("ok", "")
    assert run["logs"] == ["ran * * * * * 1700000000000", "later"]
    assert int(str(run["duration_ms"])) >= 300
    assert node.visit("clock").text == "1"
    assert len(reported(node, run_id)) == 1


def test_a_handler_that_throws(node: TestNode) -> None:
    said = node.deploy("throwing", Bundle(SCRIPT))
    run = ended(node, send(node, said, "throws"))
    assert run["outcome"] == "exception"


def test_a_handler_that_never_ends(node: TestNode) -> None:
    said = node.deploy("spinning", Bundle(SCRIPT))
    run = ended(node, send(node, said, "spins"))
    assert run["outcome"] == "exceededCpu"
    assert node.visit("spinning").status == 200


def test_a_script_without_a_process(node: TestNode) -> None:
    said = node.deploy("sleeper", Bundle(SCRIPT, scaling={"idle_seconds": 1, "max_cells": 1}))

    def state() -> str:
        slots = node.status()["slots"]
        (cell,) = next(
            slot["cells"]
            for slot in slots  # type: ignore[attr-defined]
            if slot["script_id"] == said["script_id"]
        )
        return str(cell["state"])

    def idle() -> bool:
        try:
            return state() == "idle"
        except ValueError:  # two of them for a moment
            return False

    until(idle, 20, "it has no process")
    run = ended(node, send(node, said, "0 0 1 1 *"))
    assert run["outcome"] == "ok"
    until(idle, 20, "it rests again")


def test_with_static_assets(node: TestNode) -> None:
    said = node.deploy(
        "site-clock",
        Bundle(SCRIPT, assets=SITE, bindings=[{"name": "ASSETS", "type": "assets"}]),
    )
    assert ended(node, send(node, said, "* * * * *"))["outcome"] == "ok"


def test_a_script_that_is_not_here(node: TestNode) -> None:
    body = {"run_id": "1", "script_id": "f" * 32, "cron": "* * * * *", "scheduled_ms": 1}
    call = node.gateway.call
    assert call(node.enrolled, "POST", "/scheduled", json.dumps(body).encode())[0] == 404
    assert call(node.enrolled, "POST", "/scheduled", b"{}")[0] == 400
    assert call(node.enrolled, "POST", "/scheduled", b"{}", push_key="wrong")[0] == 401
