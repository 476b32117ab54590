"""Looking at a page: photographs in both themes and on a phone, axe-core, and no sideways scrolling."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Request, ViewportSize

from tests.platform import ROOT

PHOTOGRAPHS = ROOT / ".screenshots"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
DESKTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=360, height=740)
# WCAG 2.2 AA, and what axe's makers hold to be good practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass
class Eye:
    """Looks at the pages of one browser context and notes which hosts they ask."""

    context: BrowserContext
    home: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.on("request", self._note_request)
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _note_request(self, request: Request) -> None:
        self.requests.append(request.url)

    def look(self, page: Page, name: str) -> None:
        """Photograph the page and fail on what axe or a ruler finds."""
        PHOTOGRAPHS.mkdir(exist_ok=True)
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            self._photograph(page, f"{name}-{theme}")
            found = violations(page)
            assert found == [], f"{name}, {theme}: {found}"
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="light")
        self._photograph(page, f"{name}-360")
        width = page.evaluate("document.documentElement.scrollWidth")
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme=None, reduced_motion=None)
        assert width <= PHONE["width"], f"{name} is {width} px wide on a phone"

    def _photograph(self, page: Page, name: str) -> None:
        page.screenshot(path=PHOTOGRAPHS / f"{name}.png", full_page=True, animations="disabled")

    def strangers(self) -> set[str]:
        """Every host that pages asked, but for the dashboard itself."""
        return {urlsplit(url).netloc for url in self.requests} - {urlsplit(self.home).netloc}


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds wrong: rule and places. Injected as a debugger does, past the page's policy."""
    debugger = page.context.new_cdp_session(page)
    debugger.send("Runtime.evaluate", {"expression": AXE.read_text()})
    options = {"runOnly": {"type": "tag", "values": RULES}}
    answer: dict[str, Any] = debugger.send(
        "Runtime.evaluate",
        {
            "expression": f"axe.run(document, {json.dumps(options)})"
            ".then(({passes, violations}) => JSON.stringify({passes: passes.length, violations}))",
            "awaitPromise": True,
        },
    )
    debugger.detach()
    found = json.loads(answer["result"]["value"])
    assert found["passes"] > 10, "axe did not look at the page"
    return [
        (rule["id"], [f"{place['html']}: {place['failureSummary']}" for place in rule["nodes"]])
        for rule in found["violations"]
    ]
