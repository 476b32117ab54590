"""Which route comes first, worked out before a visitor comes: the front looks a request up once.

A hostname has its own patterns, then those of the wildcards that cover it, and its own script at last.
Each host's patterns come before all of the next one's, however exact these are. So a table of all of them
leaves out what no path can reach, and the longest entry that fits decides.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from edge.agent.front.maps import Map, Maps, longest_first, routes_name
from edge.agent.front.template import END
from edge.agent.patterns import SCHEMES, Pattern

_SHORTEST = min(len(scheme) for scheme in SCHEMES) + 1


@dataclass(frozen=True)
class Claim:
    """Who answers, and whose that is."""

    name: str
    account_id: str


# By scheme and path, with END where the path must not go on. Of two the later one comes first.
Group = list[tuple[str, Claim]]


def led(hosts: Mapping[str, Claim], routes: Mapping[Pattern, Claim], splits: Map) -> Maps:
    """How visitors are led, by hostnames and patterns."""
    groups = _groups(routes)
    endings = {host[1:]: group for host, group in groups.items() if host.startswith("*")}
    lengths = sorted({len(ending) for ending in endings}, reverse=True)
    found, tables = dict[str, str](), dict[str, str]()
    for host in hosts.keys() | groups.keys():
        wild, ending = host.startswith("*"), host.lstrip("*")
        covering = [ending[-length:] for length in lengths if length <= len(ending)]
        chain = [groups[host]] if host in groups and not wild else []
        chain += [endings[one] for one in covering if one in endings]
        last = hosts.get(host)
        named = {claim.account_id for _, claim in groups.get(host, ())}
        table = _flat(chain, named | ({last.account_id} if last else set()))
        if last and not table:
            found[host] = last.name
            continue
        if last:
            table |= {f"{scheme}:": last.name for scheme in SCHEMES}
        tables |= {f"{routes_name(host)}/{key}": name for key, name in table.items()}
        if not wild:
            found[host] = routes_name(host)
    by_ending = longest_first({ending: routes_name(f"*{ending}") for ending in endings})
    return Maps(hosts=found, endings=by_ending, routes=tables, splits=splits)


def _groups(routes: Mapping[Pattern, Claim]) -> dict[str, Group]:
    """By host. A pattern with a scheme comes before the same one without."""
    groups: defaultdict[str, Group] = defaultdict(list)
    for pattern in sorted(routes, key=lambda one: bool(one.scheme)):
        for scheme in [pattern.scheme] if pattern.scheme else SCHEMES:
            key = f"{scheme}:{pattern.path}{'' if pattern.open else END}"
            groups[pattern.host].append((key, routes[pattern]))
    return groups


def _flat(chain: Iterable[Group], accounts: Collection[str]) -> dict[str, str]:
    """One table of a host's groups, the most specific first. A wildcard takes nothing from a host that
    another account names: only patterns of these accounts are in it."""
    table: dict[str, str] = {}
    for group in chain:
        covered = {key for key in table if not key.endswith(END)}
        entries = {key: claim.name for key, claim in group if claim.account_id in accounts}
        table = {k: name for k, name in entries.items() if not _under(k, covered)} | table
    return table


def _under(key: str, covered: Collection[str]) -> bool:
    """Whether everything that this leads somewhere is led elsewhere already."""
    return any(key[:end] in covered for end in range(_SHORTEST, len(key) + 1)) if covered else False
