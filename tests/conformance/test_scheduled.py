"""What a `scheduled` handler is given, compared field by field."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.conftest import Both, Site
from tests.platform import SETTLE_SECONDS
from tests.wrangler.conftest import Project

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = """let seen = null;
export default {
    fetch: () => Response.json(seen),
    async scheduled(controller, env, ctx) {
        seen = {
            cron: controller.cron,
            type: controller.type,
            scheduledTime: typeof controller.scheduledTime,
            recent: Math.abs(Date.now() - controller.scheduledTime) < 60_000,
            noRetry: typeof controller.noRetry,
            stage: env.STAGE,
            waitUntil: false,
        };
        ctx.waitUntil(Promise.resolve().then(() => { seen.waitUntil = true; }));
    },
};
"""


def seen(site: Site) -> Any:
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := site.ask("GET", "/").json()) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def test_the_same_event(both: Callable[[], Both], project: Project) -> None:
    cron = "15 4 * * MON"
    project.write({"index.js": SCRIPT})
    project.configure(triggers={"crons": [cron]}, vars={"STAGE": "test"})
    sites = both()
    project.platform.api.result("POST", f"{project.path}/schedules/runs", json={"cron": cron})
    sites.local.ask("GET", "/cdn-cgi/handler/scheduled", params={"cron": cron})
    assert seen(sites.skerry) == seen(sites.local)
    assert seen(sites.skerry)["cron"] == cron
