"""Static assets beside a script, compared path by path."""

from collections.abc import Callable

import pytest

from tests.conformance.conftest import Both
from tests.wrangler.conftest import Project

pytestmark = pytest.mark.xdist_group("wrangler")

FILES = {
    "public/index.html": "<h1>home</h1>",
    "public/about.html": "<h1>about</h1>",
    "public/blog/index.html": "<h1>blog</h1>",
    "public/blog/first.html": "<h1>first</h1>",
    "public/style.css": "body {}",
    "public/data.json": "{}",
    "public/unknown.zebra": "stripes",
    "public/ünï code.txt": "words",
    "public/404.html": "<h1>not here</h1>",
    "public/_headers": "/blog/*\n  X-Blog: yes\n/style.css\n  ! Cache-Control\n",
    "public/_redirects": "/old /about 301\n/blog/old/:id /blog/:id\n/out https://example.org/ 302\n",
    "index.js": """export default { async fetch(request, env) {
        const { pathname } = new URL(request.url);
        if (pathname === "/api/file") return env.ASSETS.fetch(new URL("/blog/first", request.url));
        if (pathname === "/api/missing") return env.ASSETS.fetch(new URL("/zebra", request.url));
        return Response.json({ pathname, method: request.method }, { headers: { "x-script": "1" } });
    } };""",
}
PATHS = [
    "/", "/index", "/index.html", "/about", "/about/", "/about.html", "/blog", "/blog/",
    "/blog/index.html", "/blog/first", "/blog/first/", "/blog/first.html", "/style.css",
    "/style.css?v=1", "/data.json", "/unknown.zebra", "/%C3%BCn%C3%AF%20code.txt", "/old",
    "/blog/old/first", "/out", "/nothing", "/blog/nothing", "/_headers", "/_redirects", "/404",
    "/api/file", "/api/missing", "/api/else", "//about", "/about?x=1", "/blog/../about",
]  # fmt: skip
HEADERS = ["content-type", "location", "cache-control", "x-blog", "x-script"]


@pytest.mark.parametrize(
    "config",
    [
        {"run_worker_first": ["/api/*"], "not_found_handling": "404-page"},
        {"html_handling": "drop-trailing-slash", "not_found_handling": "none"},
    ],
    ids=["worker-first", "slashes-dropped"],
)
def test_the_same_files(
    both: Callable[[], Both], project: Project, config: dict[str, object]
) -> None:
    project.write(FILES)
    project.configure(assets={"directory": "public", "binding": "ASSETS", **config})
    sites = both()
    differing = {
        (method, path): answers
        for method in ("GET", "HEAD", "POST")
        for path in PATHS
        if (answers := sites.answers(path, HEADERS, method))[0] != answers[1]
    }
    assert differing == {}

    tags = [site.ask("GET", "/style.css").headers["etag"] for site in (sites.skerry, sites.local)]
    again = [
        site.ask("GET", "/style.css", headers={"If-None-Match": tag}).status_code
        for site, tag in zip((sites.skerry, sites.local), tags, strict=True)
    ]
    assert again == [304, 304]
