"""The front's maps: where visitors are led, as text, and how one becomes the next while they come."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from edge.agent.front.template import ROUTES_PREFIX

# HAProxy takes as many words of its runtime API at once as one of its buffers (72 KiB) holds.
LINE_BYTES = 60_000

Map = dict[str, str]


@dataclass(frozen=True)
class Maps:
    """Where visitors are led, as `routing.maps` makes it of a node's slots."""

    hosts: Map = field(default_factory=dict)
    """A backend, another node, two versions or a table of `routes`, by hostname."""
    endings: Map = field(default_factory=dict)
    """A table of `routes`, by what a hostname ends with. The front takes the first that fits."""
    routes: Map = field(default_factory=dict)
    """What `hosts` may say, by table, scheme and path. The front takes the longest that fits."""
    splits: Map = field(default_factory=dict)
    """How the visitors of two versions are divided."""


def routes_name(host: str) -> str:
    """What stands in the map of hosts for one whose paths lead to different scripts."""
    return f"{ROUTES_PREFIX}{host}"


def map_text(entries: Mapping[str, str]) -> str:
    return "".join(f"{key} {value}\n" for key, value in entries.items())


def read_map(text: str) -> Map:
    return dict(line.split() for line in text.splitlines())


def change(path: str, before: Map, wanted: Map) -> list[str]:
    """The commands that make one map of another, so that in between every key that the front looks up
    finds what it did or what it will, also where the longest that fits is taken: a longer one comes
    before what it stands before changes, and goes after that has."""
    added = sorted(wanted.keys() - before.keys(), key=len, reverse=True)
    changed = [key for key in wanted.keys() & before.keys() if wanted[key] != before[key]]
    removed = sorted(before.keys() - wanted.keys(), key=len)
    return [
        *(f"add map {path} {_word(key)} {wanted[key]}" for key in added),
        *(f"set map {path} {_word(key)} {wanted[key]}" for key in changed),
        *(f"del map {path} {_word(key)}" for key in removed),
    ]


def still_led_to(before: Map, wanted: Map) -> Map:
    """The wanted routes, and those of tables that are not wanted and that visitors are still led to."""
    tables = {_table(key) for key in wanted}
    return wanted | {key: value for key, value in before.items() if _table(key) not in tables}


def longest_first(endings: Map) -> Map:
    return dict(sorted(endings.items(), key=lambda entry: (-len(entry[0]), entry[0])))


def lines(commands: list[str]) -> Iterator[list[str]]:
    """As many commands at once as HAProxy takes."""
    some, size = list[str](), 0
    for command in commands:
        if some and size + len(command) > LINE_BYTES:
            yield some
            some, size = [], 0
        some.append(command)
        size += len(command) + 2
    if some:
        yield some


def _table(key: str) -> str:
    return key.partition("/")[0]


def _word(key: str) -> str:
    """A line that ends with two of these is followed by more in HAProxy's runtime API."""
    return key.replace("<", "\\<")
