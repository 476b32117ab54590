"""Every template of the gallery: deployed by clicking, answered, edited, deployed again, deleted.

A template without a journey here fails `test_every_template_has_a_journey`.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from gallery import templates
from gallery.templates import Template
from tests.browser.looking import Eye
from tests.cast import upload_parts
from tests.platform import SETTLE_SECONDS, Platform

pytestmark = [pytest.mark.browser, pytest.mark.platform, pytest.mark.xdist_group("platform")]


@dataclass
class Site:
    """A deployed template: how to ask it, and what its form was sent with."""

    url: str
    client: httpx2.Client
    """Asks it through the front, under its live URL's host name and port."""
    fields: dict[str, str]
    visitor: BrowserContext

    def ask(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        # Each request is a stranger's: the client would send cookies back.
        self.client.cookies.clear()
        return self.client.request(method, path, **arguments)

    def get(self, path: str, **arguments: Any) -> httpx2.Response:
        return self.ask("GET", path, **arguments)

    def open(self) -> Page:
        """Its first page in a browser that knows no dashboard."""
        page = self.visitor.new_page()
        page.goto(self.url)
        return page


Check = Callable[[Site], None]


@dataclass(frozen=True)
class Journey:
    """What is asked of a template, and an edit of its code that a visitor notices."""

    check: Check
    curl_says: str
    """Part of what the command on the page of the new Worker prints."""
    edit: tuple[str, str]
    """Text of the code, and what replaces it."""
    path: str = "/"
    """Where the edit is seen."""
    shows: str = ""
    """What a visitor sees there then; the replacement itself if it is empty."""


JOURNEYS: dict[str, Journey] = {}


def journey(
    template: str, *, curl_says: str, edit: tuple[str, str], path: str = "/", shows: str = ""
) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        JOURNEYS[template] = Journey(check, curl_says, edit, path, shows)
        return check

    return register


@journey("hello-world", curl_says="Hello World!", edit=("Hello World!", "Hello again!"))
def hello_world(site: Site) -> None:
    assert site.get("/").text == "Hello World!"


@journey(
    "json-api", curl_says='"id":1', edit=("Iris Murdoch", "Dame Iris Murdoch"), path="/books/1"
)
def json_api(site: Site) -> None:
    assert "GET /books/:id" in site.get("/").json()["routes"]
    assert [book["id"] for book in site.get("/books").json()] == [1, 2]
    assert site.get("/books/2").json()["author"] == "Virginia Woolf"
    assert site.get("/books/3").status_code == 404
    assert site.get("/zebras").json() == {"error": "There is nothing at /zebras."}
    refused = site.ask("DELETE", "/books")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")

    made = site.ask("POST", "/books", json={"title": "Emma", "author": "Jane Austen"})
    assert (made.status_code, made.headers["location"]) == (201, "/books/3")
    for wrong in (b"{", b"null", b'{"title": "Emma"}'):
        assert site.ask("POST", "/books", content=wrong).status_code == 400


@journey(
    "hono-api",
    curl_says="Hello, you!",
    edit=("This API runs on Skerry.", "This API was edited."),
)
def hono_api(site: Site) -> None:
    hello = site.get("/api/hello/Ada")
    assert hello.json() == {"message": "Hello, Ada!"}
    assert "server-timing" in hello.headers
    assert site.ask("POST", "/api/echo", json=[1]).json() == {"youSent": [1]}
    assert site.ask("POST", "/api/echo", content=b"{").status_code == 400
    nothing = site.get("/nothing")
    assert (nothing.status_code, nothing.json()) == (
        404,
        {"error": "There is no GET /nothing here."},
    )


@journey(
    "hono-auth",
    curl_says="You have the key.",
    edit=("Send your API key to /api/me.", "Your key, please."),
)
def hono_auth(site: Site) -> None:
    key = site.fields["API_KEY"]

    def asked(authorization: str) -> tuple[int, str]:
        answer = site.get("/api/me", headers={"Authorization": authorization})
        return answer.status_code, answer.text

    assert site.get("/").status_code == 200
    missing = site.get("/api/me")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, 'Bearer realm=""')
    assert asked(f"Bearer {key}") == (200, '{"message":"You have the key."}')
    assert asked(f"Bearer {key}x") == (401, '{"error":"That is not the key."}')
    assert asked("Bearer undefined")[0] == 401
    assert asked(f"Basic {key}") == (400, '{"error":"The header is not: Bearer <key>."}')
    # What is not there is no business of strangers either.
    assert site.get("/api/nothing").status_code == 401
    assert site.get("/nothing").status_code == 404


