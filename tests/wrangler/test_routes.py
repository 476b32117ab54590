"""Routes and custom domains from wrangler's configuration, and on its command line."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.platform import Platform
from tests.wrangler.conftest import OLDEST, Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")


@contextmanager
def _zone(platform: Platform, name: str) -> Iterator[Any]:
    made = platform.api.result("POST", "/zones", json={"name": name})
    try:
        yield made
    finally:
        platform.api.call("DELETE", f"/zones/{made['id']}")


@pytest.fixture
def zone(platform: Platform, project: Project) -> Iterator[Any]:
    """A zone of the test's own."""
    with _zone(platform, f"{project.name}.test".replace("-", "")) as zone:
        yield zone


def _routes(project: Project) -> list[str]:
    found = project.platform.api.result("GET", f"{project.path}/routes")
    return [route["pattern"] for route in found]


def _domains(project: Project) -> list[str]:
    found = project.platform.api.result("GET", f"workers/domains?service={project.name}")
    return [domain["hostname"] for domain in found]


def test_routes_and_domains(wrangler: Wrangler, project: Project, zone: Any) -> None:
    name = zone["name"]
    project.answer_with("routed")
    routes: list[Any] = [
        f"{name}/a*",
        {"pattern": f"*.{name}/b/*", "zone_name": name},
        {"pattern": f"https://www.{name}/c", "zone_id": zone["id"]},
        {"pattern": f"app.{name}", "custom_domain": True},
        {"pattern": f"shop.{name}", "custom_domain": True, "zone_name": name},
    ]
    project.configure(workers_dev=False, routes=routes)
    said = wrangler("deploy")
    for words in (f"{name}/a*", f"*.{name}/b/*", f"www.{name}/c", f"app.{name}", f"shop.{name}"):
        assert words in said, said.text
    assert _routes(project) == sorted([f"*.{name}/b/*", f"{name}/a*", f"https://www.{name}/c"])
    assert _domains(project) == [f"app.{name}", f"shop.{name}"]
    project.platform.answers(f"app.{name}", "routed")
    project.platform.answers(f"shop.{name}", "routed")
    project.platform.answers(name, "routed", "/abc?d")
    project.platform.answers(f"any.{name}", "routed", "/b/c")
    project.platform.has_nothing_at(name)
    project.platform.has_nothing_at(name, "/b/c")
    project.platform.has_nothing_at(f"www.{name}", "/c")  # but over HTTPS
    project.platform.has_nothing_at(project.hostname)
    # Fewer of both, without another upload.
    project.configure(workers_dev=False, routes=[routes[0], routes[3]])
    before = project.versions()
    wrangler("triggers", "deploy")
    assert project.versions() == before
    assert (_routes(project), _domains(project)) == ([f"{name}/a*"], [f"app.{name}"])
    project.platform.has_nothing_at(f"shop.{name}")
    project.platform.answers(f"app.{name}", "routed")
    # What stands on the command line counts instead of the configuration.
    wrangler("deploy", "--route", f"{name}/d*")
    assert _routes(project) == [f"{name}/d*"]
    project.platform.answers(name, "routed", "/d")
    project.platform.has_nothing_at(name, "/abc")
    wrangler("delete", "--force")
    project.platform.has_nothing_at(f"app.{name}")
    assert project.platform.api.result("GET", f"/zones/{zone['id']}/workers/routes") == []
    assert _domains(project) == []


def test_a_domain_on_the_command_line(wrangler: Wrangler, project: Project, zone: Any) -> None:
    project.answer_with("by flag")
    flag = ("--domain", f"flag.{zone['name']}")
    if wrangler.version == OLDEST:
        assert "Unknown argument: domain" in wrangler.refused("deploy", *flag)
        return
    said = wrangler("deploy", *flag)
    assert f"flag.{zone['name']} (custom domain)" in said
    project.platform.answers(f"flag.{zone['name']}", "by flag")
    # Whoever has a route or a domain has no live URL without asking for it: wrangler's own rule.
    project.platform.has_nothing_at(project.hostname)
    url = project.platform.skerry("url", project.name).strip()
    assert re.fullmatch(rf"http://flag\.{zone['name']}(:\d+)?", url)


@pytest.mark.parametrize("workers_dev", [False, True])
def test_a_host_without_a_zone(wrangler: Wrangler, project: Project, workers_dev: bool) -> None:
    """wrangler configures routes after the upload, so the script is there."""
    project.answer_with("unrouted")
    project.configure(workers_dev=workers_dev, routes=["www.nobody.test/*"])
    said = wrangler.refused("deploy")
    assert "no zone for www.nobody.test" in said, said.text
    assert f"{project.platform.url}/zones" in said
    assert _routes(project) == []
    if workers_dev:
        project.answers("unrouted")


def test_a_domain_without_a_zone(wrangler: Wrangler, project: Project) -> None:
    project.answer_with("unrouted")
    project.configure(routes=[{"pattern": "www.nobody.test", "custom_domain": True}])
    said = wrangler.refused("deploy")
    assert "no zone for www.nobody.test. Add the domain in the dashboard" in said, said.text


def test_a_route_of_another_script(wrangler: Wrangler, project: Project, zone: Any) -> None:
    pattern = f"{zone['name']}/*"
    project.answer_with("first")
    project.configure(name=f"{project.name}-first", routes=[pattern])
    wrangler("deploy")
    project.answer_with("second")
    project.configure(routes=[pattern], workers_dev=True)
    said = wrangler.refused("deploy")
    assert "already exists" in said, said.text
    assert f"{project.name}-first" in said
    project.configure(routes=[pattern], workers_dev=False)
    said = wrangler.refused("deploy")
    assert f"{project.name}-first" in said, said.text
    found = project.platform.api.result("GET", f"/zones/{zone['id']}/workers/routes")
    assert [route["script"] for route in found] == [f"{project.name}-first"]
