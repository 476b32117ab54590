"""Analytics Engine in the browser: from a Worker's points to an answer of the console."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.cast import upload_parts
from tests.platform import SETTLE_SECONDS, Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

SCRIPT = """
export default {
  fetch(request, env) {
    const { pathname } = new URL(request.url);
    env.VISITS.writeDataPoint({ blobs: [pathname], doubles: [pathname.length], indexes: ["i"] });
    return new Response("counted");
  },
};
"""


def test_points_of_a_worker_are_asked_for_in_sql(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/analytics")
    expect(page.get_by_role("heading", name="No dataset yet")).to_be_visible()
    ada.look(page, "analytics-none")

    binding = {"name": "VISITS", "type": "analytics_engine", "dataset": "visits"}
    parts = upload_parts(SCRIPT, bindings=[binding])
    platform.api.result("PUT", "workers/scripts/counts-visits", **parts)
    platform.api.result("POST", "workers/scripts/counts-visits/subdomain", json={"enabled": True})
    host = platform.hostname("counts-visits")
    platform.answers(host, "counted")
    for path in ("/a", "/a", "/long"):
        assert platform.get(host, path).text == "counted"
    query = "SELECT blob1, count() AS n FROM visits WHERE blob1 != '/' GROUP BY blob1 ORDER BY n DESC FORMAT JSONEachRow"
    told, deadline = "", time.monotonic() + SETTLE_SECONDS
    while told != '{"blob1": "/a", "n": "2"}\n{"blob1": "/long", "n": "1"}\n':
        assert time.monotonic() < deadline, told
        time.sleep(0.3)
        told = platform.api.call("POST", "analytics_engine/sql", content=query).text

    page.goto("/analytics")
    page.get_by_role("link", name="visits").click()
    expect(page.get_by_role("heading", name=re.compile(r"^\d rows?$"))).to_be_visible()
    page.get_by_label("Query").fill(
        "SELECT blob1 AS path, sum(double1) AS letters FROM visits WHERE blob1 != '/' GROUP BY path ORDER BY letters"
    )
    page.get_by_role("button", name="Run the query").click()
    expect(page.get_by_role("heading", name="2 rows")).to_be_visible()
    expect(page.get_by_role("row", name="/long 5.0")).to_be_visible()
    ada.look(page, "analytics")
    page.get_by_label("Query").fill("SELECT account_id FROM visits")
    page.get_by_role("button", name="Run the query").click()
    expect(page.get_by_text("There is no column account_id").first).to_be_visible()
    ada.look(page, "analytics-refused")
    platform.api.result("DELETE", "workers/scripts/counts-visits")
