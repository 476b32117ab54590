"""Static assets as each wrangler uploads them: what is missing, once, and served as configured."""

import pytest

from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

PUBLIC = {
    "public/index.html": "<h1>home</h1>",
    "public/about.html": "<h1>about</h1>",
    "public/404.html": "<h1>nothing</h1>",
    "public/img/ünï code.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "public/_headers": "/about\n  X-Robots-Tag: noindex\n",
    "public/_redirects": "/old /about 302\n",
}
SCRIPT = """export default { async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === "/api/about") return env.ASSETS.fetch(new URL("/about", request.url));
    return new Response(`script at ${pathname}`);
} };
"""


def test_assets_alone(wrangler: Wrangler, project: Project) -> None:
    project.write(PUBLIC)
    project.configure(main=None, assets={"directory": "public", "not_found_handling": "404-page"})
    wrangler("deploy")
    project.answers("<h1>home</h1>")

    get = project.platform.get
    shown = get(project.hostname, "/about")
    assert (shown.text, shown.headers["x-robots-tag"]) == ("<h1>about</h1>", "noindex")
    assert get(project.hostname, "/old").headers["location"] == "/about"
    drawn = get(project.hostname, "/img/%C3%BCn%C3%AF%20code.svg")
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/svg+xml")
    missing = get(project.hostname, "/nothing/there")
    assert (missing.status_code, missing.text) == (404, "<h1>nothing</h1>")
    assert get(project.hostname, "/_headers").status_code == 404

    about = f"<h1>about {wrangler.version}</h1>"
    project.write({"public/about.html": about})
    assert "1 new or modified" in wrangler("deploy")
    assert get(project.hostname, "/about").text == about
    project.answers("<h1>home</h1>")
    assert project.versions()[0]["resources"]["script"]["handlers"] == []


def test_assets_and_a_script(wrangler: Wrangler, project: Project) -> None:
    project.write({**PUBLIC, "index.js": SCRIPT})
    rules: object = ["/api/*", "/img/*"] if wrangler.version != "3.114" else True
    config = {"directory": "public", "binding": "ASSETS", "run_worker_first": rules}
    project.configure(assets=config)
    wrangler("deploy")
    get = project.platform.get
    everything = rules is True
    project.answers("script at /" if everything else "<h1>home</h1>")
    assert get(project.hostname, "/img/x").text == "script at /img/x"
    assert get(project.hostname, "/api/about").text == "<h1>about</h1>"

    # Secrets make versions too: they keep the files.
    wrangler("secret", "put", "KEY", stdin="value")
    wrangler("versions", "secret", "put", "OTHER", stdin="value")
    newest = project.versions()[0]
    wrangler("versions", "deploy", f"{newest['id']}@100%", "--yes")
    assert get(project.hostname, "/api/about").text == "<h1>about</h1>"

    uploaded = wrangler("versions", "upload")
    wrangler("versions", "deploy", f"{uploaded.version_id}@100%", "--yes")
    assert get(project.hostname, "/api/about").text == "<h1>about</h1>"

    project.configure()
    wrangler("deploy")
    project.answers("script at /")


def test_what_cannot_be_served_changes_nothing(newest: Wrangler, project: Project) -> None:
    project.write({**PUBLIC, "index.js": SCRIPT})
    project.configure(assets={"directory": "public"})
    newest("deploy")
    before = project.versions()
    with (project.folder / "public" / "film.mp4").open("wb") as file:
        file.truncate(26 * 2**20)
    said = newest.refused("deploy")
    assert "film.mp4" in said
    assert project.versions() == before
    project.answers("<h1>home</h1>")
