"""D1 in the browser: a database, its tables, and SQL that works, shows part of much, or is refused."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.looking import Eye
from tests.platform import Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]

MAKE = """CREATE TABLE "odd ""people"" & co" (id INTEGER PRIMARY KEY, name TEXT, photo BLOB, score REAL);
CREATE INDEX by_name ON "odd ""people"" & co" (name);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
INSERT INTO "odd ""people"" & co" SELECT i, 'person <' || i || '>', x'00ff', i / 4.0 FROM n;
INSERT INTO "odd ""people"" & co" (name) VALUES (NULL), (printf('%.*c', 5000, 'x'));
CREATE VIEW older AS SELECT 1 AS one;"""


def run(page: Page, sql: str) -> None:
    page.get_by_label("SQL", exact=True).fill(sql)
    page.get_by_role("button", name="Run").click()


def test_a_database_from_its_making_to_its_end(page: Page, ada: Eye, platform: Platform) -> None:
    page.goto("/d1")
    if page.get_by_text("Make your first database").is_visible():
        ada.look(page, "d1-none")
    page.get_by_label("Name").fill("clicked")
    page.get_by_role("button", name="Make the database").click()
    expect(page.get_by_text("npx wrangler d1 execute clicked")).to_be_visible()
    ada.look(page, "d1-empty")
    home = page.url
    path = f"d1/database/{home.rpartition('/')[2]}/query"

    page.get_by_role("link", name="SQL console").first.click()
    run(page, MAKE)
    expect(page.get_by_role("heading", name="5 results")).to_be_visible()
    (found,) = platform.api.result("POST", path, json={"sql": "SELECT count(*) AS n FROM older"})
    assert found["results"] == [{"n": 1}]

    # All of it or nothing; the words are SQLite's, and what was typed is still there.
    broken = "DELETE FROM older_than;\nSELECT zebra"
    run(page, f"DROP VIEW older;\n{broken}")
    expect(page.locator("#sql-error")).to_contain_text("Statement 2: no such table: older_than")
    expect(page.get_by_label("SQL", exact=True)).to_have_value(f"DROP VIEW older;\n{broken}")
    ada.look(page, "d1-console-refused")
    run(page, 'SELECT one FROM older; SELECT name, score, photo FROM "odd ""people"" & co"')
    expect(page.get_by_text("The first 50 rows. There are more.")).to_be_visible()
    expect(page.get_by_role("cell", name="person <50>")).to_be_visible()
    ada.look(page, "d1-console")

    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link", name="clicked").click()
    expect(page.get_by_role("row", name="older View")).to_be_visible()
    ada.look(page, "d1-tables")
    page.get_by_role("link", name='odd "people" & co').click()
    expect(page.get_by_text("CREATE INDEX by_name")).to_be_visible()
    expect(page.get_by_role("cell", name="BLOB of 2 bytes 00ff").first).to_be_visible()
    page.get_by_role("link", name="Next").click()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("Rows 101 to 122")).to_be_visible()
    expect(page.get_by_text("(5,000 characters)")).to_be_visible()
    expect(page.get_by_role("cell", name="NULL").first).to_be_visible()
    ada.look(page, "d1-table")
    page.get_by_role("link", name="Query it").click()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("cell", name="person <50>")).to_be_visible()

    page.goto(f"{home}/delete")
    page.get_by_label("Type clicked to confirm").fill("something else")
    page.get_by_role("button", name="Delete clicked").click()
    expect(page.locator("#typed_name-error")).to_be_visible()
    ada.look(page, "d1-delete")
    page.get_by_label("Type clicked to confirm").fill("clicked")
    page.get_by_role("button", name="Delete clicked").click()
    expect(page.get_by_text("clicked is deleted with all its tables.")).to_be_visible()
    assert platform.api.refusal("POST", path, json={"sql": "SELECT 1"})[1] == 7404