@journey(
    "itty-router",
    curl_says="Hello, you!",
    edit=("Hello, ${params.name}!", "Good day, ${params.name}!"),
    path="/hello/Ada",
    shows="Good day, Ada!",
)
def itty_router(site: Site) -> None:
    assert site.get("/hello/Ada").json() == ["Hello, Ada!"]
    assert site.get("/hello/Ada?times=3").json() == ["Hello, Ada!"] * 3
    for times in ("0", "11", "1.5", "many"):
        assert site.get(f"/hello/Ada?times={times}").status_code == 400
    assert site.ask("POST", "/sum", json=[1, 2, 3]).json() == {"sum": 6}
    assert site.ask("POST", "/sum", json=["1"]).status_code == 400
    assert site.get("/nothing").json() == {
        "status": 404,
        "error": "There is no GET /nothing here.",
    }


@journey(
    "express",
    curl_says="Hello, you!",
    edit=("Express runs on Skerry.", "Express was edited."),
)
def express(site: Site) -> None:
    hello = site.get("/hello/Ada")
    assert hello.json() == {"message": "Hello, Ada!"}
    assert hello.headers["x-asked"] == "GET /hello/Ada"
    assert site.ask("POST", "/echo", json={"a": [1]}).json() == {"youSent": {"a": [1]}}
    wrong = site.ask("POST", "/echo", content=b"{", headers={"Content-Type": "application/json"})
    assert wrong.status_code == 400
    assert "JSON" in wrong.json()["error"]
    nothing = site.get("/nothing")
    assert (nothing.status_code, nothing.json()) == (
        404,
        {"error": "There is no GET /nothing here."},
    )


@journey(
    "ab-test",
    curl_says="x-variant:",
    # Whichever variant chance picks.
    edit=("<h1>${title}</h1>", "<h1>Edited ${title}</h1>"),
    shows="<h1>Edited Variant",
)
def ab_test(site: Site) -> None:
    for variant in ("a", "b"):
        kept = site.get("/", headers={"Cookie": f"other=1; variant={variant}"})
        assert kept.headers["x-variant"] == variant
        assert f"<h1>Variant {variant.upper()}</h1>" in kept.text
        assert "set-cookie" not in kept.headers
    for nonsense in ("variant=c", "variant=toString", "variant=", "xvariant=a"):
        chosen = site.get("/", headers={"Cookie": nonsense})
        assert chosen.headers["set-cookie"].startswith(f"variant={chosen.headers['x-variant']};")
    # Of forty visitors that toss a coin, both sides see some.
    seen = {site.get("/").headers["x-variant"] for _ in range(40)}
    assert seen == {"a", "b"}

    live = site.open()
    first = live.get_by_role("heading").inner_text()
    for _ in range(5):
        live.reload()
        assert live.get_by_role("heading").inner_text() == first


@journey(
    "redirects",
    curl_says="location: https://developers.cloudflare.com/workers/",
    edit=("Nothing is known about", "Nobody knows"),
    path="/nothing",
)
def redirects(site: Site) -> None:
    def leads(path: str) -> tuple[int, str]:
        answer = site.get(path)
        return answer.status_code, answer.headers.get("location", "")

    assert leads("/source?tab=readme&x=%26") == (
        302,
        "https://github.com/cloudflare/workerd?tab=readme&x=%26",
    )
    assert leads("/manual") == (302, f"{site.url}/docs")
    assert leads("/nothing") == (404, "")


@journey(
    "html-form",
    curl_says="Thank you, Ada.",
    edit=("Your name", "Your full name"),
)
def html_form(site: Site) -> None:
    live = site.open()
    expect(live.get_by_role("heading", name="Write to us")).to_be_visible()
    live.get_by_label("Your name").fill("Ada <Lovelace>")
    live.get_by_label("Your e-mail address").fill("ada@example.org")
    # Browsers hold two words to be enough; the Worker does not.
    live.get_by_label("Your message").fill("Hi")
    live.get_by_role("button", name="Send").click()
    expect(live.get_by_text("Write at least five characters.")).to_be_visible()
    assert live.get_by_label("Your name").input_value() == "Ada <Lovelace>"
    live.get_by_label("Your message").fill("Hello there")
    live.get_by_role("button", name="Send").click()
    expect(live.get_by_text("Thank you, Ada <Lovelace>. We will answer")).to_be_visible()

    empty = site.ask("POST", "/")
    assert empty.status_code == 422
    assert "Say who you are." in empty.text
    quoted = site.ask("POST", "/", data={"name": '"><script>alert(1)</script>'})
    assert "<script>" not in quoted.text
    assert site.ask("DELETE", "/").headers["allow"] == "GET, POST"


