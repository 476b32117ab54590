from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from api.accounts.endpoints import paged
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.errors import NotSupported
from api.pagination import LAST_PAGE, Page, RequestedPage
from api.scripts import service as scripts
from api.scripts.endpoints import ScriptName
from api.security import CurrentAccount, CurrentActor
from api.zones import flows, leading
from api.zones.leading import Changes
from api.zones.models import CustomDomain
from api.zones.schemas import (
    ChangesetOut,
    DomainId,
    DomainIn,
    DomainOut,
    DomainRecordsIn,
    WantedDomain,
    WantedDomains,
    domain_out,
)

router = APIRouter(prefix="/accounts/{account_id}/workers", tags=["custom domains"])
# Two paths for the same: the one that Cloudflare documents, and the one that wrangler asks.
DOMAINS, RECORDS = "/domains", "/domains/records"
DomainIdPath = Annotated[str, Path(description="A custom domain's id: 32 hex digits.")]


def _filters(
    zone_id: str = "",
    zone_name: str = "",
    service: str = "",
    hostname: str = "",
) -> dict[str, str]:
    return {
        "zone_id": zone_id,
        "zone_name": zone_name.lower(),
        "service": service,
        "hostname": hostname.lower(),
    }


Filters = Annotated[dict[str, str], Depends(_filters)]


@router.get(DOMAINS, response_model=PagedEnvelope[list[DomainOut]])
def list_domains(
    session: DB, account: CurrentAccount, page: RequestedPage, filters: Filters
) -> dict[str, Any]:
    """The custom domains of an account, by host name."""
    listing = leading.page_of_domains(session, account, page, filters)
    return paged(listing, [domain_out(domain) for domain in listing.rows])


@router.get(RECORDS, response_model=PagedEnvelope[list[DomainOut]], include_in_schema=False)
def list_records(
    session: DB,
    account: CurrentAccount,
    filters: Filters,
    page: Annotated[int, Query(ge=0, le=LAST_PAGE)] = 1,
    per_page: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """The same for wrangler, which calls the first page 0."""
    return list_domains(session, account, Page(page=max(page, 1), per_page=per_page), filters)


@router.put(RECORDS, response_model=Envelope[DomainOut], include_in_schema=False)
@router.put(DOMAINS, response_model=Envelope[DomainOut])
def attach_domain(actor: CurrentActor, body: DomainIn) -> dict[str, Any]:
    """Make a host name lead to a script, also one that led to another script of the account."""
    words = _refuse_switches([body])
    led = flows.attach_domain(actor.account_id, body.service, body.place(), take=True)
    domain = next(one for one in led.domains if one.hostname == leading.hostname_of(body.hostname))
    return answer(domain_out(domain), [*flows.settled(led.deployments), *words])


@router.get(RECORDS + "/{domain_id}", response_model=Envelope[DomainOut], include_in_schema=False)
@router.get(DOMAINS + "/{domain_id}", response_model=Envelope[DomainOut])
def get_domain(session: DB, account: CurrentAccount, domain_id: DomainIdPath) -> dict[str, Any]:
    return answer(domain_out(leading.get_domain(session, account, domain_id)))


@router.delete(RECORDS + "/{domain_id}", response_model=Envelope[DomainId], include_in_schema=False)
@router.delete(DOMAINS + "/{domain_id}", response_model=Envelope[DomainId])
def detach_domain(actor: CurrentActor, domain_id: DomainIdPath) -> dict[str, Any]:
    told = flows.detach_domain(actor.account_id, domain_id)
    return answer({"id": domain_id}, flows.settled(told))


@router.post("/scripts/{name}/domains/changeset", response_model=Envelope[ChangesetOut])
def preview_changes(
    session: DB,
    account: CurrentAccount,
    name: ScriptName,
    body: WantedDomains,
    replace_state: bool = False,
) -> dict[str, Any]:
    """What making these host names the script's own would change; nothing is."""
    _refuse_switches(body.root)
    script = scripts.get(session, account, name)
    wanted = [domain.place() for domain in body.root]
    changes = leading.domain_changes(session, script, wanted, replace=replace_state)
    return answer(_changeset(name, changes))


@router.put("/scripts/{name}/domains/records", response_model=Envelope[list[DomainOut]])
def put_records(actor: CurrentActor, name: ScriptName, body: DomainRecordsIn) -> dict[str, Any]:
    """Make these host names the script's own, as `wrangler deploy` does."""
    words = _refuse_switches(body.origins)
    led = flows.attach_domains(
        actor.account_id,
        name,
        [domain.place() for domain in body.origins],
        replace=body.override_scope,
        take=body.override_existing_origin,
    )
    shown = [domain_out(domain) for domain in led.domains]
    return answer(shown, [*flows.settled(led.deployments), *words])


def _refuse_switches(wanted: list[WantedDomain] | list[DomainIn]) -> list[str]:
    """Refuse what is not there; words about what stays off."""
    if any(domain.enabled is False for domain in wanted):
        raise NotSupported(
            "A custom domain that is switched off (`enabled: false`) is not supported by Skerry yet: "
            "leave it out instead. Nothing was changed."
        )
    if any(domain.previews_enabled for domain in wanted):
        return ["Preview URLs are not supported by Skerry yet and stay off."]
    return []


def _changeset(name: str, changes: Changes) -> dict[str, Any]:
    def updated(domain: CustomDomain) -> dict[str, Any]:
        return {**domain_out(domain), "modified": domain.script.name != name}

    return {
        "added": [
            {"hostname": host, "service": name, "zone_id": zone.id, "zone_name": zone.name}
            for host, zone in changes.added
        ],
        "removed": [domain_out(domain) for domain in changes.removed],
        "updated": [updated(domain) for domain in changes.updated],
        "conflicting": [],
    }
