"""Durable Objects in the browser: a Worker made by clicking, its class, and what it stored."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


def test_a_class_and_its_objects(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/objects")
    if page.get_by_role("heading", name="No Durable Object yet").is_visible():
        ada.look(page, "objects-none")
        page.get_by_role("link", name="Use the template").click()
    else:
        page.goto("/workers/new/counter")
    page.get_by_label("Name", exact=True).fill("counting")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()

    page.goto("/objects")
    page.get_by_role("link", name="Counter").click()
    expect(page.get_by_text("No object has stored anything yet.")).to_be_visible()
    platform.get(platform.hostname("counting"), "/one")
    page.reload()
    (namespace,) = platform.api.result("GET", "workers/durable_objects/namespaces")
    (found,) = platform.api.result(
        "GET", f"workers/durable_objects/namespaces/{namespace['id']}/objects"
    )
    expect(page.get_by_text(found["id"])).to_be_visible()
    ada.look(page, "objects-show")
    page.get_by_role("link", name="Durable Objects").first.click()
    expect(page.get_by_role("cell", name="SQLite")).to_be_visible()
    ada.look(page, "objects-classes")
    platform.api.result("DELETE", "workers/services/counting?force=true")
    page.reload()
    expect(page.get_by_role("heading", name="No Durable Object yet")).to_be_visible()