@journey(
    "streaming",
    curl_says="data: the tide comes in.",
    edit=("<h1>Server-sent events</h1>", "<h1>The tide</h1>"),
)
def streaming(site: Site) -> None:
    with site.client.stream("GET", "/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        first = next(answer.iter_text())
    # It went out before the last one was made.
    assert first.startswith("id: 1\ndata: The tide goes out,\n\n")
    assert "event: end" not in first
    assert site.get("/nothing").status_code == 404

    live = site.open()
    expect(live.get_by_role("listitem")).to_have_count(4)
    # The page takes the end for the end: it does not connect again.
    live.wait_for_function("source.readyState === EventSource.CLOSED")
    assert live.get_by_role("listitem").count() == 4


@journey(
    "web-app",
    curl_says='"kitchen"',
    edit=("windows: 3", "windows: 4"),
    shows='"windows":4',
    path="/api/rooms/kitchen",
)
def web_app(site: Site) -> None:
    assert site.get("/style.css").headers["content-type"] == "text/css; charset=utf-8"
    assert site.get("/api/nothing").status_code == 404
    page = site.open()
    page.get_by_role("link", name="Study").click()
    expect(page.get_by_role("heading", name="Study")).to_be_visible()
    expect(page.get_by_text("It has 2 windows.")).to_be_visible()
    # An address of the app is none of a file's; it can be opened by itself all the same.
    page.reload()
    expect(page).to_have_title("Study · House")
    page.get_by_role("link", name="House").click()
    expect(page.get_by_role("listitem")).to_have_count(3)
    page.go_back()
    expect(page.get_by_role("heading", name="Study")).to_be_visible()


@journey(
    "cron",
    curl_says="Has not run yet.",
    edit=("Has not run yet.", "Has never run."),
)
def cron(site: Site) -> None:
    assert site.get("/").text == "Has not run yet.\n"


@journey(
    "short-links",
    curl_says='"target":"https://example.org/"',
    edit=("No such link.", "No link of that name."),
    shows="No link of that name.",
    path="/nowhere",
)
def short_links(site: Site) -> None:
    key = {"Authorization": f"Bearer {site.fields['API_KEY']}"}
    assert site.client.put("/kept", content="https://example.org/").status_code == 401
    assert site.client.put("/kept", content="not one", headers=key).status_code == 400
    made = site.client.put("/kept", content="https://example.org/a?b=c", headers=key)
    assert made.status_code == 201
    followed = site.get("/kept")
    assert (followed.status_code, followed.headers["location"]) == (
        302,
        "https://example.org/a?b=c",
    )
    assert site.client.delete("/kept", headers=key).status_code == 204
    assert site.get("/kept").status_code == 404


@journey(
    "cached-api",
    curl_says='"primes":9592',
    edit=("Ask for /primes/1000, up to 999999.", "Ask for /primes/1000."),
    shows="Ask for /primes/1000.",
)
def cached_api(site: Site) -> None:
    first = site.get("/primes/1000?a=1")
    assert (first.json()["primes"], first.headers.get("cf-cache-status")) == (168, None)
    deadline = time.monotonic() + SETTLE_SECONDS
    while (again := site.get("/primes/1000?a=2")).headers.get("cf-cache-status") != "HIT":
        assert time.monotonic() < deadline
    assert again.json()["limit"] == 1000
    assert site.ask("DELETE", "/primes/1000").json() == {"forgotten": True}
    assert "cf-cache-status" not in site.get("/primes/1000").headers


@journey(
    "file-drop",
    curl_says='"name":"hello.txt","size":13',
    edit=("There is no such file.", "No file of that name."),
    path="/files/none",
    shows="No file of that name.",
)
def file_drop(site: Site) -> None:
    assert site.client.put("/files/hello.txt", content=b"Hello!").status_code == 401
    key = ("files", site.fields["PASSWORD"])
    made = site.client.put("/files/hello.txt", content=b"Hello!", auth=key)
    assert made.json()["size"] == 6
    page = site.open()
    expect(page.get_by_role("link", name="hello.txt")).to_be_visible()
    content = bytes(range(256)) * 4000
    uploaded = {"name": "ü & b.bin", "mimeType": "application/x-test", "buffer": content}
    page.get_by_label("File").set_input_files(uploaded)
    page.get_by_label("Password").fill(site.fields["PASSWORD"])
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("link", name="ü & b.bin")).to_be_visible()
    path = "/files/%C3%BC%20%26%20b.bin"
    got = site.get(path)
    assert (got.content, got.headers["content-type"]) == (content, "application/x-test")
    part = site.get(path, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, content[10:20])
    unchanged = site.get(path, headers={"If-None-Match": got.headers["etag"]})
    assert unchanged.status_code == 304
    assert site.client.delete(path, auth=key).status_code == 204
    assert site.get(path).status_code == 404


