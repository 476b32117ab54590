"""Routes and custom domains: what of a zone leads to which script.

Nothing here tells the nodes: `api/zones/flows.py` does. Whoever changes anything has taken the account's turn
(`scripts.take_turn`) before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, delete, func, or_, select
from sqlalchemy.orm import Session, contains_eager

from api.accounts.models import Account
from api.errors import (
    BodyInvalid,
    DomainInvalid,
    DomainNotFound,
    DomainTaken,
    RouteExists,
    RouteInvalid,
    RouteNotFound,
)
from api.pagination import Listing, Page, paginate
from api.scripts.models import Script
from api.zones import names, patterns, service
from api.zones.models import CustomDomain, Route, Zone
from api.zones.service import Place

# Cloudflare's limits.
ROUTES_MAX, DOMAINS_MAX = 1000, 100


@dataclass(frozen=True)
class Addresses:
    """Where a script answers besides its live URL."""

    hostnames: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)


# --- zones ------------------------------------------------------------------------------------


def remove(session: Session, zone: Zone) -> list[Script]:
    """Delete a zone with its routes and domains; the scripts that led through it."""
    concerned = {route.script_id: route.script for route in routes(session, zone)}
    concerned |= {one.script_id: one.script for one in domains_of_zone(session, zone)}
    session.delete(zone)
    session.flush()
    return list(concerned.values())


def search(
    session: Session, account: Account, words: Sequence[str], *, limit: int
) -> tuple[list[Zone], list[CustomDomain]]:
    """Zones and custom domains that have all the words in their names, at most so many of each."""
    named = [Zone.name.contains(word, autoescape=True) for word in words]
    hosts = [CustomDomain.hostname.contains(word, autoescape=True) for word in words]
    found = service.owned_by(account.id).where(*named).order_by(Zone.name).limit(limit)
    domains = domains_of(account.id).where(*hosts).limit(limit)
    return list(session.scalars(found)), list(session.scalars(domains))


def sizes(session: Session, listed: Iterable[Zone]) -> dict[str, tuple[int, int]]:
    """How many routes and custom domains zones have, by their ids."""
    ids = [zone.id for zone in listed]
    routes, domains = _counts(session, Route, ids), _counts(session, CustomDomain, ids)
    return {id_: (routes.get(id_, 0), domains.get(id_, 0)) for id_ in ids}


def _counts(
    session: Session, model: type[Route] | type[CustomDomain], zone_ids: Sequence[str]
) -> dict[str, int]:
    query = select(model.zone_id, func.count()).where(model.zone_id.in_(zone_ids))
    return dict(session.execute(query.group_by(model.zone_id)).all())


# --- routes -----------------------------------------------------------------------------------


def routes(session: Session, zone: Zone) -> list[Route]:
    """The routes of a zone, by pattern."""
    query = select(Route).where(Route.zone_id == zone.id).order_by(Route.pattern)
    return list(session.scalars(query))


def page_of_routes(session: Session, zone: Zone, page: Page) -> Listing[Route]:
    query = select(Route).where(Route.zone_id == zone.id).order_by(Route.pattern)
    return paginate(session, query, page)


def routes_of_script(session: Session, script: Script) -> list[Route]:
    query = select(Route).where(Route.script_id == script.id).order_by(Route.pattern)
    return list(session.scalars(query))


def get_route(session: Session, zone: Zone, route_id: str) -> Route:
    query = select(Route).where(Route.zone_id == zone.id, Route.id == route_id)
    route = session.scalar(query.execution_options(populate_existing=True))
    if route is None:
        raise RouteNotFound(f"{zone.name} has no route {route_id[:80]}.")
    return route


def add_route(session: Session, zone: Zone, pattern: str, script: Script) -> Route:
    """Lead requests that fit a pattern to the script.

    Raises RouteInvalid, ZonePending, and RouteExists for a pattern that is there, also the script's own.
    """
    read = _pattern_in(zone, pattern)
    _refuse_taken(session, zone, read, script)
    _refuse_too_many(session, Route, zone, ROUTES_MAX, "routes")
    route = Route(zone=zone, pattern=str(read), script=script)
    session.add(route)
    session.flush()
    return route


def change_route(session: Session, route: Route, pattern: str, script: Script) -> Route:
    """The same with a route that is there."""
    read = _pattern_in(route.zone, pattern)
    _refuse_taken(session, route.zone, read, script, but=route.id)
    route.pattern, route.script = str(read), script
    session.flush()
    return route


def replace_routes(session: Session, script: Script, wanted: Sequence[Place]) -> list[Route]:
    """Exactly these routes for the script from now on, in whichever zones; those that stay are kept.

    Raises RouteInvalid, ZoneMissing, ZonePending, and RouteExists for a pattern of another script.
    """
    before = {(one.zone_id, one.pattern): one for one in routes_of_script(session, script)}
    kept: dict[tuple[str, str], Zone] = {}
    for place in wanted:
        read = patterns.read(place.text)
        zone = service.zone_of(session, script.account_id, read.base, place)
        kept[zone.id, str(_pattern_in(zone, place.text))] = zone
    for key, route in before.items():
        if key not in kept:
            session.delete(route)
    session.flush()
    for (_, pattern), zone in kept.items():
        if (zone.id, pattern) not in before:
            add_route(session, zone, pattern, script)
    return routes_of_script(session, script)


def _pattern_in(zone: Zone, text: str) -> patterns.Pattern:
    """A pattern, if it may be a route of the zone."""
    read = patterns.read(text)
    if not names.within(read.base, zone.name):
        raise RouteInvalid(
            f'The route pattern "{text[:200]}" is not in the zone {zone.name}. Nothing was changed.'
        )
    if reserved := names.reserved_host(read.host):
        raise RouteInvalid(f"{reserved} Nothing was changed.")
    service.refuse_pending(zone)
    return read


def _refuse_taken(
    session: Session, zone: Zone, pattern: patterns.Pattern, script: Script, *, but: str = ""
) -> None:
    """What nodes are told of a zone leads to one script each. One script may say the same twice with
    `*example.com/` and `example.com/`, but not with the same pattern."""
    query = select(Route).where(
        Route.zone_id == zone.id,
        Route.id != but,
        Route.pattern.in_(pattern.rivals),
        or_(Route.pattern == str(pattern), Route.script_id != script.id),
    )
    found = session.scalar(query.order_by(Route.pattern != str(pattern)).limit(1))
    if found is None:
        return
    if found.pattern == str(pattern):
        said = (
            f'A route with the pattern "{pattern}" already exists: it leads to {found.script.name}.'
        )
    else:
        said = (
            f'"{pattern}" takes in the same as the route "{found.pattern}", which leads to '
            f"{found.script.name}. Use *. for the names below alone."
        )
    raise RouteExists(f"{said} Nothing was changed.")


def _refuse_too_many(
    session: Session, model: type[Route] | type[CustomDomain], zone: Zone, most: int, what: str
) -> None:
    query = select(func.count()).select_from(model).where(model.zone_id == zone.id)
    if (session.scalar(query) or 0) >= most:
        raise BodyInvalid(f"{zone.name} has {most:,} {what} already. Nothing was changed.")


# --- custom domains ---------------------------------------------------------------------------


def domains_of(account_id: str) -> Select[CustomDomain]:
    """The one door to the custom domains of an account."""
    return (
        select(CustomDomain)
        .join(CustomDomain.zone)
        .join(Zone.account)
        .join(CustomDomain.script)
        .where(Zone.account_id == account_id)
        .options(
            contains_eager(CustomDomain.zone).contains_eager(Zone.account),
            contains_eager(CustomDomain.script),
        )
        .order_by(CustomDomain.hostname)
    )


def page_of_domains(
    session: Session, account: Account | str, page: Page, filters: dict[str, Any] | None = None
) -> Listing[CustomDomain]:
    """Filters: `zone_id`, `zone_name`, `service`, `hostname`; an empty one does not count."""
    columns = {
        "zone_id": Zone.id,
        "zone_name": Zone.name,
        "service": Script.name,
        "hostname": CustomDomain.hostname,
    }
    query = domains_of(account if isinstance(account, str) else account.id)
    for key, value in (filters or {}).items():
        if value:
            query = query.where(columns[key] == value)
    return paginate(session, query, page)


def domains_of_script(session: Session, script: Script) -> list[CustomDomain]:
    query = select(CustomDomain).where(CustomDomain.script_id == script.id)
    return list(session.scalars(query.order_by(CustomDomain.hostname)))


def domains_of_zone(session: Session, zone: Zone) -> list[CustomDomain]:
    query = select(CustomDomain).where(CustomDomain.zone_id == zone.id)
    return list(session.scalars(query.order_by(CustomDomain.hostname)))


def get_domain(session: Session, account: Account | str, domain_id: str) -> CustomDomain:
    account_id = account if isinstance(account, str) else account.id
    query = domains_of(account_id).where(CustomDomain.id == domain_id)
    domain = session.scalar(query.execution_options(populate_existing=True))
    if domain is None:
        raise DomainNotFound(f"Your account has no custom domain {domain_id[:80]}.")
    return domain


@dataclass
class Changes:
    """What making a list of host names a script's own comes to."""

    added: list[tuple[str, Zone]] = field(default_factory=list)
    updated: list[CustomDomain] = field(default_factory=list)
    """Those that are there already, also another script's."""
    removed: list[CustomDomain] = field(default_factory=list)


