"""The rail: what stands in it, and which entry a page belongs to."""

from dataclasses import dataclass

_GROUPS = {
    "Compute": [
        ("/workers", "Workers", "workers"),
        ("/workers/new", "Templates", "templates"),
        ("/workflows", "Workflows", "workflow"),
        ("/zones", "Zones", "globe"),
    ],
    "Storage": [
        ("/kv", "KV", "kv"),
        ("/d1", "D1 databases", "database"),
        ("/r2", "R2 buckets", "bucket"),
        ("/queues", "Queues", "queue"),
        ("/objects", "Durable Objects", "objects"),
        ("/analytics", "Analytics Engine", "chart"),
    ],
    "Observability": [
        ("/logs", "Stored logs", "terminal"),
        ("/alerts", "Alerts", "bell"),
        ("/usage", "Usage", "book"),
    ],
    "Platform": [
        ("/nodes", "Nodes", "nodes"),
        ("/targets", "Targets", "outside"),
        ("/health", "Health", "health"),
    ],
    "Account": [
        ("/connect", "Connect wrangler", "terminal"),
        ("/tokens", "API tokens", "key"),
        ("/docs", "API reference", "book"),
    ],
}


@dataclass(frozen=True)
class Entry:
    """A link of the rail."""

    href: str
    label: str
    icon: str
    current: str | None
    """What `aria-current` says: `page` on the entry's own page, `true` below it."""


def navigation(path: str) -> list[tuple[str, list[Entry]]]:
    """The groups of the rail as they look on the page at this path."""
    addresses = [href for entries in _GROUPS.values() for href, _, _ in entries]
    # The longest that fits: /workers/new is not below /workers.
    fitting = [href for href in addresses if path == href or path.startswith(f"{href}/")]
    nearest = max(fitting, key=len, default=None)
    return [
        (heading, [_entry(*entry, path=path, nearest=nearest) for entry in entries])
        for heading, entries in _GROUPS.items()
    ]


def _entry(href: str, label: str, icon: str, *, path: str, nearest: str | None) -> Entry:
    current = None if href != nearest else "page" if path == href else "true"
    return Entry(href, label, icon, current)
