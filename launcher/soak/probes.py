"""What is asked of the Worker of each template, and what it has to say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Probe:
    """A request and the status that answers it. `$NAME` stands for the value of a binding."""

    method: str = "GET"
    path: str = "/"
    status: int | None = 200
    """None: whatever is no failure of a server."""
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


# A template that is not here is asked for its first page, if only to be told that it has none.
FIRST_PAGE = [Probe(status=None)]
PROBES: dict[str, list[Probe]] = {
    "hello-world": [Probe()],
    "cached-api": [Probe(path="/primes/1000")],
    "json-api": [
        Probe(path="/books/1"),
        Probe(path="/books/3", status=404),
        Probe("POST", "/books", 201, '{"title": "Emma", "author": "Jane Austen"}', JSON),
    ],
    "hono-api": [Probe(path="/api/hello/you"), Probe("POST", "/api/echo", body="[1]")],
    "hono-auth": [
        Probe(path="/api/me", headers={"Authorization": "Bearer $API_KEY"}),
        Probe(path="/api/me", status=401),
    ],
    "express": [Probe(path="/hello/you")],
    "itty-router": [Probe(path="/hello/you?times=2"), Probe("POST", "/sum", body="[1, 2]")],
    "html-form": [Probe(), Probe("POST", "/", 422, "name=", FORM)],
    "redirects": [Probe(path="/docs", status=302), Probe(path="/nothing", status=404)],
    "web-app": [Probe(), Probe(path="/style.css"), Probe(path="/api/rooms")],
    "short-links": [
        Probe("PUT", "/kept", 201, "https://example.org/", {"Authorization": "Bearer $API_KEY"}),
        Probe(path="/kept", status=302),
        Probe(path="/nobody", status=404),
    ],
}


def of_template(name: str) -> list[Probe]:
    return PROBES.get(name, FIRST_PAGE)


def filled(probe: Probe, values: Mapping[str, str]) -> dict[str, str]:
    """The headers with the values of bindings in them."""
    found = dict(probe.headers)
    for name, value in values.items():
        found = {key: text.replace(f"${name}", value) for key, text in found.items()}
    return found
