"""Pages that no journey passes, and what makes them pleasant."""

import re
import time
from dataclasses import replace

import pytest
from playwright.sync_api import Page, Route, expect

from launcher import children, instance_lock
from launcher.paths import DataDirectory
from tests.browser import weak_node
from tests.browser.conftest import PASSWORD
from tests.browser.looking import PHONE, Eye
from tests.browser.test_journeys import deploy_again
from tests.faults.instance import stopped, with_children
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


def test_the_gallery_and_its_forms(page: Page, ada: Eye) -> None:
    page.goto("/workers/new")
    ada.look(page, "create")
    page.get_by_role("searchbox").fill("hono")
    expect(page.get_by_role("link", name="Hello World")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"search=hono"))
    page.get_by_role("searchbox").fill("zebra")
    expect(page.get_by_text("No template fits")).to_be_visible()
    for template in ("hello-world", "ab-test"):
        page.goto(f"/workers/new/{template}")
        ada.look(page, f"create-{template}")
    page.get_by_label("Name", exact=True).fill("Not A Name!")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("alert")).to_be_focused()
    assert page.get_by_label("Name", exact=True).input_value() == "Not A Name!"
    ada.look(page, "create-refused")


def test_a_full_list(page: Page, ada: Eye, platform: Platform) -> None:
    for number in range(26):
        deploy_again(platform, f"many-{number:02d}", "hi")
    page.goto("/workers")
    ada.look(page, "workers")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("link", name="Previous")).to_be_visible()
    page.get_by_role("searchbox").fill("many-07")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("searchbox").fill("zebra")
    expect(page.get_by_text("No Worker has")).to_be_visible()
    ada.look(page, "workers-none")


def test_what_is_typed_before_the_scripts_arrive_is_searched(page: Page, ada: Eye) -> None:
    held: list[Route] = []
    page.route("**/vendor/htmx*", lambda route: held.append(route))
    page.goto("/workers/new", wait_until="commit")
    page.get_by_role("searchbox").fill("zebra")
    while not held:
        page.wait_for_timeout(10)
    held[0].continue_()
    expect(page.get_by_text("No template fits")).to_be_visible()


def test_scaling_is_set(page: Page, ada: Eye, platform: Platform) -> None:
    deploy_again(platform, "scaled", "hi")
    page.goto("/workers/scaled/settings")
    page.get_by_label("Stop when idle for").select_option(label="5 minutes")
    page.get_by_label("Processes at most").fill("100")
    page.get_by_role("button", name="Save scaling").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "settings-scaling-refused")
    page.get_by_label("Processes at most").fill("2")
    page.get_by_role("button", name="Save scaling").click()
    expect(page.get_by_text("Every node scales scaled like this")).to_be_visible()
    ada.look(page, "settings-scaling")
    settings = platform.api.result("GET", "workers/scripts/scaled/script-settings")
    assert settings["scaling"] == {"idle_seconds": 300, "max_cells": 2}


def test_nodes(page: Page, ada: Eye) -> None:
    page.goto("/workers")
    page.get_by_role("link", name="Nodes").click()
    expect(page.get_by_role("heading", name="Nodes", exact=True)).to_be_visible()
    ada.look(page, "nodes")
    page.get_by_role("link", name="edge-1").click()
    expect(page.get_by_role("heading", name="About this node")).to_be_visible()
    ada.look(page, "node")
    page.get_by_role("link", name="What the levels mean").click()
    expect(page.get_by_role("heading", name="Sandbox levels")).to_be_visible()
    ada.look(page, "nodes-sandbox")


def test_health(page: Page, ada: Eye) -> None:
    page.goto("/workers")
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_role("heading", name="Health", exact=True)).to_be_visible()
    # The first sweep and a node's first report may still be on their way.
    deadline = time.monotonic() + 40
    while not page.get_by_text("Everything answers").is_visible():
        assert time.monotonic() < deadline, page.get_by_role("main").inner_text()
        page.get_by_role("link", name="Ask again").click()
        page.wait_for_load_state()
    ada.look(page, "health")


def test_a_node_to_be_warned_of(page: Page, ada: Eye, platform: Platform) -> None:
    deploy_again(platform, "waited-for", "hi")
    with weak_node.joined(platform.data, sandbox="none"):
        page.goto("/nodes")
        expect(page.get_by_text(f"{weak_node.NAME}: This node's cells run without")).to_be_visible()
        ada.look(page, "nodes-weak")
        page.get_by_role("link", name=weak_node.NAME, exact=True).click()
        expect(page.get_by_role("link", name="waited-for")).to_be_visible()
        ada.look(page, "node-weak")
        page.get_by_role("link", name="What is weaker, and what to do").click()
        expect(page).to_have_url(re.compile("/nodes/sandbox#none$"))


