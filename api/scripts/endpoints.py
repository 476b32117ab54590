from typing import Annotated, Any

from fastapi import APIRouter, Path

from api.accounts.endpoints import paged
from api.clock import iso
from api.db import DB
from api.envelope import Envelope, PagedEnvelope, answer
from api.pagination import RequestedPage
from api.scripts import service, urls
from api.scripts.models import Script
from api.scripts.schemas import (
    ENVIRONMENT,
    ScriptOut,
    ScriptSettings,
    ServiceOut,
    SubdomainState,
    WorkerOut,
)
from api.security import CurrentAccount

router = APIRouter(prefix="/accounts/{account_id}", tags=["scripts"])
ScriptName = Annotated[str, Path(description="The Worker's name.", examples=["my-app"])]


def times_of(script: Script) -> dict[str, str]:
    return {"created_on": iso(script.created_at), "modified_on": iso(script.modified_at)}


def tags_of(script: Script) -> list[str]:
    tags = script.settings.get("tags")
    return tags if isinstance(tags, list) else []


def script_out(script: Script) -> dict[str, Any]:
    return {
        "id": script.name,
        "tag": script.id,
        "tags": tags_of(script),
        # By it wrangler knows which migrations of Durable Objects are still to be sent.
        "migration_tag": script.migration_tag,
        "home_node": script.home_node,
        **times_of(script),
    }


@router.get("/workers/scripts", response_model=PagedEnvelope[list[ScriptOut]])
def list_scripts(session: DB, account: CurrentAccount, page: RequestedPage) -> dict[str, Any]:
    listing = service.page_of_scripts(session, account, page)
    return paged(listing, [script_out(script) for script in listing.rows])


@router.get("/workers/services/{name}", response_model=Envelope[ServiceOut])
def get_service(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """The script as wrangler asks for it before a deploy."""
    script = service.get(session, account, name)
    environment = {
        "environment": ENVIRONMENT,
        **times_of(script),
        # Always "wrangler": with "dash" it would compare configurations and ask questions.
        "script": {**script_out(script), "last_deployed_from": "wrangler"},
    }
    return answer(
        {
            "id": script.name,
            **times_of(script),
            "default_environment": environment,
            "environments": [environment],
        }
    )


@router.get("/workers/workers", response_model=PagedEnvelope[list[WorkerOut]])
def list_workers(session: DB, account: CurrentAccount, page: RequestedPage) -> dict[str, Any]:
    listing = service.page_of_scripts(session, account, page)
    return paged(listing, [worker_out(script) for script in listing.rows])


@router.get("/workers/workers/{name}", response_model=Envelope[WorkerOut])
def get_worker(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """The script with its live URL, which newer wranglers print."""
    return answer(worker_out(service.get(session, account, name)))


def worker_out(script: Script) -> dict[str, Any]:
    return {
        "id": script.id,
        "name": script.name,
        "created_on": iso(script.created_at),
        "updated_on": iso(script.modified_at),
        "subdomain": {
            "enabled": script.subdomain_enabled,
            "previews_enabled": False,
            # Also while it is off: wrangler reads it before it switches the subdomain on, and would
            # print a workers.dev name without it.
            "url": urls.origin(urls.hostname(script)),
        },
        "tags": tags_of(script),
        "home_node": script.home_node,
    }


@router.get("/workers/scripts/{name}/subdomain", response_model=Envelope[SubdomainState])
def get_script_subdomain(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    script = service.get(session, account, name)
    return answer({"enabled": script.subdomain_enabled, "previews_enabled": False})


def settings_of(script: Script) -> dict[str, Any]:
    """Everything that is kept, with the scaling in full."""
    return {**script.settings, "scaling": script.scaling.model_dump()}


@router.get("/workers/scripts/{name}/script-settings", response_model=Envelope[ScriptSettings])
def get_script_settings(session: DB, account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    return answer(settings_of(service.get(session, account, name)))


# Lists that wrangler reads while it deletes a script. They are empty because nothing of the kind can
# be made yet; making one is answered with "not supported by Skerry yet".


@router.get("/workers/tails/by-consumer/{name}", response_model=Envelope[list[dict[str, Any]]])
def list_tail_producers(account: CurrentAccount, name: ScriptName) -> dict[str, Any]:
    """Scripts that send their tails to this one."""
    del account, name
    return answer([])
