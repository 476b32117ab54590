"""Create a Worker: pick a template, name it, answer what it asks, deploy."""

from dataclasses import dataclass, replace
from typing import Annotated

import structlog
from fastapi import APIRouter, Form as Field, Request, Response
from fastapi.responses import RedirectResponse

from api import ids
from api.accounts.models import Account
from api.assets import service as asset_service
from api.bindings.kinds import RESOURCE_KINDS
from api.d1 import service as d1
from api.db import DB, transaction
from api.deployments import flows
from api.errors import (
    AlreadyExists,
    BucketExists,
    NotFound,
    QueueExists,
    Refused,
    ScriptNameInvalid,
    Unavailable,
)
from api.objects.service import BINDING
from api.objects.steps import Migrations, Step
from api.queues import service as queues
from api.r2 import service as r2
from api.scripts import service as scripts
from api.scripts.models import Script
from api.scripts.urls import script_url
from api.versions import service as versions
from api.versions.bundle import NewResource, Upload, UploadedModule
from api.workflows.service import BINDING as WORKFLOW, NAME_LENGTH_MAX
from dashboard import asked
from dashboard.addresses import with_query, worker_path
from dashboard.forms import Form, SentFields
from dashboard.session import CurrentActor, CurrentMember
from dashboard.suggestions import suggest_name
from dashboard.templating import render
from gallery import templates
from gallery.templates import Template

log = structlog.get_logger()
router = APIRouter()
# Stands for the name in the live URL's pattern; no name can hold it.
_PLACE = "*"
_NAMES = {"r2_bucket": r2.name_like, "queue": queues.name_like}


@dataclass(frozen=True)
class Filter:
    """A link that shows one category of the gallery."""

    label: str
    address: str
    count: int
    chosen: bool


@router.get("/workers/new")
def index(
    request: Request, member: CurrentMember, search: str = "", category: str = ""
) -> Response:
    del member
    found = [one for one in templates.load_all() if one.matches(search)]
    return render(
        request,
        "create/gallery.html",
        "create/_gallery.html",
        templates=[one for one in found if one.matches("", category)],
        filters=_filters(found, search, category),
        categories=templates.CATEGORIES,
        search=search,
        category=category,
    )


def _filters(found: list[Template], search: str, chosen: str) -> list[Filter]:
    """All, then every category, each with what the search finds there."""
    listed = {"": "All", **templates.CATEGORIES}
    return [
        Filter(
            label=label,
            address=with_query("/workers/new", {"category": category, "search": search}),
            count=sum(one.matches("", category) for one in found),
            chosen=category == chosen,
        )
        for category, label in listed.items()
    ]


@router.get("/workers/new/{template}")
def new(request: Request, session: DB, member: CurrentMember, template: str) -> Response:
    chosen = _template(template)
    name = suggest_name(session, member.account, chosen.name)
    form = Form({"name": name, **asked.offered(chosen)})
    return _page(request, chosen, form, member.account)


@router.post("/workers/new/{template}")
def create(request: Request, actor: CurrentActor, template: str, sent: SentFields) -> Response:
    chosen, form = _template(template), Form(sent)
    name = form.require("name", "Give the Worker a name.").strip()
    asked.check(chosen, form)
    if form.valid:
        try:
            upload = _with_resources(_upload(chosen, form), chosen, name)
            flows.create_worker(
                actor.account_id,
                name,
                upload,
                by=actor,
                crons=list(chosen.crons),
                consumes=_consumed(upload, chosen),
            )
        except ScriptNameInvalid as problem:
            form.refuse("name", problem.message)
        except AlreadyExists:
            log.info("name_in_use", template=chosen.name)
            return _exists(request, chosen, name)
        except (Refused, Unavailable, BucketExists, QueueExists) as problem:
            form.refuse("", problem.message)
    if not form.valid:
        return _refused(request, chosen, form, actor.account_id)
    return RedirectResponse(f"{worker_path(name)}?created={chosen.name}", status_code=303)


