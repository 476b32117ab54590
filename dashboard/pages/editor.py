"""The code editor: edit, preview, compare, save, deploy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from api.db import DB, transaction
from api.deployments import flows, revisions, service as deployments, shares
from api.errors import NewerVersion, NotFound, Refused, TooLarge, Unavailable
from api.scripts import service as scripts
from api.versions import service as versions
from api.versions.bundle import Upload
from api.versions.models import Version
from api.versions.previewing import METHODS, Preview, PreviewRequest, checked_request
from dashboard import flash
from dashboard.addresses import Id, ScriptName, worker_path
from dashboard.editing import (
    Change,
    Complaint,
    File,
    changes_between,
    complaint_of,
    files_of,
    read_files,
    revised,
)
from dashboard.forms import Form
from dashboard.pages.scripts import worker
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

router = APIRouter()
_REQUEST = {"method": "GET", "path": "/", "headers": "", "body": ""}


async def sent_form(request: Request) -> FormData:
    return await request.form()


SentForm = Annotated[FormData, Depends(sent_form)]


@dataclass
class Draft:
    """What somebody is editing."""

    base: Version
    """The version that was opened."""
    running: Version
    files: list[File]
    newest_seen: int
    """The number of the newest version that the person knows of."""
    request: Form
    split: str = ""
    """Which versions share the requests now; empty when one has all of them."""
    complaints: list[Complaint] = field(default_factory=list)
    sent: bool = False
    """Whether it came back from the browser, so that it is stored nowhere."""

    def edit(self, upload: Upload) -> Upload:
        return revised(upload, self.base, self.files)


@router.get("/workers/{name}/edit")
def edit(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    version: Annotated[Id | None, Query()] = None,
) -> Response:
    script = scripts.get(session, member.account, name)
    running = revisions.running(session, script)
    latest = versions.latest(session, script) or running
    base = versions.get(session, script, str(version)) if version else latest
    if not base.main_module:
        raise NotFound(
            f"Version {base.number} of {name} is static files only: there is no code to edit. "
            "Deploy it again with wrangler to change them."
        )
    files = files_of(session, base)
    split = shares.split_words(deployments.current(session, script))
    draft = Draft(base, running, files, script.version_number, Form(_REQUEST), split)
    return _page(request, draft)


@router.post("/workers/{name}/edit")
def save(request: Request, actor: CurrentActor, name: ScriptName, sent: SentForm) -> Response:
    """Store the files as a version, and deploy it if that button was pressed."""
    draft = _sent_draft(actor.account_id, name, sent)
    deploy = sent.get("intent") == "deploy"
    try:
        saved = revisions.revise(
            actor.account_id,
            name,
            draft.edit,
            by=actor,
            message="Edited in the dashboard",
            deploy=deploy,
            newest_seen=draft.newest_seen,
        )
    except NewerVersion as problem:
        with transaction() as session:
            script = scripts.get(session, actor.account_id, name)
            draft.newest_seen = script.version_number
        draft.complaints.append(
            Complaint(f"{problem.message} Save again to put yours after it, or compare first.")
        )
    except (Refused, TooLarge, Unavailable) as problem:
        draft.complaints.append(complaint_of(problem.message, draft.files))
    else:
        return _saved(request, name, saved, deployed=deploy)
    return _page(request, draft, status_code=422)


def _saved(request: Request, name: str, saved: flows.Deployed, *, deployed: bool) -> Response:
    number = saved.version.number
    if deployed:
        address, said = worker_path(name), f"Version {number} is saved and goes to every node now."
    else:
        address = worker_path(name, "versions", saved.version.id)
        said = f"Version {number} is saved. It gets no traffic until you deploy it."
    response = RedirectResponse(address, status_code=303)
    flash.put(request, response, said)
    return response


@router.post("/workers/{name}/edit/preview")
def preview(request: Request, actor: CurrentActor, name: ScriptName, sent: SentForm) -> Response:
    """Run the unsaved files once; nothing is stored."""
    draft = _sent_draft(actor.account_id, name, sent)
    shown = None
    try:
        asked = checked_request(_asked(draft.request))
        shown = revisions.preview(actor.account_id, name, draft.edit, asked)
    except (Refused, TooLarge, Unavailable) as problem:
        draft.complaints.append(complaint_of(problem.message, draft.files))
    return _page(
        request, draft, "editor/_outcome.html", preview=shown, thrown=_thrown(shown, draft)
    )


def _thrown(shown: Preview | None, draft: Draft) -> Complaint | None:
    """What the Worker threw instead of answering, with its place."""
    if shown is None or not shown.threw:
        return None
    said = (line.text for line in shown.logs if line.level == "error")
    found = next((text for text in said if text.startswith("Uncaught ")), None)
    return complaint_of(found, draft.files) if found else None


def _asked(form: Form) -> PreviewRequest:
    lines = [line for line in form.values["headers"].splitlines() if line.strip()]
    pairs = [line.partition(":")[::2] for line in lines]
    headers = [(header.strip(), value.strip()) for header, value in pairs]
    path = form.values["path"].strip() or "/"
    return PreviewRequest(form.values["method"], path, headers, form.values["body"])


@router.post("/workers/{name}/edit/changes")
def compare(request: Request, actor: CurrentActor, name: ScriptName, sent: SentForm) -> Response:
    """How the unsaved files differ from the version that runs."""
    draft = _sent_draft(actor.account_id, name, sent)
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        live = files_of(session, revisions.running(session, script))
    changes = changes_between(live, draft.files)
    return _page(request, draft, "editor/_changes.html", changes=changes)


def _sent_draft(account_id: str, name: str, sent: FormData) -> Draft:
    with transaction() as session:
        script = scripts.get(session, account_id, name)
        base = versions.get(session, script, _uuid(sent))
        request = {key: str(sent.get(key, value)) for key, value in _REQUEST.items()}
        request["body"] = request["body"].replace("\r\n", "\n")
        seen = str(sent.get("newest_seen", ""))
        return Draft(
            base=base,
            running=revisions.running(session, script),
            files=read_files(sent, files_of(session, base)),
            newest_seen=int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 9 else 0,
            request=Form(request),
            split=shares.split_words(deployments.current(session, script)),
            sent=True,
        )


def _uuid(sent: FormData) -> str:
    # Anything else than an id is a version that does not exist.
    return str(sent.get("base", ""))[:36].replace("\0", "")


def _page(
    request: Request,
    draft: Draft,
    fragment: str | None = None,
    *,
    status_code: int = 200,
    preview: Preview | None = None,
    changes: Sequence[Change] | None = None,
    thrown: Complaint | None = None,
) -> Response:
    context: dict[str, Any] = worker(draft.base.script)
    return render(
        request,
        "editor/edit.html",
        fragment,
        status_code=status_code,
        draft=draft,
        methods={method: method for method in METHODS},
        preview=preview,
        changes=changes,
        thrown=thrown,
        **context,
    )
