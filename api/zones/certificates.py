"""The certificates of zones: kept with sealed keys, and given to the nodes for the names that they are shown for.

Nobody is told of a change: every node asks with its next pull (`api/gateway.py`). Whoever changes anything has
taken the account's turn (`scripts.take_turn`) before.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from api import sealing
from api.clock import now
from api.errors import CertificateExists, CertificateNotFound, CertificatesFull
from api.pagination import Listing, Page, paginate
from api.zones.chains import Chain
from api.zones.models import Certificate, Zone, ZoneStatus

CERTIFICATES_MAX = 100


def _of_zone(zone: Zone) -> Select[Certificate]:
    """The newest upload first."""
    query = select(Certificate).where(Certificate.zone_id == zone.id)
    return query.order_by(Certificate.uploaded_at.desc(), Certificate.id)


def of_zone(session: Session, zone: Zone) -> list[Certificate]:
    return list(session.scalars(_of_zone(zone)))


def page_of_certificates(session: Session, zone: Zone, page: Page) -> Listing[Certificate]:
    return paginate(session, _of_zone(zone), page)


def of_account(session: Session, account_id: str) -> list[Certificate]:
    """Those of all the account's zones, pending ones too."""
    query = select(Certificate).join(Zone, Zone.id == Certificate.zone_id)
    return list(session.scalars(query.where(Zone.account_id == account_id)))


def count(session: Session, zone: Zone) -> int:
    query = select(func.count()).select_from(Certificate).where(Certificate.zone_id == zone.id)
    return session.scalar(query) or 0


def get(session: Session, zone: Zone, certificate_id: str) -> Certificate:
    query = _of_zone(zone).where(Certificate.id == certificate_id)
    found = session.scalar(query.execution_options(populate_existing=True))
    if found is None:
        raise CertificateNotFound(f"{zone.name} has no certificate {certificate_id[:80]}.")
    return found


def add(session: Session, zone: Zone, chain: Chain, bundle_method: str) -> Certificate:
    """Keep a certificate with its key. Raises CertificateExists and CertificatesFull."""
    _refuse_twice(session, zone, chain)
    if count(session, zone) >= CERTIFICATES_MAX:
        raise CertificatesFull(
            f"{zone.name} has {CERTIFICATES_MAX} certificates already: replace one, or delete one that is not "
            "shown any more. Nothing was changed."
        )
    made = Certificate(zone_id=zone.id, bundle_method=bundle_method)
    _take(made, chain)
    session.add(made)
    session.flush()
    return made


def replace(session: Session, zone: Zone, found: Certificate, chain: Chain) -> None:
    """Put another chain in the place of one. Raises CertificateExists."""
    _refuse_twice(session, zone, chain, but=found.id)
    _take(found, chain)
    session.flush()


def _take(found: Certificate, chain: Chain) -> None:
    found.names, found.chain, found.sealed_key = chain.names, chain.pem, sealing.seal(chain.key)
    found.issuer, found.signature = chain.issuer, chain.signature
    found.fingerprint = chain.fingerprint
    found.not_before, found.not_after = chain.not_before, chain.not_after
    found.uploaded_at = found.changed_at = now()


def _refuse_twice(session: Session, zone: Zone, chain: Chain, *, but: str = "") -> None:
    query = _of_zone(zone).where(Certificate.fingerprint == chain.fingerprint)
    other = session.scalar(query.where(Certificate.id != but))
    if other is not None:
        raise CertificateExists(
            f"{zone.name} has this certificate already: it is {other.id}. Replace that one to give it another "
            "chain. Nothing was changed."
        )


def status(found: Certificate, zone: Zone) -> str:
    """Cloudflare's word for how it is."""
    if found.not_after <= now():
        return "expired"
    return "active" if zone.active else "pending"


# --- which is shown ---------------------------------------------------------------------------


def shown(found: Iterable[Certificate]) -> dict[str, list[str]]:
    """The names that each of these is shown for, by its id: of several with one name the newest upload, and one
    that has expired only if all of them have."""
    moment = now()
    ordered = sorted(found, key=lambda one: (one.not_after > moment, one.uploaded_at, one.id))
    winner = {name: one.id for one in ordered for name in one.names}
    return {one.id: [name for name in one.names if winner[name] == one.id] for one in ordered}


def fits(names: Iterable[str], hostname: str) -> bool:
    """Whether one of the names is a host's, as browsers see it: a wildcard stands for one label."""
    return bool({hostname, f"*.{hostname.partition('.')[2]}"} & set(names))


def uncovered(found: Sequence[Certificate], hostnames: Iterable[str]) -> set[str]:
    """The hosts that none of these is good for now."""
    good = {name for one in found if one.not_after > now() for name in one.names}
    return {hostname for hostname in hostnames if not fits(good, hostname)}


def desired(session: Session, known: str | None) -> dict[str, Any] | None:
    """What every node shows, of all active zones, with a digest of it; None for a node that has just this
    (`known` is its digest) or asks for none. Keys are opened for the others alone."""
    if known is None:
        return None
    active = select(Certificate).join(Zone, Zone.id == Certificate.zone_id)
    query = active.where(Zone.status == ZoneStatus.ACTIVE).order_by(Certificate.id)
    found = {one.id: one for one in session.scalars(query)}
    told = {id_: names for id_, names in sorted(shown(found.values()).items()) if names}
    digest = _digest([(found[id_], names) for id_, names in told.items()])
    if digest == known:
        return None
    secrets = select(Certificate.id, Certificate.chain, Certificate.sealed_key)
    rows = session.execute(secrets.where(Certificate.id.in_(told)).order_by(Certificate.id))
    items = [
        {"id": id_, "names": told[id_], "chain": chain, "key": sealing.unseal(sealed)}
        for id_, chain, sealed in rows
    ]
    return {"digest": digest, "items": items}


def _digest(told: Iterable[tuple[Certificate, list[str]]]) -> str:
    """The leaf is in it by its fingerprint, the rest of its chain by the time when it came."""
    parts = [[one.id, one.fingerprint, one.uploaded_at.timestamp(), names] for one, names in told]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
