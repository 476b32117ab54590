"""Zones and their proof.

Nothing here tells the nodes: `api/zones/flows.py` does. Whoever changes anything has taken the account's turn
(`scripts.take_turn`) before.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from api.accounts.models import Account
from api.clock import now
from api.errors import (
    ZoneExists,
    ZoneMissing,
    ZoneNotFound,
    ZonePending,
)
from api.pagination import Listing, Page, paginate
from api.settings import settings
from api.zones import names
from api.zones.models import Zone, ZoneStatus

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
        query = query.where(Zone.name == written(name))
    if status:
        query = query.where(Zone.status == status)
    return paginate(session, query, page)


def written(name: str) -> str:
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
    query = owned_by(account_id).where(or_(Zone.id == text, Zone.name == written(text)))
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


# --- who asks for a zone ----------------------------------------------------------------------


def zone_of(session: Session, account_id: str, host: str, place: Place) -> Zone:
    """The zone that a caller means: the one that is named, else the one that the host is in.

    Raises ZoneNotFound and ZoneMissing.
    """
    if place.zone_id:
        return get(session, account_id, place.zone_id)
    wanted = place.zone_name or host
    zone = covering(session, account_id, written(wanted))
    if zone is None or (place.zone_name and zone.name != written(place.zone_name)):
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
    if covering(session, account, written(host)) is None:
        raise missing(host)


def refuse_pending(zone: Zone) -> None:
    if not zone.active:
        raise ZonePending(
            f"The zone {zone.name} is pending: nothing of it can lead to a Worker before its TXT record "
            f"{zone.challenge} with {zone.token} is found. Nothing was changed."
        )
