"""The command palette, by keys alone; and the page that does the same without JavaScript."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.browser.test_journeys import deploy_again
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


def chosen(page: Page) -> str:
    """The option that Enter goes to, as a screen reader is told."""
    identifier = page.get_by_role("combobox").get_attribute("aria-activedescendant")
    option = page.locator(f"#{identifier}")
    expect(option).to_have_attribute("aria-selected", "true")
    return option.locator("span").first.inner_text()


def test_going_anywhere_by_keys(page: Page, ada: Eye, platform: Platform) -> None:
    deploy_again(platform, "palette-shop", "hi")
    page.goto("/workers")
    page.keyboard.press("ControlOrMeta+k")
    palette = page.get_by_role("dialog", name="Find")
    expect(page.get_by_role("combobox")).to_be_focused()
    expect(palette.get_by_role("option", name="Create Worker")).to_be_visible()
    assert chosen(page) == "Create Worker"
    page.keyboard.press("ArrowUp")
    assert chosen(page) != "Create Worker"
    page.keyboard.press("ArrowDown")
    assert chosen(page) == "Create Worker"
    ada.look(page, "palette")
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()

    # Faster than the answers come: Enter waits for what belongs to all letters.
    page.keyboard.press("ControlOrMeta+k")
    page.keyboard.type("palette shop")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/workers/palette-shop$"))
    page.wait_for_load_state()  # the keys of a page that is on its way go to nobody

    page.keyboard.press("ControlOrMeta+k")
    page.keyboard.type("palette-s")
    expect(palette.get_by_role("option", name="Settings of palette-shop")).to_be_visible()
    ada.look(page, "palette-worker")
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    assert chosen(page) == "Settings of palette-shop"
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/workers/palette-shop/settings$"))


def test_by_mouse_and_when_nothing_fits(page: Page, ada: Eye) -> None:
    page.goto("/nodes")
    page.get_by_role("link", name="Find").click()
    page.get_by_role("combobox").fill("zebra")
    palette = page.get_by_role("dialog", name="Find")
    expect(palette.get_by_text("Nothing is called “zebra”.")).to_be_visible()
    ada.look(page, "palette-none")
    page.keyboard.press("Enter")
    page.get_by_role("combobox").fill("token")
    palette.get_by_role("option", name="Make an API token").click()
    expect(page).to_have_url(re.compile(r"/tokens#new$"))


def test_without_javascript_there_is_a_page(
    opened: Callable[..., Eye], administrator: Path, platform: Platform
) -> None:
    deploy_again(platform, "palette-plain", "hi")
    page = opened(storage_state=administrator, java_script_enabled=False).context.new_page()
    page.goto("/workers")
    page.get_by_role("link", name="Find").click()
    page.get_by_role("searchbox").fill("palette-pl")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name="Edit code of palette-plain").click()
    expect(page.get_by_role("heading", name="Edit code")).to_be_visible()


def test_the_page_looks_right(page: Page, ada: Eye) -> None:
    page.goto("/find")
    ada.look(page, "find")
    page.goto("/find?search=zebra")
    ada.look(page, "find-none")