def domain_changes(
    session: Session, script: Script, wanted: Sequence[Place], *, replace: bool
) -> Changes:
    """What would change; with `replace` the script keeps no other host name.

    Raises DomainInvalid, ZoneMissing and ZonePending.
    """
    changes = Changes()
    places: dict[str, Zone] = {}
    for place in wanted:
        hostname = hostname_of(place.text)
        zone = service.zone_of(session, script.account_id, hostname, place)
        _check_domain(zone, hostname)
        places[hostname] = zone
    query = domains_of(script.account_id).where(CustomDomain.hostname.in_(places))
    found = {one.hostname: one for one in session.scalars(query)}
    for hostname, zone in places.items():
        if hostname in found:
            changes.updated.append(found[hostname])
        else:
            changes.added.append((hostname, zone))
    if replace:
        mine = domains_of_script(session, script)
        changes.removed = [one for one in mine if one.hostname not in places]
    return changes


def attach_domains(
    session: Session, script: Script, wanted: Sequence[Place], *, replace: bool, take: bool
) -> list[Script]:
    """Make host names the script's own; the scripts that lost one. With `take` also names of other
    scripts of the account, which raise DomainTaken without it; `replace` as in `domain_changes`."""
    changes = domain_changes(session, script, wanted, replace=replace)
    taken = [one for one in changes.updated if one.script_id != script.id]
    if taken and not take:
        raise DomainTaken(
            f"{taken[0].hostname} is a custom domain of {taken[0].script.name} already. "
            "Nothing was changed."
        )
    losers = {one.script_id: one.script for one in taken}
    for domain in taken:
        domain.script = script
    for domain in changes.removed:
        session.delete(domain)
    session.flush()
    for hostname, zone in changes.added:
        _refuse_too_many(session, CustomDomain, zone, DOMAINS_MAX, "custom domains")
        session.add(CustomDomain(zone=zone, hostname=hostname, script=script))
        session.flush()
    return list(losers.values())


