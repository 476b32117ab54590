"""Changes of zones, routes, custom domains and certificates, and the rollouts that bring the first three to the nodes.

Each opens its own transactions; what it gives as deployments is on its way and can be waited for with
`settled`. Certificates are asked for by the nodes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.orm import Session

from api import sealing
from api.clock import now
from api.db import transaction
from api.deployments import flows as deploying, service as deployments
from api.deployments.models import Deployment
from api.scripts import service as scripts
from api.scripts.models import Script
from api.settings import settings
from api.zones import certificates, chains, leading, proof, service
from api.zones.chains import Chain
from api.zones.models import Certificate, CustomDomain, Route, Zone
from api.zones.service import Place

Result = TypeVar("Result")


@dataclass(frozen=True)
class Led:
    """What a change made, and the deployments that are rolled out because of it."""

    routes: list[Route]
    domains: list[CustomDomain]
    deployments: list[Deployment]


@dataclass(frozen=True)
class Kept:
    """A certificate of a zone, the names that nodes show it for, and sentences about both."""

    zone: Zone
    certificate: Certificate
    shown: list[str]
    words: list[str]


def settled(changed: Iterable[Deployment]) -> list[str]:
    """Wait for the nodes, `deploy_wait_seconds` for all together; a sentence for each."""
    deadline = time.monotonic() + settings().deploy_wait_seconds
    words: dict[str, None] = {}
    for deployment in changed:
        left = max(deadline - time.monotonic(), 0)
        words |= dict.fromkeys(
            deploying.describe(deployments.await_rollouts(deployment.id, timeout_s=left))
        )
    return list(words)


def _tell(session: Session, concerned: Iterable[Script]) -> list[Deployment]:
    """Send the nodes what is deployed of these scripts, with their new addresses."""
    told = []
    for script in concerned:
        deployment = deployments.current(session, script)
        if deployment is not None:
            deployments.tell_nodes(session, script)
            told.append(deployment)
    return told


# --- zones ------------------------------------------------------------------------------------


def create_zone(account_id: str, name: str) -> Zone:
    """Raises ZoneNameInvalid and ZoneExists."""
    with transaction() as session:
        scripts.take_turn(session, account_id)
        return service.create(session, account_id, name)


def verify_zone(account_id: str, zone_id: str) -> Zone:
    """Look for the zone's record now; `problem` of the answer says what is wrong if it stays pending.

    Raises ZoneNotFound.
    """
    with transaction() as session:
        zone = service.get(session, account_id, zone_id)
    return _look(zone) or zone


def verify_due(zone_id: str) -> Zone | None:
    """The same by the clock; None when it is not the zone's time, or it is gone."""
    with transaction() as session:
        zone = service.claim(session, zone_id)
    return None if zone is None else _look(zone)


def _look(zone: Zone) -> Zone | None:
    """Ask outside any transaction: a name server may take its time."""
    if zone.active:
        return zone
    asks = settings().zone_proof == "dns"
    found = proof.problem(zone.challenge, zone.token) if asks else ""
    with transaction() as session:
        return service.record_check(session, zone.id, found)


def delete_zone(account_id: str, zone_id: str) -> list[Deployment]:
    """Delete a zone with all that is in it. Raises ZoneNotFound."""
    with transaction() as session:
        scripts.take_turn(session, account_id)
        zone = service.get(session, account_id, zone_id)
        return _tell(session, leading.remove(session, zone))


# --- routes -----------------------------------------------------------------------------------


def create_route(account_id: str, zone_id: str, pattern: str, script_name: str) -> Led:
    """Raises ZoneNotFound, ScriptNotFound and what `leading.add_route` does."""
    with transaction() as session:
        script = scripts.lock(session, account_id, script_name)
        zone = service.get(session, account_id, zone_id)
        route = leading.add_route(session, zone, pattern, script)
        return Led([route], [], _tell(session, [script]))


def update_route(
    account_id: str, zone_id: str, route_id: str, pattern: str, script_name: str
) -> Led:
    """Raises RouteNotFound and what `create_route` does."""
    with transaction() as session:
        script = scripts.lock(session, account_id, script_name)
        zone = service.get(session, account_id, zone_id)
        route = leading.get_route(session, zone, route_id)
        before = route.script
        leading.change_route(session, route, pattern, script)
        # Who lets go is told last: in between, nodes take the newer of the two for it.
        concerned = [script, before] if before.id != script.id else [script]
        return Led([route], [], _tell(session, concerned))


def delete_route(account_id: str, zone_id: str, route_id: str) -> list[Deployment]:
    """Raises ZoneNotFound and RouteNotFound."""
    with transaction() as session:
        scripts.take_turn(session, account_id)
        zone = service.get(session, account_id, zone_id)
        route = leading.get_route(session, zone, route_id)
        session.delete(route)
        session.flush()
        return _tell(session, [route.script])