@journey(
    "queue",
    curl_says='"status":"/jobs/',
    edit=("There is no such page.", "No page of that name."),
    path="/none",
    shows="No page of that name.",
)
def queue(site: Site) -> None:
    made = site.client.post("/jobs", content="three short words")
    assert made.status_code == 202
    status = made.json()["status"]
    deadline = time.monotonic() + SETTLE_SECONDS
    while (done := site.get(status)).status_code == 404:
        assert time.monotonic() < deadline, "the consumer was never given the job"
        time.sleep(0.2)
    assert (done.json()["words"], done.json()["attempts"]) == (3, 1)
    assert site.client.post("/jobs", content="").status_code == 400
    page = site.open()
    page.get_by_label("Text").fill("it works in the browser too")
    page.get_by_role("button", name="Queue it").click()
    expect(page.get_by_role("status")).to_have_text("6 words.", timeout=30_000)


@journey(
    "guestbook",
    curl_says="Hello from a terminal",
    edit=("<h1>Guestbook</h1>", "<h1>Our guests</h1>"),
)
def guestbook(site: Site) -> None:
    page = site.open()
    page.get_by_label("Your name").fill("Ada <Lovelace>")
    page.get_by_label("Your message").fill("'); DROP TABLE entries; --")
    page.get_by_role("button", name="Sign").click()
    expect(page.get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_role("listitem").first).to_contain_text("Ada <Lovelace>")
    empty = site.ask("POST", "/", data={"name": "Ada", "message": " "})
    assert empty.status_code == 422
    assert "Write a message" in empty.text
    assert site.ask("POST", "/", data={"name": "Ada", "message": "x" * 2001}).status_code == 422
    assert site.get("/").text.count("<li>") == 2
    assert site.ask("DELETE", "/").headers["allow"] == "GET, POST"


@journey(
    "counter",
    curl_says='{"count":1}',
    edit=("Counted so far", "Counted until now"),
)
def counter(site: Site) -> None:
    page = site.open()
    expect(page.get_by_role("status")).to_have_text("1")
    page.get_by_role("button", name="Add one").click()
    expect(page.get_by_role("status")).to_have_text("2")
    assert site.client.post("/").json() == {"count": 3}
    expect(page.get_by_role("status")).to_have_text("3")
    assert site.client.post("/another").json() == {"count": 1}


@journey(
    "checkout",
    curl_says='"status":"',
    edit=("Order something<", "Order anything<"),
)
def checkout(site: Site) -> None:
    page = site.open()
    page.get_by_label("What").select_option("boat")
    page.get_by_role("button", name="Order").click()
    expect(page.get_by_role("heading", name="Your order waits for its payment")).to_be_visible()
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_role("heading", name="Your order is on its way")).to_be_visible()
    expect(page.get_by_text("boat for 120 €, paid by card: parcel-")).to_be_visible()
    wrong = site.client.post("/orders", data={"item": "<moon>"}).json()
    page.goto(f"{site.url}/orders/{wrong['id']}")
    expect(page.get_by_text("There is no <moon>")).to_be_visible()
    assert site.get("/orders/nothing").status_code == 404


def test_every_template_has_a_journey() -> None:
    assert JOURNEYS.keys() == {template.name for template in templates.load_all()}