def detach_domain(session: Session, domain: CustomDomain) -> None:
    session.delete(domain)
    session.flush()


def hostname_of(text: str) -> str:
    """A host name as it is stored; raises DomainInvalid."""
    try:
        return names.as_ascii(text)
    except names.HostNameError as error:
        raise DomainInvalid(
            f'"{text[:200]}" cannot be a custom domain: {error}. A custom domain is one host name, without '
            "wildcard and path. Nothing was changed."
        ) from error


def _check_domain(zone: Zone, hostname: str) -> None:
    if not names.within(hostname, zone.name):
        raise DomainInvalid(f"{hostname} is not in the zone {zone.name}. Nothing was changed.")
    if reserved := names.reserved_host(hostname):
        raise DomainInvalid(f"{reserved} Nothing was changed.")
    service.refuse_pending(zone)


# --- requests ---------------------------------------------------------------------------------


def answering(
    session: Session, account: Account | str, host: str, path: str
) -> list[Route | CustomDomain]:
    """What leads a request of this host and path somewhere now: a route, else the custom domain.

    Two routes when http and https lead differently; empty when the host is in no active zone, or nothing fits.
    """
    zone = service.covering(session, account, host)
    if zone is None or not zone.active:
        return []
    candidates = [(patterns.read(route.pattern), route) for route in routes(session, zone)]
    found: list[Route | CustomDomain] = []
    domain = session.scalar(
        select(CustomDomain).where(CustomDomain.zone_id == zone.id, CustomDomain.hostname == host)
    )
    for scheme in patterns.SCHEMES:
        fitting = [
            (specificity, route)
            for pattern, route in candidates
            if (specificity := pattern.fits(scheme, host, path))
        ]
        best = max(fitting, key=lambda one: one[0])[1] if fitting else domain
        if best is not None and best not in found:
            found.append(best)
    return found


# --- scripts ----------------------------------------------------------------------------------


def addresses(session: Session, script_ids: Iterable[str]) -> dict[str, Addresses]:
    """Where scripts answer besides their live URLs, by the ids of those that do."""
    ids = list(script_ids)
    found: dict[str, Addresses] = {}
    hosts = select(CustomDomain.script_id, CustomDomain.hostname)
    for id_, hostname in session.execute(
        hosts.where(CustomDomain.script_id.in_(ids)).order_by(CustomDomain.hostname)
    ):
        found.setdefault(id_, Addresses()).hostnames.append(hostname)
    led = select(Route.script_id, Route.pattern)
    for id_, pattern in session.execute(
        led.where(Route.script_id.in_(ids)).order_by(Route.pattern)
    ):
        found.setdefault(id_, Addresses()).routes.extend(patterns.read(pattern).forms)
    for each in found.values():
        each.routes[:] = sorted(set(each.routes))
    return found


def delete_all(session: Session, script: Script) -> None:
    """Of a script that is deleted."""
    session.execute(delete(Route).where(Route.script_id == script.id))
    session.execute(delete(CustomDomain).where(CustomDomain.script_id == script.id))
