"""Cron triggers in the dashboard: added, run by hand, looked at, removed."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.cast import upload_parts
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

SCRIPT = """export default {
  fetch: () => new Response("clock"),
  scheduled: (controller) => console.log(`called by ${controller.cron}`),
}"""


def test_triggers(page: Page, ada: Eye, platform: Platform) -> None:
    platform.api.result("PUT", "workers/scripts/the-clock", **upload_parts(SCRIPT))
    page.goto("/workers/the-clock")
    page.get_by_role("link", name="Triggers").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    expect(page.get_by_text("npx wrangler triggers deploy")).to_be_visible()
    ada.look(page, "triggers-none")

    page.get_by_label("Expression").fill("0 25 * * *")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_text("'25' is no hour").first).to_be_visible()
    page.get_by_label("Expression").fill("30 6 * * MON-FRI")
    page.get_by_role("button", name="Add").click()
    row = page.get_by_role("row", name=re.compile("30 6"))
    expect(row.locator("time")).to_have_count(5)
    expect(row.locator("time").first).to_have_text(re.compile(r"06:30$"))

    page.get_by_role("button", name="Run now: 30 6 * * MON-FRI").click()
    expect(page.get_by_text("Succeeded")).to_be_visible(timeout=20_000)
    page.get_by_text("Log", exact=True).click()
    expect(page.get_by_text("called by 30 6 * * MON-FRI")).to_be_visible()
    ada.look(page, "triggers")

    page.get_by_role("button", name="Remove 30 6 * * MON-FRI").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    expect(page.get_by_text("Succeeded")).to_be_visible()
    platform.api.result("DELETE", "workers/services/the-clock?force=true")
