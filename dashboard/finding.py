"""What can be gone to: pages, things to do, Workers, zones and custom domains by name."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from api.accounts.models import Account
from api.nodes import service as nodes
from api.pagination import Page
from api.rays import service as rays
from api.scripts import service as scripts
from api.zones import leading
from dashboard.addresses import worker_path
from dashboard.navigation import navigation
from gallery import templates

WORKERS_MAX = 8
NODES_MAX = 3
# Of zones, and of custom domains.
HOSTS_MAX = 4

_TO_DO = [
    ("Create Worker", "/workers/new", "plus"),
    ("Add a zone", "/zones#new", "plus"),
    ("Make an API token", "/tokens#new", "key"),
    ("Why did a request go there? By its Ray id", "/rays", "search"),
    ("What the sandbox levels mean", "/nodes/sandbox", "nodes"),
]
_TABS = [
    ("Edit code of", "edit"),
    ("Deployments of", "deployments"),
    ("Versions of", "versions"),
    ("Settings of", "settings"),
]


@dataclass(frozen=True)
class Place:
    """Somewhere to go, with what it is."""

    label: str
    kind: str
    href: str
    icon: str


def places(session: Session, account: Account, search: str) -> list[Place]:
    """Everything whose label has every word of the search; the account's Workers by their names."""
    words = search.lower().split()
    listed = [one for one in _fixed() if all(word in one.label.lower() for word in words)]
    if not words:
        return [*listed, *_workers(session, account, "")]
    workers = _workers(session, account, "-".join(words))
    if ray := rays.ray_of(search):
        asked = Place(f"Why did request {ray} go there?", "Request", f"/rays/{ray}", "search")
        return [asked, *workers]
    hosts = _hosts(session, account, words)
    return [*workers, *hosts, *listed, *_nodes(session, words), *_templates(words)]


def _fixed() -> list[Place]:
    pages = [
        Place(entry.label, "Page", entry.href, entry.icon)
        for _, entries in navigation("/")
        for entry in entries
    ]
    to_do = [Place(label, "Action", href, icon) for label, href, icon in _TO_DO]
    return [*to_do, *pages]


def _workers(session: Session, account: Account, search: str) -> list[Place]:
    found = scripts.page_of_scripts(session, account, Page(per_page=WORKERS_MAX), search).rows
    listed = [Place(one.name, "Worker", worker_path(one.name), "workers") for one in found]
    exact = next((one for one in found if search and one.name == search), None)
    only = found[0] if search and len(found) == 1 else exact
    if only is None:
        return listed
    tabs = [
        Place(f"{said} {only.name}", "Worker", worker_path(only.name, tab), "workers")
        for said, tab in _TABS
        if only.version_number or tab != "edit"
    ]
    first = [one for one in listed if one.label == only.name]
    return [*first, *tabs, *(one for one in listed if one.label != only.name)]


def _hosts(session: Session, account: Account, words: list[str]) -> list[Place]:
    found, domains = leading.search(session, account, words, limit=HOSTS_MAX)
    return [
        *(Place(one.name, "Zone", f"/zones/{one.name}", "globe") for one in found),
        *(
            Place(one.hostname, "Custom domain", worker_path(one.script.name), "globe")
            for one in domains
        ),
    ]


def _nodes(session: Session, words: list[str]) -> list[Place]:
    found = [
        Place(node.name, "Node", f"/nodes/{node.id}", "nodes")
        for node in nodes.list_nodes(session)
        if all(word in node.name.lower() for word in words)
    ]
    return found[:NODES_MAX]


def _templates(words: list[str]) -> list[Place]:
    listed = [
        Place(f"Create from {one.label}", "Template", f"/workers/new/{one.name}", "templates")
        for one in templates.load_all()
    ]
    return [one for one in listed if all(word in one.label.lower() for word in words)]
