"""What a person does with the dashboard, done by clicking."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import EMAIL, PASSWORD
from tests.browser.looking import Eye
from tests.cast import upload_parts
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

# From login to live URL by the clock, a slow machine included.
FIRST_WORKER_SECONDS = 30


def log_in(page: Page) -> None:
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def create(page: Page, template: str, name: str) -> str:
    """From the list to a Worker that every node runs; gives its live URL."""
    page.get_by_role("link", name="Create Worker").first.click()
    page.get_by_role("link", name=template, exact=True).click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("heading", name=f"{name} is created")).to_be_visible()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    return page.get_by_role("link", name="Visit").get_attribute("href") or ""


def deploy_again(platform: Platform, name: str, answer: str) -> None:
    """A second version, as wrangler uploads it."""
    source = f"export default {{ fetch() {{ return new Response({answer!r}) }} }}"
    platform.api.result("PUT", f"workers/scripts/{name}", **upload_parts(source))


def test_from_login_to_a_live_url(
    opened: Callable[..., Eye], administrator: object, visitor: BrowserContext
) -> None:
    eye = opened()
    page = eye.context.new_page()
    page.goto("/")
    started = time.monotonic()
    log_in(page)
    url = create(page, "Hello World", "first-worker")

    live = visitor.new_page()
    live.goto(url)
    expect(live.get_by_text("Hello World!")).to_be_visible()
    assert time.monotonic() - started < FIRST_WORKER_SECONDS
    assert page.get_by_text(f"curl {url}").is_visible()
    eye.look(page, "created")


def test_visit_opens_the_worker(page: Page, ada: Eye, visitor: BrowserContext) -> None:
    page.goto("/workers")
    url = create(page, "Hono API", "hono-by-click")
    page.get_by_role("link", name="Open the Worker's page").click()
    assert page.get_by_role("link", name="Visit").get_attribute("href") == url

    live = visitor.new_page()
    answer = live.goto(f"{url}/api/hello/Ada")
    assert answer is not None
    assert answer.json() == {"message": "Hello, Ada!"}
    assert "server-timing" in answer.headers
    nothing = live.goto(f"{url}/nothing")
    assert nothing is not None
    assert (nothing.status, nothing.json()) == (404, {"error": "There is no GET /nothing here."})


def test_rolling_back(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workers")
    create(page, "Hello World", "rolled-back")
    deploy_again(platform, "rolled-back", "Something worse")
    assert platform.get(platform.hostname("rolled-back")).text == "Something worse"

    page.goto("/workers/rolled-back")
    ada.look(page, "overview")
    page.get_by_role("button", name="Roll back to version 1").dblclick()
    expect(page.get_by_text("Rolling back to version 1.")).to_be_visible()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    assert platform.get(platform.hostname("rolled-back")).text == "Hello World!"
    ada.look(page, "overview-rolled-back")
    page.get_by_role("link", name="Deployments").click()
    expect(page.get_by_role("row")).to_have_count(4)
    ada.look(page, "deployments")
    page.get_by_role("link", name="Versions", exact=True).click()
    expect(page.get_by_role("button", name="Deploy version 2")).to_be_visible()
    ada.look(page, "versions")
    page.get_by_role("link", name="2", exact=True).click()
    expect(page.get_by_role("heading", name="Version 2")).to_be_visible()
    ada.look(page, "version")


def test_a_version_comes_step_by_step(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workers")
    create(page, "Hello World", "in-steps")
    source = "export default { fetch() { return new Response('The next one') } }"
    path = "workers/scripts/in-steps/versions"
    made = platform.api.result("POST", path, **upload_parts(source))
    page.goto("/workers/in-steps/versions")
    page.get_by_role("link", name="Share the requests with version 2").click()
    expect(page.get_by_role("heading", name="Deploy version 2")).to_be_visible()
    share = page.get_by_label("Percent of the requests")
    expect(share).to_have_value("10")
    page.get_by_role("link", name="50 %").click()
    expect(share).to_have_value("50")
    ada.look(page, "deploy-share")
    share.fill("1000")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(share).to_have_value("1000")
    ada.look(page, "deploy-share-refused")
    share.fill("40")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Sending 60 % to version 1 and 40 % to version 2.")).to_be_visible()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    hostname = platform.hostname("in-steps")
    assert {platform.get(hostname).text for _ in range(40)} == {"Hello World!", "The next one"}
    ada.look(page, "deployments-split")
    page.goto("/workers/in-steps")
    expect(page.get_by_text("60 %").first).to_be_visible()
    ada.look(page, "overview-split")
    page.goto("/workers/in-steps/versions")
    ada.look(page, "versions-split")
    page.goto(f"/workers/in-steps/versions/{made['id']}")
    ada.look(page, "version-split")
    page.goto("/workers/in-steps/settings")
    ada.look(page, "settings-split")
    page.goto("/workers/in-steps/deployments")
    page.get_by_role("button", name="Deploy version 2 at 100 %").click()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    assert {platform.get(hostname).text for _ in range(10)} == {"The next one"}


def test_a_live_url_is_switched_off_and_on(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workers")
    create(page, "Hello World", "switched")
    page.goto("/workers/switched/settings")
    page.get_by_role("button", name="Switch the live URL off").click()
    expect(page.get_by_text("switched no longer answers at its live URL")).to_be_visible()
    ada.look(page, "settings-off")
    page.goto("/workers/switched")
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    assert platform.get(platform.hostname("switched")).status_code == 404
    ada.look(page, "overview-off")

    page.goto("/workers/switched/settings")
    page.get_by_role("button", name="Switch the live URL on").click()
    page.goto("/workers/switched")
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    assert platform.get(platform.hostname("switched")).text == "Hello World!"


def test_deleting(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workers")
    create(page, "Hello World", "short-lived")
    page.goto("/workers/short-lived/settings")
    ada.look(page, "settings")
    page.get_by_role("link", name="Delete short-lived").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Type short-lived to confirm")).to_be_focused()
    ada.look(page, "settings-dialog")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    page.get_by_role("link", name="Delete short-lived").click()
    dialog.get_by_label("Type short-lived to confirm").fill("another")
    dialog.get_by_role("button", name="Delete short-lived").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "delete-refused")
    page.get_by_label("Type short-lived to confirm").fill("short-lived")
    page.get_by_role("button", name="Delete short-lived").click()
    expect(page.get_by_text("short-lived was deleted")).to_be_visible()
    expect(page.get_by_role("link", name="short-lived", exact=True)).to_have_count(0)
    eventually_gone(platform, "short-lived")


def eventually_gone(platform: Platform, name: str) -> None:
    deadline = time.monotonic() + 10
    while platform.get(platform.hostname(name)).status_code != 404:
        assert time.monotonic() < deadline, f"{name} still answers"
        time.sleep(0.1)


def test_logging_out_and_in_leads_back(opened: Callable[..., Eye], administrator: object) -> None:
    eye = opened()
    page = eye.context.new_page()
    page.goto("/workers/new/hono-api")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    eye.look(page, "login")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password", exact=True).fill("not this one")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("E-mail or password is not right.")
    assert page.get_by_label("E-mail").input_value() == EMAIL
    eye.look(page, "login-refused")
    log_in(page)
    expect(page).to_have_url(re.compile(r"/workers/new/hono-api$"))

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto("/workers")
    expect(page).to_have_url(re.compile(r"/login$"))


def test_the_whole_way_without_javascript(
    opened: Callable[..., Eye], administrator: object, platform: Platform
) -> None:
    page = opened(java_script_enabled=False).context.new_page()
    page.goto("/workers")
    log_in(page)
    create(page, "Hello World", "no-script")
    assert platform.get(platform.hostname("no-script")).text == "Hello World!"

    page.goto("/workers")
    page.get_by_role("searchbox").fill("no-scr")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="no-script", exact=True).click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("#tokens-dark")).to_have_attribute("media", "all")
    expect(page).to_have_url(re.compile(r"/workers/no-script$"))
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="Delete no-script").click()
    page.get_by_label("Type no-script to confirm").fill("no-script")
    page.get_by_role("button", name="Delete no-script").click()
    expect(page.get_by_text("no-script was deleted")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_form_that_is_sent_twice(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/workers/new/hello-world")
    page.get_by_label("Name", exact=True).fill("only-once")
    page.get_by_role("button", name="Deploy").dblclick()
    expect(page.get_by_role("heading", name="only-once is created")).to_be_visible()

    page.goto("/workers/new/hello-world")
    page.get_by_label("Name", exact=True).fill("only-once")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("heading", name="only-once exists already")).to_be_visible()
    ada.look(page, "create-exists")
    page.get_by_role("link", name="Open only-once").click()
    expect(page.get_by_role("heading", name="only-once", exact=True)).to_be_visible()
    versions = platform.api.result("GET", "workers/scripts/only-once/versions")
    assert len(versions["items"]) == 1


def test_two_forms_at_the_very_same_time(page: Page) -> None:
    page.goto("/workers/new/hello-world")
    send = """fetch(location.href, {method: "POST", body: new URLSearchParams({name: "raced"})})
        .then((answer) => answer.status)"""
    statuses = page.evaluate(f"Promise.all([{send}, {send}, {send}])")
    # One follows its redirect to the new page, the others say what happened.
    assert sorted(statuses) == [200, 409, 409]


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no-javascript"])
def test_a_session_that_ends_while_the_form_is_open(
    opened: Callable[..., Eye], administrator: Path, scripts: bool
) -> None:
    eye = opened(storage_state=administrator, java_script_enabled=scripts)
    page, name = eye.context.new_page(), f"outlived-{scripts}".lower()
    page.goto("/workers/new/hello-world")
    page.get_by_label("Name", exact=True).fill(name)
    for cookie in eye.context.cookies():
        if "session" in cookie["name"]:
            eye.context.clear_cookies(name=cookie["name"])
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_text("Your session has ended")).to_be_visible()
    if scripts:
        eye.look(page, "login-kept")
    log_in(page)
    expect(page.get_by_role("heading", name="Your form is kept")).to_be_visible()
    if scripts:
        eye.look(page, "form-kept")
    page.get_by_role("button", name="Send it now").click()
    expect(page.get_by_role("heading", name=f"{name} is created")).to_be_visible()


def test_the_back_button_brings_the_form_back(page: Page, platform: Platform) -> None:
    page.goto("/workers/new/hello-world")
    page.get_by_label("Name", exact=True).fill("went-back")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("heading", name="went-back is created")).to_be_visible()
    page.go_back()
    button = page.get_by_role("button", name="Deploy")
    expect(button).not_to_have_attribute("aria-disabled", "true")
    page.get_by_label("Name", exact=True).fill("went-back")
    button.click()
    expect(page.get_by_role("heading", name="went-back exists already")).to_be_visible()
    versions = platform.api.result("GET", "workers/scripts/went-back/versions")
    assert len(versions["items"]) == 1
