"""Chromium in front of the platform as `./skerry up` starts it, and Ada, who administers it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.looking import DESKTOP, Eye
from tests.platform import Platform, platform as platform

EMAIL, PASSWORD = "ada@example.org", "correct horse battery"
# A node takes up a deployment within a second; a busy machine with two cores takes longer.
PATIENCE_MS = 20_000
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, platform: Platform) -> Iterator[Callable[..., Eye]]:
    """Opens browsers of their own; at the end none of their pages has asked another host."""
    eyes: list[Eye] = []

    def open_(**options: Any) -> Eye:
        context = chromium.new_context(base_url=platform.url, viewport=DESKTOP, **options)
        context.set_default_timeout(PATIENCE_MS)
        eyes.append(Eye(context, platform.url))
        return eyes[-1]

    yield open_
    for eye in eyes:
        eye.context.close()
    assert {host for eye in eyes for host in eye.strangers()} == set()
    assert [error for eye in eyes for error in eye.errors] == []


@pytest.fixture(scope="session")
def administrator(
    chromium: Browser, platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Sets Skerry up by clicking, once; gives the file with Ada's cookies."""
    context = chromium.new_context(base_url=platform.url, viewport=DESKTOP)
    context.set_default_timeout(PATIENCE_MS)
    eye, page = Eye(context, platform.url), context.new_page()
    _look_at_the_way_in(page, eye, platform)
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Make me the administrator").click()
    expect(page.get_by_role("heading", name="Workers", exact=True)).to_be_visible()
    if page.get_by_role("heading", name="Deploy your first Worker").is_visible():
        eye.look(page, "workers-empty")
    cookies = tmp_path_factory.mktemp("browser") / "ada.json"
    context.storage_state(path=cookies)
    page.goto(platform.setup_url)
    expect(page.get_by_text("Skerry is set up already")).to_be_visible()
    eye.look(page, "setup-used")
    context.close()
    assert eye.strangers() == set()
    return cookies


def _look_at_the_way_in(page: Page, eye: Eye, platform: Platform) -> None:
    page.goto("/login")
    expect(page.get_by_role("heading", name="Skerry is not set up yet")).to_be_visible()
    eye.look(page, "setup-pending")
    page.goto("/setup?token=wrong")
    eye.look(page, "setup-wrong")
    page.goto(platform.setup_url)
    page.get_by_role("button", name="Make me the administrator").click()
    # The summary takes the focus, so that a screen reader reads it and Tab leads to the fields.
    expect(page.get_by_role("alert")).to_be_focused()
    eye.look(page, "setup-refused")
    page.goto(platform.setup_url)
    eye.look(page, "setup")


@pytest.fixture
def ada(opened: Callable[..., Eye], administrator: Path) -> Eye:
    """Ada's browser, logged in."""
    return opened(storage_state=administrator)


@pytest.fixture
def page(ada: Eye) -> Page:
    return ada.context.new_page()


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[BrowserContext]:
    """Somebody who opens live URLs; no cookie of the dashboard is here."""
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()