@router.post("/workers/new/{template}/removals")
def take_back(
    request: Request, actor: CurrentActor, template: str, name: Annotated[str, Field()]
) -> Response:
    """Remove a Worker that a node could not start, and show its form again as it was sent."""
    chosen = _template(template)
    with transaction() as session:
        version = versions.latest(session, scripts.get(session, actor.account_id, name))
        typed = asked.answered(chosen, version) if version else {}
    form = Form({"name": name, **typed})
    form.refuse("", flows.remove_failed(actor.account_id, name, by=actor))
    return _refused(request, chosen, form, actor.account_id)


def _template(name: str) -> Template:
    template = templates.find(name)
    if template is None:
        raise NotFound("There is no template of that name. The gallery shows all there are.")
    return template


def _upload(template: Template, form: Form) -> Upload:
    try:
        code = template.bundle()
    except templates.NotBuiltError as error:
        raise Unavailable(f"{error} Nothing was created.") from error
    assets = None
    if template.assets is not None:
        with transaction() as session:
            assets = asset_service.store_files(session, template.files, dict(template.assets))
    return Upload(
        assets=assets,
        main_module=template.main_module,
        modules=[UploadedModule(template.main_module, "esm", code)],
        bindings=asked.bindings(template, form),
        compatibility_date=template.compatibility_date,
        compatibility_flags=list(template.compatibility_flags),
        message=f"Created from the template {template.label}",
    )


def _with_resources(upload: Upload, template: Template, name: str) -> Upload:
    """The upload with what is made together with the Worker, called as wrangler would call it."""
    bindings, makes = list(upload.bindings), []
    kept = [one for one in template.resources if one.class_name]
    classes = {one.name: one.class_name for one in kept if one.type == BINDING}
    bindings += [
        {"type": BINDING, "name": binding, "class_name": class_name}
        for binding, class_name in classes.items()
    ]
    bindings += [
        {
            "type": one.type,
            "name": one.name,
            "class_name": one.class_name,
            "workflow_name": f"{name}-{one.name.lower().replace('_', '-')}"[:NAME_LENGTH_MAX],
        }
        for one in kept
        if one.type == WORKFLOW
    ]
    if classes:
        step = Step(new_sqlite=tuple(classes.values()))
        upload = replace(upload, migrations=Migrations(None, "v1", (step,)))
    for binding in template.resources:
        if binding.class_name:
            continue
        title = f"{name}-{binding.name.lower().replace('_', '-')}"
        id_ = _id_of(binding.type, title)
        if binding.type == "d1":
            title = title[: d1.NAME_LENGTH_MAX]
        makes.append(NewResource(binding.type, id_, title))
        bindings.append(
            {"type": binding.type, "name": binding.name, RESOURCE_KINDS[binding.type]: id_}
        )
    made = [{"type": one.type, "id": one.id} for one in makes]
    options = {**upload.options, "made": made} if made else upload.options
    return replace(upload, bindings=bindings, makes=tuple(makes), options=options)


def _consumed(upload: Upload, template: Template) -> list[str]:
    """The names of the queues whose messages the Worker is given."""
    bound = {one["name"]: one for one in upload.bindings}
    return [bound[name]["queue_name"] for name in template.consumes]


def _id_of(type_: str, title: str) -> str:
    """Buckets and queues are addressed by their names, everything else by an id."""
    if type_ in _NAMES:
        return _NAMES[type_](title)
    return ids.uuid4() if type_ == "d1" else ids.hex32()


def _refused(request: Request, template: Template, form: Form, account_id: str) -> Response:
    with transaction() as session:
        account = session.get_one(Account, account_id)
        return _page(request, template, asked.without_secrets(template, form), account)


def _page(request: Request, template: Template, form: Form, account: Account) -> Response:
    imagined = Script(name=_PLACE, account=account, subdomain_enabled=True)
    url_after = (script_url(imagined) or "").partition(_PLACE)[2]
    return render(
        request,
        "create/new.html",
        status_code=200 if form.valid else 422,
        template=template,
        field_name=asked.field_name,
        form=form,
        url_after=url_after,
    )


def _exists(request: Request, template: Template, name: str) -> Response:
    return render(request, "create/exists.html", status_code=409, template=template, name=name)