def test_components(page: Page, ada: Eye) -> None:
    page.goto("/_components")
    ada.look(page, "components")
    page.get_by_role("link", name="Open it…").click()
    expect(page.get_by_role("dialog", name="A question?")).to_be_visible()
    ada.look(page, "components-dialog")


def test_the_database_hangs(page: Page, ada: Eye, platform: Platform) -> None:
    deploy_again(platform, "hung", "hi")
    page.goto("/workers/hung/settings")
    page.get_by_label("Processes at most").fill("2")
    record = children.record_path(DataDirectory(platform.data.resolve()), "postgres")
    postgres = instance_lock.recorded(record)
    assert postgres
    with stopped(*with_children(postgres)):
        page.get_by_role("button", name="Save scaling").click()
        expect(page.get_by_role("heading", name="The database does not answer")).to_be_visible()
        ada.look(page, "database-away-kept")
        other = ada.context.new_page()
        other.goto("/workers")
        ada.look(other, "database-away")
    other.get_by_role("link", name="Try again").click()
    expect(other.get_by_role("heading", name="Workers", exact=True)).to_be_visible()
    page.get_by_role("button", name="Send it again").click()
    expect(page.get_by_text("Every node scales hung like this")).to_be_visible()


def test_on_a_phone_the_current_entry_is_in_view(page: Page, ada: Eye) -> None:
    page.set_viewport_size(PHONE)
    page.goto("/tokens")
    entry = page.get_by_role("navigation", name="Main").get_by_role("link", name="API tokens")
    expect(entry).to_be_in_viewport(ratio=1)


def test_connecting_wrangler_with_a_new_token(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workers")
    page.get_by_role("link", name="Connect wrangler").click()
    expect(page.get_by_text(f"{platform.url}/client/v4", exact=True)).to_be_visible()
    page.get_by_text("PowerShell").click()
    ada.look(page, "connect")
    page.get_by_role("link", name="Make a token").click()
    page.get_by_role("button", name="Make the token").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "tokens-refused")
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Make the token").click()
    expect(page.get_by_role("heading", name="laptop is made")).to_be_visible()
    ada.look(page, "token-created")
    line = page.locator("#posix").inner_text()
    token = line.removeprefix("export CLOUDFLARE_API_TOKEN=")
    made = replace(platform.api, token=token)
    assert made.result("GET", "/user")["email"].startswith("laptop@")

    page.get_by_role("link", name="All tokens").click()
    page.get_by_role("link", name="Revoke laptop").click()
    ada.look(page, "token-revoke")
    page.get_by_role("button", name="Revoke laptop").click()
    expect(page.get_by_text("laptop is revoked")).to_be_visible()
    ada.look(page, "tokens")
    assert made.refusal("GET", "/user")[0] == 401


@pytest.mark.parametrize(("path", "name"), [("/workers/none", "problem-404")])
def test_problems_are_pages(page: Page, ada: Eye, path: str, name: str) -> None:
    page.goto(path)
    ada.look(page, name)


def test_the_theme_is_switched_without_a_reload(page: Page, ada: Eye) -> None:
    page.goto("/workers/new/hello-world")
    page.get_by_label("Name", exact=True).fill("typed")

    def canvas() -> object:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    with page.expect_response("**/theme"):
        page.get_by_role("button", name="Light").click()
    light = canvas()
    with page.expect_response("**/theme"):
        page.get_by_role("button", name="Dark").click()
    assert canvas() != light
    assert page.get_by_label("Name", exact=True).input_value() == "typed"
    assert page.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    dark = canvas()
    page.reload()
    assert canvas() == dark


def test_the_first_key_leads_past_the_navigation(page: Page, ada: Eye) -> None:
    page.goto("/workers")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_text_is_copied(page: Page, ada: Eye) -> None:
    ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/workers/new")
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#announcer")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[-1] == "cd my-app && npx wrangler deploy"


def test_a_password_can_be_shown(page: Page, ada: Eye) -> None:
    ada.context.clear_cookies()
    page.goto("/login")
    field = page.get_by_label("Password", exact=True)
    field.fill(PASSWORD)
    page.get_by_role("button", name="Show the password").click()
    assert field.get_attribute("type") == "text"