def replace_routes(account_id: str, script_name: str, wanted: Sequence[Place]) -> Led:
    """All routes of a script, as `wrangler deploy` sends them; raises what `leading.replace_routes` does."""
    with transaction() as session:
        script = scripts.lock(session, account_id, script_name)
        before = {route.id for route in leading.routes_of_script(session, script)}
        routes = leading.replace_routes(session, script, wanted)
        changed = before != {route.id for route in routes}
        return Led(routes, [], _tell(session, [script]) if changed else [])


# --- custom domains ---------------------------------------------------------------------------


def attach_domains(
    account_id: str, script_name: str, wanted: Sequence[Place], *, replace: bool, take: bool
) -> Led:
    """Make host names a script's own; raises what `leading.attach_domains` does."""

    def change(session: Session, script: Script) -> list[Script]:
        return leading.attach_domains(session, script, wanted, replace=replace, take=take)

    return _change_domains(account_id, script_name, change)


def attach_domain(account_id: str, script_name: str, place: Place, *, take: bool = False) -> Led:
    """One more host name for a script."""
    return attach_domains(account_id, script_name, [place], replace=False, take=take)


def _change_domains(
    account_id: str, script_name: str, change: Callable[[Session, Script], list[Script]]
) -> Led:
    with transaction() as session:
        script = scripts.lock(session, account_id, script_name)
        before = {domain.id for domain in leading.domains_of_script(session, script)}
        losers = change(session, script)
        domains = leading.domains_of_script(session, script)
        changed = before != {domain.id for domain in domains}
        # Who lets go is told last, as above.
        concerned = [script, *losers] if changed else []
        return Led([], domains, _tell(session, concerned))


def detach_domain(account_id: str, domain_id: str) -> list[Deployment]:
    """Raises DomainNotFound."""
    with transaction() as session:
        scripts.take_turn(session, account_id)
        domain = leading.get_domain(session, account_id, domain_id)
        leading.detach_domain(session, domain)
        return _tell(session, [domain.script])


# --- certificates -----------------------------------------------------------------------------


def upload_certificate(
    account_id: str, zone_id: str, certificate: str, key: str, *, bundle_method: str = "ubiquitous"
) -> Kept:
    """Keep a certificate, PEM with the leaf first, and its key.

    Raises ZoneNotFound, CertificateExists, CertificatesFull and what `chains.read` does.
    """
    with transaction() as session:
        name = service.get(session, account_id, zone_id).name
    chain = chains.read(name, certificate, key)
    with transaction() as session:
        scripts.take_turn(session, account_id)
        zone = service.get(session, account_id, zone_id)
        return _kept(session, zone, certificates.add(session, zone, chain, bundle_method), chain)


def replace_certificate(
    account_id: str,
    zone_id: str,
    certificate_id: str,
    certificate: str | None,
    key: str | None,
    *,
    bundle_method: str | None = None,
) -> Kept:
    """Put a chain, a key or both in the place of those of a certificate.

    Raises CertificateNotFound and what `upload_certificate` does.
    """
    with transaction() as session:
        zone = service.get(session, account_id, zone_id)
        found = certificates.get(session, zone, certificate_id)
        before, sealed = found.chain, found.sealed_key
    chain = None
    if certificate is not None or key is not None:
        chain = chains.read(
            zone.name,
            before if certificate is None else certificate,
            sealing.unseal(sealed) if key is None else key,
        )
    with transaction() as session:
        scripts.take_turn(session, account_id)
        zone = service.get(session, account_id, zone_id)
        found = certificates.get(session, zone, certificate_id)
        if chain is not None:
            certificates.replace(session, zone, found, chain)
        if bundle_method is not None:
            found.bundle_method, found.changed_at = bundle_method, now()
        return _kept(session, zone, found, chain)


def _kept(session: Session, zone: Zone, certificate: Certificate, chain: Chain | None) -> Kept:
    shown = certificates.shown(certificates.of_zone(session, zone))[certificate.id]
    when = "within seconds" if zone.active else f"once {zone.name} is active"
    words = [f"Every node shows it {when} for {_listed(shown)}."]
    if not shown:
        words = ["No node shows it: newer ones of the zone have all its names."]
    if chain is not None and chain.alone:
        words.append(
            f"It came without the certificate that signed it ({certificate.issuer}), and many browsers will not "
            "believe it: send the whole chain (certbot's fullchain.pem)."
        )
    return Kept(zone, certificate, shown, words)


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def delete_certificate(account_id: str, zone_id: str, certificate_id: str) -> None:
    """Delete a certificate with its key. Raises ZoneNotFound and CertificateNotFound."""
    with transaction() as session:
        scripts.take_turn(session, account_id)
        zone = service.get(session, account_id, zone_id)
        session.delete(certificates.get(session, zone, certificate_id))
