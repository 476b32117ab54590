"""Lambda targets: added with a mistake first, seen on a Worker's page with what differs, removed."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.cast import upload_parts
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

SCRIPT = """export default {
  async fetch(request, env) {
    const answer = await fetch("https://example.com");
    return new HTMLRewriter().transform(answer);
  },
}"""
TOKEN = [{"name": "TOKEN", "type": "secret_text", "text": "hidden"}]


def test_targets(page: Page, ada: Eye, platform: Platform) -> None:
    parts = upload_parts(SCRIPT, bindings=TOKEN)
    platform.api.result("PUT", "workers/scripts/the-proxy", **parts)
    page.goto("/targets")
    page.get_by_label("Name").fill("Frankfurt")
    page.get_by_label("Role of the functions").fill("admin")
    page.get_by_role("button", name="Add the target").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "targets-refused")
    page.get_by_label("Role of the functions").fill("arn:aws:iam::123456789012:role/worker")
    page.get_by_label("Role that Skerry assumes").fill("arn:aws:iam::123456789012:role/skerry")
    page.get_by_role("button", name="Add the target").click()
    expect(page.get_by_role("heading", name="Frankfurt", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile("^skx_"))).to_be_visible()
    ada.look(page, "target")

    page.goto("/workers/the-proxy")
    page.get_by_role("link", name="Targets").last.click()
    row = page.get_by_role("row", name=re.compile("HTMLRewriter"))
    expect(row.get_by_text("Impossible")).to_be_visible()
    page.get_by_role("button", name="Choose Frankfurt").click()
    expect(page.get_by_text("cannot run on AWS Lambda").first).to_be_visible()
    ada.look(page, "worker-targets")
    current = page.get_by_role("navigation", name="Worker").locator("[aria-current=page]")
    expect(current).to_have_text("Targets")
    platform.api.result("DELETE", "workers/services/the-proxy?force=true")

    page.goto("/targets")
    ada.look(page, "targets")
    page.get_by_role("link", name="Frankfurt").click()
    page.get_by_role("button", name="Remove Frankfurt").click()
    expect(page.get_by_text("There is no Lambda target.")).to_be_visible()