@pytest.mark.parametrize("template", templates.load_all(), ids=lambda template: template.name)
def test_template(
    page: Page, platform: Platform, visitor: BrowserContext, template: Template
) -> None:
    name, journey = f"the-{template.name}", JOURNEYS[template.name]
    page.goto(f"/workers/new/{template.name}")
    page.get_by_label("Name", exact=True).fill(name)
    fields = {
        binding.name: page.locator(f"#binding-{binding.name}").input_value()
        for binding in template.asked
    }
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("heading", name=f"{name} is created")).to_be_visible()
    expect(page.get_by_text("Live on 1 node", exact=True)).to_be_visible()
    url = page.get_by_role("link", name="Visit").get_attribute("href") or ""
    assert url == page.locator("#live-url").inner_text()

    assert journey.curl_says in _in_a_terminal(page.locator("#curl").inner_text(), template, fields)
    with _client(platform, url) as client:
        site = Site(url, client, fields, visitor)
        journey.check(site)
        _edit(platform, site, template, journey)
    _delete(page, name)
    platform.has_nothing_at(platform.hostname(name))


def _client(platform: Platform, url: str) -> httpx2.Client:
    # Python's resolver need not know names below localhost; browsers and curl do.
    return httpx2.Client(
        base_url=f"http://127.0.0.1:{platform.http_port}",
        headers={"Host": url.removeprefix("http://")},
        trust_env=False,
        timeout=10,
    )


def _in_a_terminal(command: str, template: Template, fields: dict[str, str]) -> str:
    """What the copied command prints, once the person has put the secrets in."""
    for binding in template.asked:
        asked = f"your {binding.label}"
        assert not binding.secret or asked in command
        command = command.replace(asked, fields[binding.name])
    environment = {"PATH": os.environ["PATH"], "no_proxy": "*"}
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _edit(platform: Platform, site: Site, template: Template, journey: Journey) -> None:
    """A second version with changed code and the bindings of the first, as an editor uploads it."""
    before, after = journey.edit
    code = template.bundle().decode()
    assert before in code
    shows = journey.shows or after
    assert shows not in site.get(journey.path).text
    parts = upload_parts(
        code.replace(before, after),
        compatibility_date=template.compatibility_date,
        compatibility_flags=list(template.compatibility_flags),
        keep_bindings=["plain_text", "secret_text"],
        bindings=[{"name": one.name, "type": "inherit"} for one in template.resources],
        keep_assets=True,
    )
    platform.api.result("PUT", f"workers/scripts/the-{template.name}", **parts)
    deadline = time.monotonic() + SETTLE_SECONDS
    while shows not in site.get(journey.path).text:
        assert time.monotonic() < deadline, site.get(journey.path).text
        time.sleep(0.1)


def _delete(page: Page, name: str) -> None:
    page.goto(f"/workers/{name}/delete")
    page.get_by_label(f"Type {name} to confirm").fill(name)
    page.get_by_role("button", name=f"Delete {name}").click()
    expect(page.get_by_text(f"{name} was deleted")).to_be_visible()


def test_asking_for_a_secret_looks_right(page: Page, ada: Eye, platform: Platform) -> None:
    ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/workers/new/hono-auth")
    ada.look(page, "create-asks-secret")
    key = page.get_by_label("API key")
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#announcer")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == key.input_value()

    page.get_by_label("Name", exact=True).fill("asks-secret")
    key.fill("short")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("alert")).to_be_focused()
    assert page.get_by_label("Name", exact=True).input_value() == "asks-secret"
    assert len(key.input_value()) == 32
    ada.look(page, "create-asks-refused")
    page.get_by_role("button", name="Deploy").click()
    expect(page.get_by_role("heading", name="asks-secret is created")).to_be_visible()
    ada.look(page, "created-asks-secret")


def test_narrowing_by_category(page: Page, ada: Eye) -> None:
    page.goto("/workers/new")
    cards = page.locator(".gallery > li")
    expect(cards).to_have_count(len(templates.load_all()))
    page.get_by_role("navigation", name="Categories").get_by_role("link", name="APIs").click()
    expect(page).to_have_url(re.compile(r"\?category=api$"))
    in_apis = cards.count()
    page.get_by_role("searchbox").fill("hono")
    expect(page).to_have_url(re.compile(r"category=api&search=hono"))
    expect(cards).to_have_count(2)
    assert in_apis > 2
    ada.look(page, "create-narrowed")
    page.get_by_role("navigation", name="Categories").get_by_role("link", name="All").click()
    expect(page).to_have_url(re.compile(r"/workers/new\?search=hono$"))
    assert page.get_by_role("searchbox").input_value() == "hono"
