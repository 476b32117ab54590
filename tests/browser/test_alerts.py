"""Alerts in the dashboard, and metrics of one version and of a node, looked at."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.edge.nodes import until

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


@pytest.fixture
def hook() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a webhook, and what came."""
    came: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", came
        server.shutdown()


def test_alerts(page: Page, ada: Eye, hook: tuple[str, list[bytes]]) -> None:
    url, came = hook
    page.goto("/workers")
    page.get_by_role("link", name="Alerts").click()
    ada.look(page, "alerts-none")
    page.get_by_role("button", name="Add the destination").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "alerts-refused")
    page.locator("#destination_name").fill("Pager")
    page.get_by_label("Address").fill(url)
    page.get_by_role("button", name="Add the destination").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pager is told from now on")
    ada.look(page, "alerts-created")
    page.get_by_role("link", name="All alerts").click()
    page.get_by_role("button", name="Send a test to Pager").click()
    until(lambda: any(b'"event": "test"' in body for body in came), 30, "the test arrives")

    page.locator("#name").fill("Disk of anything")
    page.locator("#kind").select_option("disk")
    page.get_by_label("Limit").fill("0.01")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.get_by_text("Disk of anything is watched from now on.")).to_be_visible()
    # Beat and the worker of the running platform do the rest.
    until(lambda: any(b'"event": "firing"' in body for body in came), 60, "it fires")
    page.reload()
    expect(
        page.get_by_text("is free", exact=False).or_(page.get_by_text("% full")).first
    ).to_be_visible()
    ada.look(page, "alerts")
    page.get_by_role("button", name="Delete the rule Disk of anything").click()
    page.get_by_role("button", name="Delete the destination Pager").click()
    expect(page.get_by_text("The destination is deleted.")).to_be_visible()


def test_metrics_of_a_node(page: Page, ada: Eye) -> None:
    page.goto("/nodes")
    page.get_by_role("link", name="edge-1").first.click()
    page.get_by_role("link", name="Metrics", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Metrics of edge-1")
    ada.look(page, "node-metrics")
