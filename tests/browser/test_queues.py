"""Queues in the dashboard: made, filled, paused, given a consumer, emptied, deleted."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.cast import upload_parts
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

CONSUMER = "export default { fetch: () => new Response('hi'), async queue() {} };"
NAME, WORKER = "clicked-jobs", "queue-worker"


def send(page: Page, text: str) -> None:
    page.get_by_label("Text").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("The message is in the queue.")).to_be_visible()


def test_a_queue_from_its_making_to_its_end(page: Page, ada: Eye, platform: Platform) -> None:
    platform.api.result("PUT", f"workers/scripts/{WORKER}", **upload_parts(CONSUMER))
    page.goto("/workers")
    page.get_by_role("link", name="Queues", exact=True).click()
    expect(page.get_by_text("npx wrangler queues create")).to_be_visible()
    ada.look(page, "queues-none")
    page.get_by_label("Name").fill("-no")
    page.get_by_role("button", name="Make the queue").click()
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_label("Name").fill(NAME)
    page.get_by_role("button", name="Make the queue").click()
    expect(page.get_by_text("This queue is empty")).to_be_visible()
    ada.look(page, "queues-empty")

    send(page, "first <b>")
    send(page, "second")
    expect(page.get_by_text("2 messages, 15 B")).to_be_visible()
    expect(page.get_by_text("first <b>")).to_be_visible()
    page.get_by_label("Messages in a batch").fill("many")
    page.get_by_role("button", name="Save the consumer").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "queues-refused")
    page.goto(f"/queues/{NAME}")
    page.get_by_role("button", name="Pause delivery").click()
    expect(page.get_by_text("Delivery is paused.", exact=True)).to_be_visible()
    page.get_by_label("Who").select_option(WORKER)
    page.get_by_label("Wait for a full batch").fill("0")
    page.get_by_role("button", name="Save the consumer").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_label("Who")).to_have_value(WORKER)
    ada.look(page, "queues-full")

    page.goto(f"/queues/{NAME}/delete")
    ada.look(page, "queues-delete")
    page.get_by_role("button", name=f"Delete {NAME}").click()
    expect(page.get_by_text("has a consumer")).to_be_visible()
    page.goto(f"/queues/{NAME}/purge")
    ada.look(page, "queues-purge")
    page.get_by_role("button", name="Delete all messages").click()
    expect(page.get_by_text("This queue is empty")).to_be_visible()
    page.get_by_role("button", name="Resume delivery").click()
    expect(page.get_by_text("Delivery goes on.")).to_be_visible()
    page.get_by_label("Who").select_option("")
    page.get_by_role("button", name="Save the consumer").click()
    page.get_by_label("Keep messages for").fill("60")
    page.get_by_role("button", name="Save the settings").click()
    expect(page.get_by_label("Keep messages for")).to_have_value("60")
    page.goto("/queues")
    ada.look(page, "queues-list")
    page.goto(f"/queues/{NAME}/delete")
    page.get_by_role("button", name=f"Delete {NAME}").click()
    expect(page.get_by_text(f"{NAME} is deleted.")).to_be_visible()
    platform.api.result("DELETE", f"workers/services/{WORKER}")


def test_what_is_not_there_is_a_page(page: Page, ada: Eye) -> None:
    del ada
    page.goto("/queues/none")
    expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")
    expect(page.get_by_text("There is no queue of this name.")).to_be_visible()
