"""Buckets in the dashboard: made, filled, walked through by folders, emptied, deleted."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


def upload(page: Page, *files: Path) -> None:
    page.locator("#files").set_input_files(files)
    page.get_by_role("button", name="Upload").click()


def test_a_bucket_from_its_making_to_its_end(page: Page, ada: Eye, tmp_path: Path) -> None:
    note, odd = tmp_path / "note.txt", tmp_path / "ü & 100%?.bin"
    note.write_text("remember")
    odd.write_bytes(bytes(range(256)) * 1000)

    page.goto("/workers")
    page.get_by_role("link", name="R2 buckets").click()
    expect(page.get_by_text("npx wrangler r2 bucket create")).to_be_visible()
    ada.look(page, "r2-none")
    page.get_by_label("Name").fill("No")
    page.get_by_role("button", name="Make the bucket").click()
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_label("Name").fill("clicked-files")
    page.get_by_role("button", name="Make the bucket").click()
    expect(page.get_by_text("This bucket is empty")).to_be_visible()
    ada.look(page, "r2-empty")

    upload(page, note, odd)
    expect(page.get_by_text("2 files uploaded.")).to_be_visible()
    page.locator("#prefix").fill("photos/2026/")
    upload(page, note)
    expect(page.get_by_text("note.txt uploaded.")).to_be_visible()
    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="photos").click()
    expect(page.get_by_role("link", name="2026/")).to_be_visible()
    page.goto("/r2/clicked-files")
    expect(page.get_by_text("3 objects, 256.0 kB")).to_be_visible()
    ada.look(page, "r2-bucket")

    with page.expect_download() as saved:
        page.get_by_role("link", name=odd.name, exact=True).click()
    assert saved.value.suggested_filename.endswith(".bin")
    assert saved.value.path().read_bytes() == odd.read_bytes()

    page.goto("/r2/clicked-files/delete")
    page.get_by_role("button", name="Delete clicked-files").click()
    expect(page.get_by_text("is not empty")).to_be_visible()
    ada.look(page, "r2-not-empty")
    for key in (note.name, odd.name, f"photos/2026/{note.name}"):
        folder = key.rpartition("/")[0]
        page.goto(f"/r2/clicked-files?prefix={folder}{'/' if folder else ''}")
        page.get_by_role("link", name=f"Delete {key.rpartition('/')[2]}…").click()
        if key == note.name:
            ada.look(page, "r2-object-delete")
        page.get_by_role("button", name="Delete the object").click()
        expect(page.get_by_text("is deleted.")).to_be_visible()
    page.goto("/r2/clicked-files/delete")
    page.get_by_role("button", name="Delete clicked-files").click()
    expect(page.get_by_text("clicked-files is deleted.")).to_be_visible()


def test_what_is_not_there_is_a_page(page: Page, ada: Eye) -> None:
    page.goto("/r2/none")
    expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")
    expect(page.get_by_text("The specified bucket does not exist.")).to_be_visible()
