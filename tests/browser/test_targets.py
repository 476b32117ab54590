"""Lambda targets: added with a mistake first, seen on a Worker's page with what differs, removed."""

import re
import time
from pathlib import Path

import boto3
import pytest
from playwright.sync_api import Page, expect

from tests.aws.cloud import KEY_ID, ROLE, SECRET, running_cloud
from tests.browser.looking import DESKTOP, PHONE, Eye
from tests.cast import upload_parts
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

SCRIPT = """export default {
  async fetch(request, env) {
    const answer = await fetch("https://example.com");
    return new HTMLRewriter().transform(answer);
  },
}"""
TOKEN = [{"name": "TOKEN", "type": "secret_text", "text": "hidden"}]


def test_targets(page: Page, ada: Eye, platform: Platform) -> None:
    parts = upload_parts(SCRIPT, bindings=TOKEN)
    platform.api.result("PUT", "workers/scripts/the-proxy", **parts)
    page.goto("/targets")
    page.get_by_label("Name").fill("Frankfurt")
    page.get_by_label("Role of the functions").fill("admin")
    page.get_by_role("button", name="Add the target").click()
    expect(page.get_by_role("alert")).to_be_focused()
    ada.look(page, "targets-refused")
    page.get_by_label("Role of the functions").fill("arn:aws:iam::123456789012:role/worker")
    page.get_by_label("Role that Skerry assumes").fill("arn:aws:iam::123456789012:role/skerry")
    page.get_by_role("button", name="Add the target").click()
    expect(page.get_by_role("heading", name="Frankfurt", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile("^skx_"))).to_be_visible()
    ada.look(page, "target")

    page.goto("/workers/the-proxy")
    page.get_by_role("link", name="Targets").last.click()
    row = page.get_by_role("row", name=re.compile("HTMLRewriter"))
    expect(row.get_by_text("Impossible")).to_be_visible()
    page.get_by_role("button", name="Choose Frankfurt").click()
    expect(page.get_by_text("cannot run on AWS Lambda").first).to_be_visible()
    ada.look(page, "worker-targets")
    current = page.get_by_role("navigation", name="Worker").locator("[aria-current=page]")
    expect(current).to_have_text("Targets")
    platform.api.result("DELETE", "workers/services/the-proxy?force=true")

    page.goto("/targets")
    ada.look(page, "targets")
    page.get_by_role("link", name="Frankfurt").click()
    page.get_by_role("button", name="Remove Frankfurt").click()
    expect(page.get_by_text("There is no Lambda target.")).to_be_visible()


def test_logs_of_a_function(page: Page, ada: Eye, platform: Platform, tmp_path: Path) -> None:
    key = {"access_key_id": KEY_ID, "secret_access_key": SECRET}
    target = {"name": "Ireland", "region": "eu-west-1", "role_arn": ROLE, **key}
    with running_cloud(tmp_path, platform.aws_port) as cloud:
        id_ = platform.api.result("POST", "skerry/targets", json=target)["id"]
        platform.api.result("PUT", "workers/scripts/twice", **upload_parts())
        page.goto("/workers/twice/targets")
        # On a phone as well: nobody has to scroll sideways for it.
        page.set_viewport_size(PHONE)
        button = page.get_by_role("button", name="Choose Ireland")
        expect(button).to_be_in_viewport(ratio=1)
        button.click()
        page.set_viewport_size(DESKTOP)
        link = page.get_by_role("link", name=re.compile("lambda-url"))
        deadline = time.monotonic() + 60
        while not link.is_visible():
            assert time.monotonic() < deadline, page.content()
            page.wait_for_timeout(500)
            page.reload()
        said = boto3.client("logs", endpoint_url=cloud.url, region_name="eu-west-1", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET)  # fmt: skip
        (group,) = said.describe_log_groups()["logGroups"]
        where = {"logGroupName": group["logGroupName"], "logStreamName": "s"}
        said.create_log_stream(**where)
        line = "2026-11-26T02:00:00.000Z\t1b2d86f0-0000-4000-8000-0123456789ab\tERROR\tUncaught Error: boom"
        event = {"timestamp": round(time.time() * 1000), "message": line}
        said.put_log_events(**where, logEvents=[event])
        page.get_by_role("navigation", name="Worker").get_by_role("link", name="Logs").click()
        page.get_by_role("link", name="Logs on Ireland").click()
        expect(page.get_by_role("row", name=re.compile("Uncaught Error: boom"))).to_be_visible()
        ada.look(page, "function-logs")
        platform.api.result("DELETE", "workers/services/twice?force=true")
        deadline = time.monotonic() + 60
        while platform.api.call("DELETE", f"skerry/targets/{id_}").status_code != 200:
            assert time.monotonic() < deadline, "its function is not withdrawn"
            time.sleep(0.3)
