"""KV in the browser: a namespace, its keys, and what a Worker sees of them."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


def test_keys_are_written_found_changed_and_deleted(
    page: Page, ada: Eye, platform: Platform
) -> None:
    page.goto("/kv")
    if page.get_by_role("heading", name="No namespace yet").is_visible():
        ada.look(page, "kv-none")
    page.get_by_label("Title").fill("by clicking")
    page.get_by_role("button", name="Make the namespace").click()
    expect(page.get_by_role("heading", name="by clicking")).to_be_visible()
    expect(page.get_by_text("npx wrangler kv key put")).to_be_visible()
    ada.look(page, "kv-empty")
    namespace = page.url.rpartition("/")[2]

    for key, value in (("greeting", "hello"), ("a/b c", "odd")):
        page.get_by_role("link", name="Add a key").click()
        page.get_by_label("Key", exact=True).fill(key)
        page.get_by_label("Value").fill(value)
        page.get_by_label("Metadata (optional)").fill('{"by": "hand"}')
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text(f"{key} is written.")).to_be_visible()
    ada.look(page, "kv-keys")
    values = f"storage/kv/namespaces/{namespace}/values"
    assert platform.api.call("GET", f"{values}/a%2Fb%20c").text == "odd"

    platform.api.result("PUT", f"{values}/greeting", content=b"hello\nagain")
    page.get_by_role("searchbox").fill("gree")
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_role("link", name="a/b c")).not_to_be_visible()
    page.get_by_role("link", name="greeting").click()
    expect(page.get_by_label("Value")).to_have_value("hello\nagain")
    ada.look(page, "kv-key")
    page.get_by_label("Value").fill("changed")
    page.get_by_label("Time to live (optional)").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("at least 60")
    ada.look(page, "kv-key-refused")
    assert platform.api.call("GET", f"{values}/greeting").text == "hello\nagain"
    page.get_by_label("Time to live (optional)").fill("600")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("greeting is written.")).to_be_visible()
    assert platform.api.call("GET", f"{values}/greeting").text == "changed"

    page.get_by_role("link", name="a/b c").click()
    page.get_by_role("button", name="Delete the key").click()
    expect(page.get_by_text("a/b c is deleted.")).to_be_visible()
    assert platform.api.refusal("GET", f"{values}/a%2Fb%20c")[1] == 10009

    page.get_by_role("link", name="Settings").click()
    ada.look(page, "kv-settings")
    page.get_by_role("button", name="Delete by clicking").click()
    expect(page.get_by_text("by clicking is deleted with all its keys.")).to_be_visible()
    assert platform.api.refusal("GET", f"{values}/greeting")[1] == 10013
