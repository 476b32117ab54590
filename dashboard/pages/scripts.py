"""Workers: the list, one Worker's overview, its end."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Form as Field, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.accounts.models import Member
from api.db import DB, transaction
from api.deployments import flows, service as deployments
from api.errors import ScriptCalled
from api.pagination import LAST_PAGE, Page
from api.scripts import service as scripts
from api.scripts.models import Script
from api.scripts.urls import hostname, origin, script_url
from api.versions import service as versions
from api.zones import leading
from dashboard import flash, progress
from dashboard.addresses import ScriptName
from dashboard.calls import callers_of, calls_of
from dashboard.forms import Form
from dashboard.hosts import addresses_of
from dashboard.pages.versions import rows_of
from dashboard.paging import Paging
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render
from gallery import templates

PER_PAGE = 25
# On the overview; the versions' own tab has them all.
RECENT_VERSIONS = 5
# In the list; the Worker's own page has them all.
DOMAINS_SHOWN = 2
router = APIRouter()
PageNumber = Annotated[int, Query(ge=1, le=LAST_PAGE)]
Text = Annotated[str, Field()]


@router.get("/workers")
def index(
    request: Request, session: DB, member: CurrentMember, search: str = "", page: PageNumber = 1
) -> Response:
    search = search.replace("\0", "").strip()
    wanted = Page(page=page, per_page=PER_PAGE)
    listing = scripts.page_of_scripts(session, member.account, wanted, search)
    return render(
        request,
        "scripts/index.html",
        "scripts/_list.html",
        workers=[(script, script_url(script)) for script in listing.rows],
        domains=_domains(session, listing.rows),
        paging=Paging(
            "/workers", page, PER_PAGE, listing.total, {"search": search} if search else {}
        ),
        search=search,
    )


def _domains(session: Session, listed: Sequence[Script]) -> dict[str, list[str]]:
    """Addresses of custom domains by the ids of scripts, a few of each."""
    found = leading.addresses(session, [script.id for script in listed])
    return {
        id_: [origin(hostname) for hostname in one.hostnames[:DOMAINS_SHOWN]]
        for id_, one in found.items()
    }


@router.get("/workers/{name}")
def show(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    created: str | None = None,
) -> Response:
    script = scripts.get(session, member.account, name)
    live = deployments.current(session, script)
    rollouts = deployments.rollouts(session, live) if live else []
    recent = versions.page_of_versions(session, script, Page(per_page=RECENT_VERSIONS))
    context: dict[str, Any] = {
        **worker(script),
        "deployment": live,
        "version": live.main if live else None,
        "shares": live.shares if live else [],
        "progress": progress.of(live, rollouts) if live else None,
    }
    if created is not None:
        template = templates.find(created)
        command = template.command(context["address"]) if template else f"curl {context['address']}"
        return render(
            request, "scripts/created.html", template=template, command=command, **context
        )
    rows = rows_of(recent.rows, live, member)
    context["calls"] = calls_of(session, script, [version for version, _ in context["shares"]])
    context["callers"] = callers_of(session, script)
    context["addresses"] = addresses_of(session, script)
    return render(request, "scripts/show.html", rows=rows, version_count=recent.total, **context)


def worker(script: Script) -> dict[str, Any]:
    """What every page of one Worker needs."""
    return {"script": script, "url": script_url(script), "address": origin(hostname(script))}


@router.get("/workers/{name}/delete")
def confirm(request: Request, session: DB, member: CurrentMember, name: ScriptName) -> Response:
    return _confirmation(request, session, member, name, Form())


@router.post("/workers/{name}/delete")
def destroy(
    request: Request,
    actor: CurrentActor,
    name: ScriptName,
    typed_name: Text = "",
    called: Text = "",
) -> Response:
    """`called`: the page has said that other Workers call it."""
    form = Form({"typed_name": typed_name})
    form.require("typed_name", f"Type {name} to delete it.")
    if typed_name.strip() != name:
        form.refuse("typed_name", f"That is not its name. Type {name} to delete it.")
    if form.valid:
        try:
            # The page has said what becomes of a queue that it consumes.
            flows.delete_script(
                actor.account_id, name, by=actor, force=True, unless_called=not called
            )
        except ScriptCalled:
            form.refuse(
                "", "Another Worker calls it since this page was shown. Nothing was deleted."
            )
    if not form.valid:
        with transaction() as session:
            script = scripts.get(session, actor.account_id, name)
            return _asked_again(request, session, script, form)
    response = RedirectResponse("/workers", status_code=303)
    flash.put(
        request, response, f"{name} was deleted. Its live URL stops answering within seconds."
    )
    return response


def _confirmation(request: Request, session: DB, member: Member, name: str, form: Form) -> Response:
    script = scripts.get(session, member.account, name)
    callers = callers_of(session, script)
    return render(request, "scripts/delete.html", form=form, callers=callers, **worker(script))


def _asked_again(request: Request, session: Session, script: Script, form: Form) -> Response:
    callers = callers_of(session, script)
    return render(
        request,
        "scripts/delete.html",
        status_code=422,
        form=form,
        callers=callers,
        **worker(script),
    )
