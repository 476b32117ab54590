"""From a request to its logs, to why it went there, to what it used."""

import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.cast import upload_parts
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

SECONDS = 60
SCRIPT = """
export default { async fetch(request) {
  console.log("paid", { cart: { items: 3 } });
  await caches.default.match("http://shop/price");
  const stock = await fetch("http://10.0.0.1/stock?key=1");  // which no node lets a script reach
  await stock.text();
  if (request.url.endsWith("/fail")) throw new TypeError("cannot pay");
  return new Response("paid");
} };
"""


def test_a_request_from_its_logs_to_what_it_used(page: Page, ada: Eye, platform: Platform) -> None:
    parts = upload_parts(SCRIPT, observability={"enabled": True, "traces": {"enabled": True}})
    platform.api.result("PUT", "workers/scripts/stored-shop", **parts)
    platform.api.result("POST", "workers/scripts/stored-shop/subdomain", json={"enabled": True})
    platform.answers(platform.hostname("stored-shop"), "paid")
    ray = platform.get(platform.hostname("stored-shop"), "/fail").headers["cf-ray"]

    page.goto("/workers/stored-shop/logs")
    page.get_by_role("link", name="Search stored logs").click()
    deadline = time.monotonic() + SECONDS
    while not page.get_by_text("TypeError: cannot pay").count():
        assert time.monotonic() < deadline, page.get_by_role("main").inner_text()
        page.wait_for_timeout(500)
        page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_label("Field").last.fill("cart.items")
    page.get_by_label("How").last.select_option("is more than")
    page.get_by_label("Value").last.fill("2")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.get_by_text("TypeError: cannot pay")).to_have_count(0)
    page.get_by_text('paid {"cart"').first.click()
    expect(page.get_by_text('"items": 3').first).to_be_visible()
    ada.look(page, "stored-logs")

    page.keyboard.press("Control+k")
    page.get_by_role("combobox", name="Find a page").fill(ray)
    page.get_by_role("option", name="Why did request").click()
    expect(page.get_by_role("heading", name="Why did this request go there?")).to_be_visible()
    expect(page.get_by_text("It is the only version")).to_be_visible()
    expect(page.get_by_text("TypeError: cannot pay").first).to_be_visible()
    expect(page.get_by_role("rowheader", name="fetch GET 10.0.0.1/stock")).to_be_visible()
    ada.look(page, "ray")
    page.goto("/rays?ray=none")
    ada.look(page, "ray-none")

    page.get_by_role("link", name="Usage").click()
    expect(page.get_by_role("rowheader", name="stored-shop").first).to_be_visible()
    ada.look(page, "usage")
