"""Workers that call each other, in the dashboard."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.cast import upload_parts
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


def test_from_a_caller_to_its_callee_and_back(page: Page, ada: Eye, platform: Platform) -> None:
    platform.api.result("PUT", "workers/scripts/called", **upload_parts())
    bindings = [
        {"name": "ITEMS", "type": "service", "service": "called"},
        {"name": "ADMIN", "type": "service", "service": "called", "entrypoint": "Admin"},
    ]
    platform.api.result("PUT", "workers/scripts/calling", **upload_parts(bindings=bindings))

    page.goto("/workers/calling")
    expect(page.get_by_role("row", name="ADMIN called entrypoint Admin")).to_be_visible()
    ada.look(page, "calls")
    page.get_by_role("row", name="ITEMS").get_by_role("link", name="called").click()
    expect(page.get_by_role("heading", name="called", exact=True)).to_be_visible()
    expect(page.get_by_text("Called by calling.")).to_be_visible()
    ada.look(page, "called")

    page.goto("/workers/called/delete")
    expect(page.get_by_text("calling calls it through a binding")).to_be_visible()
    ada.look(page, "called-delete")
    page.get_by_label("Type called to confirm").fill("called")
    page.get_by_role("button", name="Delete called").click()
    expect(page.get_by_text("called was deleted")).to_be_visible()
    page.goto("/workers/calling")
    expect(page.get_by_role("row", name="ITEMS called was deleted")).to_be_visible()
