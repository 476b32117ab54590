"""Zones: added, proven, deleted; the routes and custom domains that lead names of them to Workers."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import structlog
from fastapi import APIRouter, Depends, Form as Field, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.db import DB, transaction
from api.errors import (
    Conflict,
    DomainTaken,
    Problem,
    Refused,
    ScriptNotFound,
    ZoneExists,
    ZoneNotFound,
)
from api.nodes import service as nodes
from api.pagination import LAST_PAGE, Page
from api.zones import certificates, flows, leading, service
from api.zones.models import Route, Zone
from api.zones.service import Place
from dashboard import flash
from dashboard.certificates import certificates_of
from dashboard.forms import Form
from dashboard.hosts import choices, opened, opened_routes
from dashboard.paging import Paging
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

PER_PAGE = 25
log = structlog.get_logger()
router = APIRouter(prefix="/zones")
Text = Annotated[str, Field()]
PageNumber = Annotated[int, Query(ge=1, le=LAST_PAGE)]
# Its id or its name, which pages use.
ZoneName = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,253}$")]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]


@router.get("")
def index(request: Request, session: DB, member: CurrentMember, page: PageNumber = 1) -> Response:
    return _list(request, session, member.account_id, Form(), page)


@router.post("")
def create(request: Request, actor: CurrentActor, name: Text = "") -> Response:
    form = Form({"name": name})
    wanted = form.require("name", "Enter a domain, such as example.com.")
    if form.valid:
        try:
            zone = flows.create_zone(actor.account_id, wanted)
        except (Refused, ZoneExists) as problem:
            form.refuse("name", problem.message)
        else:
            log.info("zone_added", zone=zone.name, account_id=actor.account_id)
            then = "" if zone.active else " Now prove that it is yours."
            return go_to(request, address_of(zone), f"{zone.name} is added.{then}")
    with transaction() as session:
        return _list(request, session, actor.account_id, form, 1)


def _list(request: Request, session: Session, account_id: str, form: Form, page: int) -> Response:
    listing = service.page_of_zones(session, account_id, Page(page=page, per_page=PER_PAGE))
    return render(
        request,
        "zones/index.html",
        status_code=200 if form.valid else 422,
        form=form,
        zones=listing.rows,
        sizes=leading.sizes(session, listing.rows),
        paging=Paging("/zones", page, PER_PAGE, listing.total),
    )


def _get(session: Session, account_id: str, name: str) -> Zone:
    zone = service.find(session, account_id, name)
    if zone is None:
        raise ZoneNotFound("Your account has no zone of this name.")
    return zone


def _shown(session: DB, member: CurrentMember, zone: ZoneName) -> Zone:
    return _get(session, member.account_id, zone)


def _changed(actor: CurrentActor, zone: ZoneName) -> Zone:
    """In a transaction of its own, for what starts a flow."""
    with transaction() as session:
        return _get(session, actor.account_id, zone)


ShownZone = Annotated[Zone, Depends(_shown)]
ChangedZone = Annotated[Zone, Depends(_changed)]


def address_of(zone: Zone, *rest: str) -> str:
    return "/".join(["/zones", zone.name, *rest])


def go_to(request: Request, address: str, said: str) -> Response:
    response = RedirectResponse(address, status_code=303)
    flash.put(request, response, said)
    return response


@router.get("/{zone}")
def show(request: Request, session: DB, zone: ShownZone, page: PageNumber = 1) -> Response:
    return show_zone(request, session, zone, page)


def show_zone(
    request: Request, session: Session, zone: Zone, page: int = 1, **sent: Form
) -> Response:
    """Its page, with the form that was sent: `route_form`, `domain_form` or `certificate_form`."""
    listing = leading.page_of_routes(session, zone, Page(page=page, per_page=PER_PAGE))
    domains = leading.domains_of_zone(session, zone)
    kept = certificates.of_zone(session, zone)
    forms: dict[str, Any] = dict.fromkeys(("route_form", "domain_form", "certificate_form"), Form())
    return render(
        request,
        "zones/show.html",
        status_code=200 if all(form.valid for form in sent.values()) else 422,
        zone=zone,
        here=address_of(zone),
        routes=opened_routes(listing.rows),
        paging=Paging(address_of(zone), page, PER_PAGE, listing.total),
        domains=opened(domains),
        uncovered=certificates.uncovered(kept, (domain.hostname for domain in domains)),
        certificates=certificates_of(zone, kept),
        scripts=choices(session, zone.account_id),
        **(forms | sent),
        hosts=_hosts_of_nodes(session),
    )


def _hosts_of_nodes(session: Session) -> list[str]:
    found = [urlsplit(node.agent_url).hostname or "" for node in nodes.list_nodes(session)]
    return sorted({host for host in found if host})


@router.post("/{zone}/check")
def check(request: Request, zone: ChangedZone) -> Response:
    """Look for the record of a pending zone now."""
    found = flows.verify_zone(zone.account_id, zone.id)
    said = f"{zone.name} is active." if found.active else "The record was looked for just now."
    return go_to(request, address_of(zone), said)


# --- routes -----------------------------------------------------------------------------------


@router.post("/{zone}/routes")
def add_route(
    request: Request, zone: ChangedZone, pattern: Text = "", route_script: Text = ""
) -> Response:
    form = _route_form(pattern, route_script)
    if form.valid:
        try:
            led = flows.create_route(zone.account_id, zone.id, pattern, route_script)
        except (Refused, Conflict, ScriptNotFound) as problem:
            _refuse(form, problem, "pattern", "route_script")
        else:
            said = f"{led.routes[0].pattern} leads to {route_script}, within seconds on every node."
            return go_to(request, address_of(zone), said)
    with transaction() as session:
        return show_zone(request, session, zone, route_form=form)


def _route_form(pattern: str, script: str) -> Form:
    form = Form({"pattern": pattern, "route_script": script})
    form.require("pattern", "Enter a pattern, such as example.com/api/*.")
    form.require("route_script", "Choose the Worker that answers.")
    return form


def _refuse(form: Form, problem: Problem, text: str, script: str) -> None:
    """Beside the Worker when it is gone, else beside what was typed."""
    gone = isinstance(problem, ScriptNotFound)
    form.refuse(script if gone else text, problem.message)


def _route(session: DB, zone: ShownZone, route_id: Id) -> Route:
    return leading.get_route(session, zone, route_id)


@router.get("/{zone}/routes/{route_id}")
def edit_route(
    request: Request, session: DB, zone: ShownZone, route: Annotated[Route, Depends(_route)]
) -> Response:
    form = Form({"pattern": route.pattern, "route_script": route.script.name})
    return _edit(request, session, zone, route, form)


def _edit(request: Request, session: Session, zone: Zone, route: Route, form: Form) -> Response:
    return render(
        request,
        "zones/route.html",
        status_code=200 if form.valid else 422,
        zone=zone,
        here=address_of(zone),
        route=route,
        form=form,
        scripts=choices(session, zone.account_id),
    )


@router.post("/{zone}/routes/{route_id}")
def change_route(
    request: Request,
    zone: ChangedZone,
    route_id: Id,
    pattern: Text = "",
    route_script: Text = "",
) -> Response:
    form = _route_form(pattern, route_script)
    if form.valid:
        try:
            led = flows.update_route(zone.account_id, zone.id, route_id, pattern, route_script)
        except (Refused, Conflict, ScriptNotFound) as problem:
            _refuse(form, problem, "pattern", "route_script")
        else:
            said = f"{led.routes[0].pattern} leads to {route_script}, within seconds on every node."
            return go_to(request, address_of(zone), said)
    with transaction() as session:
        route = leading.get_route(session, zone, route_id)
        return _edit(request, session, zone, route, form)


@router.post("/{zone}/routes/{route_id}/delete")
def delete_route(request: Request, zone: ChangedZone, route_id: Id) -> Response:
    flows.delete_route(zone.account_id, zone.id, route_id)
    return go_to(request, address_of(zone), "The route is deleted, within seconds on every node.")


# --- custom domains ---------------------------------------------------------------------------


@router.post("/{zone}/domains")
def add_domain(
    request: Request,
    zone: ChangedZone,
    hostname: Text = "",
    domain_script: Text = "",
    take: Text = "",
) -> Response:
    """`take` as in `worker_zones.add_domain`."""
    form = Form({"hostname": hostname, "domain_script": domain_script})
    form.require("hostname", f"Enter a host name, such as shop.{zone.name}.")
    form.require("domain_script", "Choose the Worker that answers.")
    if form.valid:
        try:
            place = Place(hostname, zone_id=zone.id)
            take_it = take == hostname.strip()
            flows.attach_domain(zone.account_id, domain_script, place, take=take_it)
        except DomainTaken as problem:
            form = Form({**form.values, "take": hostname.strip()})
            form.refuse("hostname", problem.message)
        except (Refused, Conflict, ScriptNotFound) as problem:
            _refuse(form, problem, "hostname", "domain_script")
        else:
            said = f"{domain_script} answers at {hostname.strip()}, within seconds on every node."
            return go_to(request, address_of(zone), said)
    with transaction() as session:
        return show_zone(request, session, zone, domain_form=form)


@router.post("/{zone}/domains/{domain_id}/delete")
def delete_domain(request: Request, zone: ChangedZone, domain_id: Id) -> Response:
    flows.detach_domain(zone.account_id, domain_id)
    return go_to(
        request, address_of(zone), "The custom domain is removed, within seconds on every node."
    )


# --- the end ----------------------------------------------------------------------------------


@router.get("/{zone}/delete")
def confirm(request: Request, session: DB, zone: ShownZone) -> Response:
    routes, domains = leading.sizes(session, [zone])[zone.id]
    here = address_of(zone)
    return render(
        request,
        "zones/delete.html",
        zone=zone,
        here=here,
        routes=routes,
        domains=domains,
        certificates=certificates.count(session, zone),
    )


@router.post("/{zone}/delete")
def destroy(request: Request, zone: ChangedZone) -> Response:
    flows.delete_zone(zone.account_id, zone.id)
    log.info("zone_deleted", zone=zone.name, account_id=zone.account_id)
    return go_to(
        request, "/zones", f"{zone.name} is deleted. Its names lead nowhere within seconds."
    )
