"""The logs of a Worker while somebody looks at them."""

import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.browser.test_journeys import deploy_again
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

SECONDS = 60


def test_requests_appear_as_they_happen(page: Page, ada: Eye, platform: Platform) -> None:
    deploy_again(platform, "looked-at", "hi")
    platform.api.result("POST", "workers/scripts/looked-at/subdomain", json={"enabled": True})
    page.goto("/workers/looked-at")
    page.get_by_role("link", name="Logs", exact=True).click()
    expect(page.get_by_text("Waiting for requests.")).to_be_visible(timeout=SECONDS * 1000)
    shown = page.get_by_role("log").get_by_text("/seen")
    deadline = time.monotonic() + SECONDS
    while not shown.count():
        assert time.monotonic() < deadline, page.get_by_role("main").inner_text()
        platform.get(platform.hostname("looked-at"), "/seen")
        page.wait_for_timeout(300)
    expect(page.get_by_text("0 of them failed.")).to_be_visible(timeout=10_000)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.reload()
    expect(page.get_by_role("rowheader", name="GET /seen").first).to_be_visible()
    ada.look(page, "logs")
    page.goto("/workers/looked-at/metrics")
    expect(page.get_by_text("Requests", exact=True).first).to_be_visible()
    ada.look(page, "metrics")
