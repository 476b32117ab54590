"""Cron triggers as wrangler sets them, down to the handler that is called."""

import time
from typing import Any

import pytest

from tests.platform import SETTLE_SECONDS
from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = """let last = "never";
export default {
    fetch: () => new Response(last),
    scheduled: (controller) => { last = controller.cron; console.log("called"); },
};
"""


def crons(project: Project) -> list[str]:
    found = project.platform.api.result("GET", f"{project.path}/schedules")["schedules"]
    return [one["cron"] for one in found]


def finished(project: Project) -> dict[str, Any]:
    """The newest run, once it has ended."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        (run, *_) = project.platform.api.result("GET", f"{project.path}/schedules/runs")
        if run["state"] == "finished":
            return dict(run)
        assert time.monotonic() < deadline, run
        time.sleep(0.1)


def test_triggers(wrangler: Wrangler, project: Project) -> None:
    project.write({"index.js": SCRIPT})
    project.configure(triggers={"crons": ["0 6 * * MON-FRI", "0 0 L * *"]})
    assert "0 6 * * MON-FRI" in wrangler("deploy")
    assert crons(project) == ["0 6 * * MON-FRI", "0 0 L * *"]

    asked = {"cron": "0 0 L * *"}
    project.platform.api.result("POST", f"{project.path}/schedules/runs", json=asked)
    run = finished(project)
    assert (run["outcome"], run["manual"], run["logs"]) == ("ok", True, ["called"])
    project.answers("0 0 L * *")

    project.configure(triggers={"crons": ["99 * * * *"]})
    assert "'99' is no minute" in wrangler.refused("triggers", "deploy")
    assert crons(project) == ["0 6 * * MON-FRI", "0 0 L * *"]
    project.configure(triggers={"crons": []})
    wrangler("triggers", "deploy")
    assert crons(project) == []


def test_a_trigger_that_is_due_within_the_minute(newest: Wrangler, project: Project) -> None:
    project.write({"index.js": SCRIPT})
    project.configure(triggers={"crons": ["* * * * *"]})
    newest("deploy")
    deadline = time.monotonic() + 75
    while not project.platform.api.result("GET", f"{project.path}/schedules/runs"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    run = finished(project)
    assert (run["outcome"], run["late"], run["manual"]) == ("ok", False, False)
    assert run["scheduled_on"].endswith(":00Z") or ":00." in run["scheduled_on"]
