"""Zones, and what of them leads to which script.

Nothing here tells the nodes: `api/zones/flows.py` does. Whoever changes anything has taken the account's turn
(`scripts.take_turn`) before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, or_, select
from sqlalchemy.orm import Session, contains_eager

from api.accounts.models import Account
from api.clock import now
from api.errors import (
    BodyInvalid,
    DomainInvalid,
    DomainNotFound,
    DomainTaken,
    RouteExists,
    RouteInvalid,
    RouteNotFound,
    ZoneExists,
    ZoneMissing,
    ZoneNotFound,
    ZonePending,
)
from api.pagination import Listing, Page, paginate
from api.scripts.models import Script
from api.settings import settings
from api.zones import names, patterns
from api.zones.models import CustomDomain, Route, Zone, ZoneStatus

# Cloudflare's limits.
ROUTES_MAX, DOMAINS_MAX = 1000, 100
# Cloudflare, too, stops looking for the proof of a zone that stays pending.
LOOK_FOR = timedelta(days=7)
# Between two looks: a quarter of the zone's age, but at least and at most this.
LOOK_AGAIN_MIN, LOOK_AGAIN_MAX = timedelta(seconds=30), timedelta(hours=1)
# Who decides which account has a name waits for whoever else does; any constant will do.
_NAMES_LOCK = 5_325_380


@dataclass(frozen=True)
class Place:
    """Where a script is wanted: the host or pattern, and the zone if the caller named one."""

    text: str
    zone_id: str | None = None
    zone_name: str | None = None


@dataclass(frozen=True)
class Addresses:
    """Where a script answers besides its live URL."""

    hostnames: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)


# --- zones ------------------------------------------------------------------------------------


def owned_by(account_id: str) -> Select[Zone]:
    """The one door to the zones of an account."""
    return select(Zone).where(Zone.account_id == account_id)


def page_of_zones(
    session: Session, account: Account | str, page: Page, *, name: str = "", status: str = ""
) -> Listing[Zone]:
    account_id = account if isinstance(account, str) else account.id
    query = owned_by(account_id).order_by(Zone.name)
    if name:
        query = query.where(Zone.name == _written(name))
    if status:
        query = query.where(Zone.status == status)
    return paginate(session, query, page)


def _written(name: str) -> str:
    """A name to look for, as one that could be stored is written."""
    try:
        return names.as_ascii(name)
    except names.HostNameError:
        return name


def zones(session: Session, account: Account | str) -> list[Zone]:
    """All of an account's, by name."""
    account_id = account if isinstance(account, str) else account.id
    return list(session.scalars(owned_by(account_id).order_by(Zone.name)))


def get(session: Session, account: Account | str, zone_id: str) -> Zone:
    """The account's zone of that id; raises ZoneNotFound, for a stranger's too."""
    account_id = account if isinstance(account, str) else account.id
    zone = session.scalar(owned_by(account_id).where(Zone.id == zone_id))
    if zone is None:
        raise ZoneNotFound(f"This zone does not exist on your account: {zone_id[:80]}.")
    return zone


def find(session: Session, account_id: str, text: str) -> Zone | None:
    """The account's zone of that id or name."""
    query = owned_by(account_id).where(or_(Zone.id == text, Zone.name == _written(text)))
    return session.scalar(query)


def covering(session: Session, account: Account | str, host: str) -> Zone | None:
    """The account's zone that a host is in, pending or not."""
    account_id = account if isinstance(account, str) else account.id
    parts = host.split(".")
    parents = [".".join(parts[at:]) for at in range(len(parts))]
    query = owned_by(account_id).where(Zone.name.in_(parents))
    return session.scalar(query.order_by(func.length(Zone.name).desc()).limit(1))


def create(session: Session, account_id: str, name: str) -> Zone:
    """Add a domain to an account: active at once unless it has to be proven.

    Raises ZoneNameInvalid and ZoneExists.
    """
    name = names.zone_name(name)
    _take_names(session)
    _refuse_overlap(session, account_id, name)
    zone = Zone(account_id=account_id, name=name)
    session.add(zone)
    if settings().zone_proof == "none":
        _activate(zone)
    else:
        zone.next_check_at = now()
    session.flush()
    session.refresh(zone)
    return zone


def _take_names(session: Session) -> None:
    """Names are decided one at a time, over all accounts."""
    session.execute(select(func.pg_advisory_xact_lock(_NAMES_LOCK)))


def _refuse_overlap(session: Session, account_id: str, name: str, *, but: str = "") -> None:
    """No name is in two zones: what leads where would depend on which of them was asked."""
    if found := _overlap(session, account_id, name, but):
        raise ZoneExists(f"{found} Nothing was changed.")


