from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from api.accounts.endpoints import paged
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import NotAllowed
from api.pagination import Listing, RequestedPage
from api.security import CurrentToken, OwnAccountId, source_of
from api.zones import flows, service
from api.zones.models import Zone
from api.zones.schemas import ZoneId, ZoneIn, ZoneOut, zone_out

router = APIRouter(prefix="/zones", tags=["zones"])
ZoneIdPath = Annotated[str, Path(description="A zone's id: 32 hex digits.", examples=["0" * 32])]


@router.get("", response_model=PagedEnvelope[list[ZoneOut]])
def list_zones(
    request: Request,
    session: DB,
    token: CurrentToken,
    page: RequestedPage,
    name: Annotated[str, Query(description="Exactly this name.")] = "",
    account_id: Annotated[str, Query(alias="account.id")] = "",
    status: Annotated[str, Query(description="`active` or `pending`.")] = "",
) -> dict[str, Any]:
    """The zones of the token's account.

    wrangler looks for the zone of a host by leaving out label after label, and has advice about Cloudflare
    for whoever has none; so it is told at once.
    """
    if account_id not in ("", token.account_id):
        empty: Listing[Zone] = Listing([], 0, page)
        return paged(empty, [])
    listing = service.page_of_zones(session, token.account_id, page, name=name, status=status)
    if name and not listing.total and source_of(request) == "wrangler":
        service.refuse_uncovered(session, token.account_id, name)
    return paged(listing, [zone_out(zone) for zone in listing.rows])


@router.post("", response_model=Envelope[ZoneOut])
def create_zone(account_id: OwnAccountId, body: ZoneIn) -> dict[str, Any]:
    """Add a domain. Where it has to be proven it is pending until its TXT record is found."""
    if body.account and body.account.id != account_id:
        raise NotAllowed("Authentication error: this token has no access to that account.")
    zone = flows.create_zone(account_id, body.name)
    return answer(zone_out(zone), _words(zone))


@router.get("/{zone_id}", response_model=Envelope[ZoneOut])
def get_zone(session: DB, token: CurrentToken, zone_id: ZoneIdPath) -> dict[str, Any]:
    return answer(zone_out(service.get(session, token.account_id, zone_id)))


@router.delete("/{zone_id}", response_model=Envelope[ZoneId])
def delete_zone(account_id: OwnAccountId, zone_id: ZoneIdPath) -> dict[str, Any]:
    """Delete a zone with all its routes and custom domains."""
    told = flows.delete_zone(account_id, zone_id)
    return answer({"id": zone_id}, flows.settled(told))


@router.put("/{zone_id}/activation_check", response_model=Envelope[ZoneId])
def check_activation(account_id: OwnAccountId, zone_id: ZoneIdPath) -> dict[str, Any]:
    """Look for a pending zone's TXT record now; the message says what was found."""
    zone = flows.verify_zone(account_id, zone_id)
    return answer({"id": zone.id}, _words(zone))


def _words(zone: Zone) -> list[str]:
    if zone.active:
        return [f"{zone.name} is active."]
    wanted = f"{zone.name} is pending until the TXT record {zone.challenge} holds {zone.token}."
    return [f"{wanted} {zone.problem}".strip()]
