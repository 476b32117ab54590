"""Static files beside a script, and alone: served by the node as Cloudflare serves them."""

import json
from concurrent.futures import ThreadPoolExecutor

from tests.edge.bundles import Bundle, digest_of
from tests.edge.nodes import TestNode, until

SITE = {
    "/index.html": b"<h1>home</h1>",
    "/about.html": b"<h1>about</h1>",
    "/404.html": b"<h1>not here</h1>",
    "/app.js": b"console.log(1)",
    "/.well-known/security.txt": b"mail",
    "/data/letters.txt": b"abcdefghij" * 200_000,
}
SCRIPT = """export default { async fetch(request, env) {
  const { pathname } = new URL(request.url);
  if (pathname === "/through") return env.ASSETS.fetch(new URL("/about", request.url));
  if (pathname === "/throws") throw new Error("on purpose");
  if (request.headers.get("upgrade") === "websocket") {
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept(); server.send("hi"); return new Response(null, { status: 101, webSocket: client });
  }
  return new Response(`script ${pathname} ${request.cf?.httpProtocol}`);
} }"""
BINDING = {"name": "ASSETS", "type": "assets"}


def site(files: dict[str, bytes] = SITE, source: str = "", **config: object) -> Bundle:
    """A version with these files; without a source they are alone."""
    return Bundle(
        source,
        main_module="index.js" if source else "",
        bindings=[BINDING] if source else [],
        assets=files,
        assets_config=config,
    )


def test_files_without_a_script(node: TestNode) -> None:
    said = node.deploy("site", site(not_found_handling="404-page"))
    assert said["state"] == "live", said
    home = node.visit("site")
    assert (home.status, home.text) == (200, "<h1>home</h1>")
    assert home.headers["content-type"] == "text/html; charset=utf-8"
    assert node.visit("site", "/about").text == "<h1>about</h1>"
    moved = node.visit("site", "/about.html")
    assert (moved.status, moved.headers["location"]) == (307, "/about")
    missing = node.visit("site", "/nothing")
    assert (missing.status, missing.text) == (404, "<h1>not here</h1>")
    assert node.visit("site", "/.well-known/security.txt").text == "mail"
    assert node.visit("site", "/", "POST").status == 405


def test_an_etag_stays_while_the_content_does(node: TestNode) -> None:
    node.deploy("tagged", site())
    tag = node.visit("tagged").headers["etag"]
    assert node.visit("tagged", headers={"If-None-Match": tag}).status == 304

    changed = {**SITE, "/app.js": b"console.log(2)"}
    node.deploy("tagged", site(changed))
    assert node.visit("tagged", "/app.js").text == "console.log(2)"
    assert node.visit("tagged").headers["etag"] == tag
    assert node.visit("tagged", headers={"If-None-Match": tag}).status == 304


def test_ranges_of_a_large_file(node: TestNode) -> None:
    """What a video player asks for."""
    node.deploy("ranges", site())

    def part(wanted: str, **headers: str) -> tuple[int, str, bytes]:
        answer = node.visit("ranges", "/data/letters.txt", headers={"Range": wanted, **headers})
        return answer.status, answer.headers.get("content-range", ""), answer.body

    size = len(SITE["/data/letters.txt"])
    assert part("bytes=2-4") == (206, f"bytes 2-4/{size}", b"cde")
    assert part("bytes=-3") == (206, f"bytes {size - 3}-{size - 1}/{size}", b"hij")
    status, _, rest = part("bytes=1000000-")
    assert (status, len(rest)) == (206, size - 1_000_000)
    assert part(f"bytes={size}-")[:2] == (416, f"bytes */{size}")
    whole = (200, "", SITE["/data/letters.txt"])
    assert part("bytes=1-2,5-6") == whole
    assert part("nonsense") == whole
    assert part("bytes=1-2", **{"If-Range": '"another"'}) == whole
    plain = node.visit("ranges", "/data/letters.txt")
    assert (plain.status, plain.headers["accept-ranges"]) == (200, "bytes")


def test_files_and_a_script(node: TestNode) -> None:
    node.deploy(
        "both",
        site(
            source=SCRIPT,
            run_worker_first=["/api/*"],
            headers="/*\n  X-Site: yes\n",
            redirects="/old /about 301\n",
        ),
    )
    home = node.visit("both")
    assert (home.text, home.headers["x-site"]) == ("<h1>home</h1>", "yes")
    assert node.visit("both", "/api/x").text == "script /api/x HTTP/1.1"
    assert node.visit("both", "/else").text == "script /else HTTP/1.1"
    assert node.visit("both", "/through").text == "<h1>about</h1>"
    old = node.visit("both", "/old")
    assert (old.status, old.headers["location"]) == (301, "/about")
    thrown = node.visit("both", "/throws")
    assert (thrown.status, "1101" in thrown.text) == (500, True)


def test_the_script_first(node: TestNode) -> None:
    node.deploy("first", site(source=SCRIPT, run_worker_first=True))
    assert node.visit("first").text == "script / HTTP/1.1"


def test_a_file_that_must_not_be_written(node: TestNode) -> None:
    """The control plane refuses such paths; a node does so as well."""
    said = node.deploy("outside", site({"/../../escape.html": b"x"}))
    assert said["state"] == "failed"
    assert "cannot be the path" in str(said["reason"])


def test_files_are_fetched_many_at_a_time(node: TestNode) -> None:
    files = {f"/{number}.txt": f"file {number}".encode() for number in range(500)}
    gateway = node.gateway
    gateway.asked.clear()
    # Nothing comes with the push: assets never do.
    decided = gateway.decide(node.enrolled, "many", site(files))
    gateway.push(node.enrolled, decided)
    assert node.visit("many", "/499.txt").text == "file 499"
    asked = [one for one in gateway.asked if "/modules" in one]
    assert len(asked) < 20, asked


def test_a_decision_that_comes_while_files_are_fetched(node: TestNode) -> None:
    """As wrangler's switching the live URL on comes right after a first deploy of a large site."""
    gateway = node.gateway
    bundle = site({"/index.html": b"slow to come"})
    gateway.slow_seconds = 0.5
    try:
        first = gateway.decide(node.enrolled, "overtaken", bundle, hostnames=[])
        with ThreadPoolExecutor() as pool:
            pushed = pool.submit(gateway.push, node.enrolled, first)
            until(lambda: str(first["script_id"]) in str(node.status()), what="the node has it")
            second = gateway.decide(node.enrolled, "overtaken", bundle)
            answer = gateway.push(node.enrolled, second)
            pushed.result()
    finally:
        gateway.slow_seconds = 0.0
    (said,) = answer["slots"]  # type: ignore[attr-defined]
    assert (said["state"], said["generation"]) == ("live", second["generation"])
    assert node.visit("overtaken").text == "slow to come"


def test_files_go_with_the_last_version_that_has_them(node: TestNode) -> None:
    only = json.dumps({"/only.html": digest_of(b"only here")}, separators=(",", ":")).encode()
    folder = node.folder / "assets" / digest_of(only).removeprefix("sha256:")
    node.deploy("short", site({"/only.html": b"only here"}))
    assert folder.is_dir()
    node.deploy("short", None)
    until(lambda: not folder.exists(), 20, "the folder is gone")
    assert not (node.folder / "modules" / digest_of(b"only here").removeprefix("sha256:")).exists()
