"""Workflows in the browser: a Worker made by clicking, an instance with its steps, and its end."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


def test_a_workflow_and_its_instances(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workflows")
    if page.get_by_role("heading", name="No workflow yet").is_visible():
        ada.look(page, "workflows-none")
        page.get_by_role("link", name="Use the template").click()
    else:
        page.goto("/workers/new/checkout")
    page.get_by_label("Name", exact=True).fill("shop")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()

    page.goto("/workflows")
    ada.look(page, "workflows-list")
    page.get_by_role("link", name="shop-orders").click()
    expect(page.get_by_role("heading", name="No instance yet")).to_be_visible()
    ada.look(page, "workflows-empty")
    page.get_by_label("Parameters").fill("{")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("link", name="This is no JSON")).to_be_visible()
    ada.look(page, "workflows-refused")
    page.get_by_label("Parameters").fill('{"item": "anchor"}')
    page.get_by_label("Id").fill("first")
    page.get_by_role("button", name="Start").click()

    expect(page.get_by_role("heading", name="first")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("price the item-1.*Done.*40"))).to_be_visible()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("definition").filter(has_text="Paused")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("definition").filter(has_text="Waiting")).to_be_visible()
    ada.look(page, "workflows-instance")
    page.get_by_label("Type").fill("paid")
    page.get_by_label("Payload").fill('{"by": "cash"}')
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("The event is sent.")).to_be_visible()

    def complete() -> bool:
        page.reload()
        return page.get_by_role("definition").filter(has_text="Complete").is_visible()

    for _ in range(20):
        if complete():
            break
        page.wait_for_timeout(500)
    expect(page.get_by_text('"paidBy": "cash"')).to_be_visible()

    page.get_by_role("link", name="shop-orders").click()
    page.get_by_label("Parameters").fill('{"item": "oar"}')
    page.get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Terminate").click()
    expect(page.get_by_text("It is terminated.")).to_be_visible()
    ada.look(page, "workflows-terminated")
    page.get_by_role("link", name="shop-orders").click()
    page.get_by_role("link", name="Complete", exact=True).click()
    expect(page.get_by_role("rowheader", name="first")).to_be_visible()
    page.get_by_role("link", name="All").click()
    expect(page.get_by_role("rowheader")).to_have_count(2)
    ada.look(page, "workflows-instances")

    page.get_by_role("link", name="Delete workflow…").click()
    ada.look(page, "workflows-delete")
    page.get_by_role("button", name="Delete shop-orders").click()
    expect(page.get_by_text("shop-orders is deleted.")).to_be_visible()
    platform.api.result("DELETE", "workers/services/shop?force=true")
