"""Versions of a Worker: the list and one version's contents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.accounts.models import Member
from api.assets import service as assets
from api.db import DB
from api.deployments import service as deployments
from api.deployments.models import Deployment
from api.pagination import LAST_PAGE, Page
from api.scripts import service as scripts
from api.scripts.urls import hostname, origin, script_url
from api.versions import service as versions
from api.versions.models import Version
from dashboard.addresses import Id, ScriptName, with_query, worker_path
from dashboard.paging import Paging
from dashboard.session import CurrentMember
from dashboard.templating import render

PER_PAGE = 25
FILES_SHOWN = 200
SOURCES = {"wrangler": "wrangler", "dash": "dashboard", "api": "API"}
ROLL_BACK = "Roll back to"
router = APIRouter()


@dataclass(frozen=True)
class VersionRow:
    """A version as a line of a table."""

    version: Version
    share: int | None
    """Percent of the traffic, None when it has no part in the deployment."""
    action: str | None
    """What the button that deploys it says; None for the version that is live."""
    part: str
    """The page that deploys it with a share of the requests; empty while nobody gets the others."""
    author: str
    source: str


def rows_of(found: Sequence[Version], live: Deployment | None, member: Member) -> list[VersionRow]:
    shares = {version.id: percentage for version, percentage in live.shares} if live else {}
    return [_row(version, shares.get(version.id), live, member) for version in found]


def verb_of(version: Version, live: Deployment | None) -> str:
    """What it is to send all requests to a version: a roll back while a newer one gets some."""
    numbers = [one.number for one, share in live.shares if share] if live else []
    return ROLL_BACK if version.number < max(numbers, default=0) else "Deploy"


def _row(
    version: Version, share: int | None, live: Deployment | None, member: Member
) -> VersionRow:
    part = {"version_id": version.id}
    return VersionRow(
        version=version,
        share=share,
        action=None if share == 100 else f"{verb_of(version, live)} version {version.number}",
        part=with_query(worker_path(version.script.name, "deployments", "new"), part)
        if live
        else "",
        author=author(version, member),
        source=SOURCES.get(version.source, version.source),
    )


def author(made: Version | Deployment, member: Member) -> str:
    return "you" if made.author_id == member.id else made.author_email


@router.get("/workers/{name}/versions")
def index(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
) -> Response:
    script = scripts.get(session, member.account, name)
    listing = versions.page_of_versions(session, script, Page(page=page, per_page=PER_PAGE))
    return render(
        request,
        "versions/index.html",
        script=script,
        url=script_url(script),
        rows=rows_of(listing.rows, deployments.current(session, script), member),
        paging=Paging(worker_path(name, "versions"), page, PER_PAGE, listing.total),
    )


@router.get("/workers/{name}/versions/{version_id}")
def show(
    request: Request, session: DB, member: CurrentMember, name: ScriptName, version_id: Id
) -> Response:
    script = scripts.get(session, member.account, name)
    version = versions.get(session, script, str(version_id))
    live = deployments.current(session, script)
    found = versions.assets_of(version)
    return render(
        request,
        "versions/show.html",
        files=assets.page_of_files(session, found, Page(per_page=FILES_SHOWN)) if found else None,
        asset_config=found.config if found else {},
        script=script,
        url=script_url(script),
        row=rows_of([version], live, member)[0],
        address=origin(hostname(script)),
    )
