from typing import Annotated, Any

from fastapi import APIRouter, Path

from api.accounts.endpoints import paged
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import RouteInvalid, ScriptNotFound
from api.pagination import RequestedPage
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.scripts.schemas import ENVIRONMENT
from api.security import CurrentAccount, CurrentActor, CurrentToken, OwnAccountId
from api.zones import flows, leading, service
from api.zones.endpoints.zones import ZoneIdPath
from api.zones.schemas import (
    RouteId,
    RouteIn,
    RouteOfScript,
    RouteOut,
    WantedRoutes,
    route_of_script,
    route_out,
)

router = APIRouter(tags=["routes"])
ROUTES = "/zones/{zone_id}/workers/routes"
WORKERS = "/accounts/{account_id}/workers"
RouteIdPath = Annotated[str, Path(description="A route's id: 32 hex digits.")]


@router.get(ROUTES, response_model=PagedEnvelope[list[RouteOut]])
def list_routes(
    session: DB, token: CurrentToken, zone_id: ZoneIdPath, page: RequestedPage
) -> dict[str, Any]:
    """The routes of a zone, by pattern."""
    zone = service.get(session, token.account_id, zone_id)
    listing = leading.page_of_routes(session, zone, page)
    return paged(listing, [route_out(route) for route in listing.rows])


@router.post(ROUTES, response_model=Envelope[RouteOut])
def create_route(account_id: OwnAccountId, zone_id: ZoneIdPath, body: RouteIn) -> dict[str, Any]:
    """Lead requests that fit a pattern to a script."""
    led = flows.create_route(account_id, zone_id, body.pattern, _script_of(body))
    return answer(route_out(led.routes[0]), flows.settled(led.deployments))


@router.get(ROUTES + "/{route_id}", response_model=Envelope[RouteOut])
def get_route(
    session: DB, token: CurrentToken, zone_id: ZoneIdPath, route_id: RouteIdPath
) -> dict[str, Any]:
    zone = service.get(session, token.account_id, zone_id)
    return answer(route_out(leading.get_route(session, zone, route_id)))


@router.put(ROUTES + "/{route_id}", response_model=Envelope[RouteOut])
def update_route(
    account_id: OwnAccountId, zone_id: ZoneIdPath, route_id: RouteIdPath, body: RouteIn
) -> dict[str, Any]:
    """Give a route another pattern, or another script."""
    led = flows.update_route(account_id, zone_id, route_id, body.pattern, _script_of(body))
    return answer(route_out(led.routes[0]), flows.settled(led.deployments))


@router.delete(ROUTES + "/{route_id}", response_model=Envelope[RouteId])
def delete_route(
    account_id: OwnAccountId, zone_id: ZoneIdPath, route_id: RouteIdPath
) -> dict[str, Any]:
    told = flows.delete_route(account_id, zone_id, route_id)
    return answer({"id": route_id}, flows.settled(told))


def _script_of(body: RouteIn) -> str:
    if not body.script:
        raise RouteInvalid(
            "A route needs the script that answers: Skerry has no origin behind it that requests could go "
            "on to. Nothing was changed."
        )
    return body.script


@router.get(WORKERS + "/scripts/{name}/routes", response_model=Envelope[list[RouteOfScript]])
def list_routes_of_script(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """The routes that lead to a script, in all zones."""
    script = scripts.get(session, account, name)
    return answer([route_of_script(one) for one in leading.routes_of_script(session, script)])


@router.put(WORKERS + "/scripts/{name}/routes", response_model=Envelope[list[RouteOfScript]])
def replace_routes(actor: CurrentActor, name: ScriptName, body: WantedRoutes) -> dict[str, Any]:
    """Replace all routes of a script, as `wrangler deploy` does."""
    wanted = [route.place() for route in body.root]
    led = flows.replace_routes(actor.account_id, name, wanted)
    return answer([route_of_script(one) for one in led.routes], flows.settled(led.deployments))


@router.get(
    WORKERS + "/services/{name}/environments/{environment}/routes",
    response_model=Envelope[list[RouteOfScript]],
)
def list_routes_of_service(
    session: DB, account: CurrentAccount, name: ScriptName, environment: str
) -> dict[str, Any]:
    """The same at the path that wrangler asks, with the environment that it was told of."""
    if environment != ENVIRONMENT:
        raise ScriptNotFound(f"{name} has no environment {environment[:80]}, only {ENVIRONMENT}.")
    return list_routes_of_script(session, account, name)
