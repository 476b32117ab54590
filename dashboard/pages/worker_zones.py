"""A Worker's routes and custom domains, on its settings; the zone follows from the host name."""

from typing import Annotated

from fastapi import APIRouter, Form as Field, Path, Request, Response
from fastapi.responses import RedirectResponse

from api.db import transaction
from api.errors import Conflict, DomainNotFound, DomainTaken, Refused, RouteNotFound, ZoneMissing
from api.scripts import service as scripts
from api.zones import flows, leading, patterns, service
from api.zones.service import Place
from dashboard import flash
from dashboard.addresses import ScriptName, worker_path
from dashboard.forms import Form
from dashboard.pages.script_settings import page
from dashboard.session import CurrentActor

router = APIRouter(prefix="/workers/{name}/settings")
Text = Annotated[str, Field()]
Id = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_NO_ZONE = "None of your zones has this host name. Add its domain under Zones first."


@router.post("/domains")
def add_domain(
    request: Request, actor: CurrentActor, name: ScriptName, hostname: Text = "", take: Text = ""
) -> Response:
    """`take` is the host name that another Worker may lose: what was asked, not what was typed after."""
    form = Form({"hostname": hostname})
    wanted = form.require("hostname", "Enter a host name, such as shop.example.com.").strip()
    if form.valid:
        try:
            flows.attach_domain(actor.account_id, name, Place(wanted), take=take == wanted)
        except ZoneMissing:
            form.refuse("hostname", _NO_ZONE)
        except DomainTaken as problem:
            form = Form({"hostname": hostname, "take": wanted})
            form.refuse("hostname", problem.message)
        except (Refused, Conflict) as problem:
            form.refuse("hostname", problem.message)
        else:
            return _back(
                request, name, f"{name} answers at {wanted}, within seconds on every node."
            )
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        return page(request, session, script, domain_form=form)


@router.post("/domains/{domain_id}/delete")
def delete_domain(
    request: Request, actor: CurrentActor, name: ScriptName, domain_id: Id
) -> Response:
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        domain = leading.get_domain(session, actor.account_id, domain_id)
        if domain.script_id != script.id:
            raise DomainNotFound(f"{domain.hostname} is not a custom domain of {name} any more.")
    flows.detach_domain(actor.account_id, domain_id)
    return _back(request, name, f"{domain.hostname} is removed, within seconds on every node.")


@router.post("/routes")
def add_route(
    request: Request, actor: CurrentActor, name: ScriptName, pattern: Text = ""
) -> Response:
    form = Form({"pattern": pattern})
    wanted = form.require("pattern", "Enter a pattern, such as example.com/api/*.")
    if form.valid:
        try:
            read = patterns.read(wanted)
            with transaction() as session:
                zone = service.zone_of(session, actor.account_id, read.base, Place(wanted))
            flows.create_route(actor.account_id, zone.id, wanted, name)
        except ZoneMissing:
            form.refuse("pattern", _NO_ZONE)
        except (Refused, Conflict) as problem:
            form.refuse("pattern", problem.message)
        else:
            return _back(request, name, f"{read} leads to {name}, within seconds on every node.")
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        return page(request, session, script, route_form=form)


@router.post("/routes/{route_id}/delete")
def delete_route(request: Request, actor: CurrentActor, name: ScriptName, route_id: Id) -> Response:
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        found = {route.id: route for route in leading.routes_of_script(session, script)}
    if route_id not in found:
        raise RouteNotFound(f"{name} has no such route any more.")
    flows.delete_route(actor.account_id, found[route_id].zone_id, route_id)
    return _back(
        request, name, f"{found[route_id].pattern} is deleted, within seconds on every node."
    )


def _back(request: Request, name: str, said: str) -> Response:
    response = RedirectResponse(worker_path(name, "settings"), status_code=303)
    flash.put(request, response, said)
    return response
