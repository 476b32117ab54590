"""Create a Worker: pick a template, name it, deploy."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Form as Field, Request, Response
from fastapi.responses import RedirectResponse

from api.accounts.models import Account
from api.db import DB, transaction
from api.deployments import flows
from api.errors import AlreadyExists, NotFound, Refused, ScriptNameInvalid, Unavailable
from api.scripts.models import Script
from api.scripts.urls import script_url
from api.versions.bundle import Upload, UploadedModule
from dashboard.addresses import worker_path
from dashboard.forms import Form
from dashboard.session import CurrentActor, CurrentMember
from dashboard.suggestions import suggest_name
from dashboard.templating import render
from gallery import templates
from gallery.templates import Template

log = structlog.get_logger()
router = APIRouter()
# Stands for the name in the live URL's pattern; no name can hold it.
_PLACE = "*"


@router.get("/workers/new")
def index(request: Request, member: CurrentMember, search: str = "") -> Response:
    del member
    found = [template for template in templates.load_all() if template.matches(search)]
    return render(
        request, "create/gallery.html", "create/_gallery.html", templates=found, search=search
    )


@router.get("/workers/new/{template}")
def new(request: Request, session: DB, member: CurrentMember, template: str) -> Response:
    chosen = _template(template)
    name = suggest_name(session, member.account, chosen.name)
    return _page(request, chosen, Form({"name": name}), member.account)


@router.post("/workers/new/{template}")
def create(
    request: Request, actor: CurrentActor, template: str, name: Annotated[str, Field()] = ""
) -> Response:
    chosen = _template(template)
    form = Form({"name": name})
    name = form.require("name", "Give the Worker a name.").strip()
    if form.valid:
        try:
            flows.create_worker(actor.account_id, name, _upload(chosen), by=actor)
        except ScriptNameInvalid as problem:
            form.refuse("name", problem.message)
        except AlreadyExists:
            log.info("name_in_use", template=chosen.name)
            return _exists(request, chosen, name)
        except Refused as problem:
            form.refuse("", problem.message)
    if not form.valid:
        with transaction() as session:
            return _page(request, chosen, form, session.get_one(Account, actor.account_id))
    return RedirectResponse(f"{worker_path(name)}?created", status_code=303)


def _template(name: str) -> Template:
    template = templates.find(name)
    if template is None:
        raise NotFound("There is no template of that name. The gallery shows all there are.")
    return template


def _upload(template: Template) -> Upload:
    try:
        code = template.bundle()
    except templates.NotBuiltError as error:
        raise Unavailable(f"{error} Nothing was created.") from error
    return Upload(
        main_module=template.main_module,
        modules=[UploadedModule(template.main_module, "esm", code)],
        bindings=[
            {"type": "plain_text", "name": variable.name, "text": variable.text}
            for variable in template.variables
        ],
        compatibility_date=template.compatibility_date,
        compatibility_flags=list(template.compatibility_flags),
        message=f"Created from the template {template.label}",
    )


def _page(request: Request, template: Template, form: Form, account: Account) -> Response:
    imagined = Script(name=_PLACE, account=account, subdomain_enabled=True)
    url_after = (script_url(imagined) or "").partition(_PLACE)[2]
    return render(
        request,
        "create/new.html",
        status_code=200 if form.valid else 422,
        template=template,
        form=form,
        url_after=url_after,
    )


def _exists(request: Request, template: Template, name: str) -> Response:
    return render(request, "create/exists.html", status_code=409, template=template, name=name)