def _overlap(session: Session, account_id: str, name: str, but: str = "") -> str | None:
    """A sentence about the zone that has a name, or a part of it; None when there is none."""
    parts = name.split(".")
    parents = [".".join(parts[at:]) for at in range(len(parts))]
    below = Zone.name.endswith(f".{name}", autoescape=True)
    query = (
        select(Zone)
        .where(Zone.id != but, or_(Zone.name.in_(parents), below))
        .where(or_(Zone.account_id == account_id, Zone.status == ZoneStatus.ACTIVE))
        .order_by(Zone.account_id != account_id, Zone.name)
        .limit(1)
    )
    found = session.scalar(query)
    if found is None:
        return None
    if found.account_id != account_id:
        said = "it" if found.name == name else "a zone that overlaps with it"
        return f"{name} cannot be added: another account of this installation has {said}."
    if found.name == name:
        return f"{name} already exists: it is a zone of this account, {found.status}."
    return f"{name} overlaps with {found.name}, a zone of this account. One zone has all names below its own."


def _activate(zone: Zone) -> None:
    zone.status, zone.verified_at = ZoneStatus.ACTIVE, now()
    zone.problem, zone.next_check_at = "", None


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
    found = owned_by(account.id).where(*named).order_by(Zone.name).limit(limit)
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


# --- the proof --------------------------------------------------------------------------------


def due(session: Session, limit: int = 50) -> list[str]:
    """The pending zones whose record is to be looked for now."""
    query = select(Zone.id).where(Zone.next_check_at <= now()).order_by(Zone.next_check_at)
    return list(session.scalars(query.limit(limit)))


def claim(session: Session, zone_id: str) -> Zone | None:
    """Take a pending zone whose time has come, so that nobody else looks now; None when there is
    nothing to do. One that is as old as LOOK_FOR is looked for this once more."""
    query = select(Zone).where(Zone.id == zone_id, Zone.next_check_at <= now())
    zone = session.scalar(query.with_for_update(of=Zone, skip_locked=True))
    if zone is not None:
        zone.next_check_at = next_look(zone.created_at, now())
    return zone


def next_look(created_at: datetime, moment: datetime) -> datetime | None:
    """When to look again for the proof of a zone; None when it is given up."""
    age = moment - created_at
    if age >= LOOK_FOR:
        return None
    return moment + min(max(age / 4, LOOK_AGAIN_MIN), LOOK_AGAIN_MAX)


def record_check(session: Session, zone_id: str, problem: str) -> Zone | None:
    """What a look for the record found: an empty problem makes the zone active, unless another
    account has the name by now. None for one that was deleted meanwhile."""
    _take_names(session)
    zone = session.get(Zone, zone_id, with_for_update={"of": Zone}, populate_existing=True)
    if zone is None or zone.active:
        return zone
    zone.checked_at = now()
    zone.problem = problem or _overlap(session, zone.account_id, zone.name, zone.id) or ""
    if not zone.problem:
        _activate(zone)
    return zone


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
        zone = zone_of(session, script.account_id, read.base, place)
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
    _refuse_pending(zone)
    return read


def _refuse_pending(zone: Zone) -> None:
    if not zone.active:
        raise ZonePending(
            f"The zone {zone.name} is pending: nothing of it can lead to a Worker before its TXT record "
            f"{zone.challenge} with {zone.token} is found. Nothing was changed."
        )


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


def zone_of(session: Session, account_id: str, host: str, place: Place) -> Zone:
    """The zone that a caller means: the one that is named, else the one that the host is in.

    Raises ZoneNotFound and ZoneMissing.
    """
    if place.zone_id:
        return get(session, account_id, place.zone_id)
    wanted = place.zone_name or host
    zone = covering(session, account_id, _written(wanted))
    if zone is None or (place.zone_name and zone.name != _written(place.zone_name)):
        raise missing(wanted)
    return zone


def missing(host: str) -> ZoneMissing:
    """What to tell whoever asks for a host in none of the account's zones."""
    address = settings().public_url.rstrip("/")
    return ZoneMissing(
        f"Your account has no zone for {host[:253]}. Add the domain in the dashboard "
        f"({address}/zones), then deploy again. No route was changed."
    )


def refuse_uncovered(session: Session, account: Account | str, host: str) -> None:
    """Raises ZoneMissing for a host in none of the account's zones."""
    if covering(session, account, _written(host)) is None:
        raise missing(host)


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
        zone = zone_of(session, script.account_id, hostname, place)
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
    _refuse_pending(zone)


# --- requests ---------------------------------------------------------------------------------


def answering(
    session: Session, account: Account | str, host: str, path: str
) -> list[Route | CustomDomain]:
    """What leads a request of this host and path somewhere now: a route, else the custom domain.

    Two routes when http and https lead differently; empty when the host is in no active zone, or nothing fits.
    """
    zone = covering(session, account, host)
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
