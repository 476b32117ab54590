"""Variables and secrets of a Worker: what the running version finds on `env`."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form as Field, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.bindings.kinds import SECRET_KINDS, VARIABLE_KINDS, check_bindings
from api.bindings.models import Binding
from api.db import DB, transaction
from api.deployments import revisions
from api.deployments.flows import Deployed
from api.errors import AlreadyExists, BindingNotFound, NewerVersion, Refused
from api.scripts import service as scripts
from dashboard import flash
from dashboard.addresses import ScriptName, worker_path
from dashboard.forms import Form
from dashboard.pages.scripts import worker
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

router = APIRouter()
Text = Annotated[str, Field()]
KINDS = {"plain_text": "Text", "json": "JSON", "secret_text": "Secret"}


@dataclass(frozen=True)
class Variable:
    """A variable or secret as a line of a table."""

    name: str
    kind: str
    text: str
    """Empty for a secret: nobody is shown one."""
    secret: bool


def variables_of(bindings: list[Binding]) -> list[Variable]:
    """Those a person may change here; the others come with the code."""
    changeable = VARIABLE_KINDS | SECRET_KINDS
    return [_variable(binding) for binding in bindings if binding.type in changeable]


def _variable(binding: Binding) -> Variable:
    secret = binding.type in SECRET_KINDS
    kind = KINDS.get(binding.type, binding.type)
    return Variable(binding.name, kind, "" if secret else _text_of(binding), secret)


def _text_of(binding: Binding) -> str:
    if binding.type == "json":
        return json.dumps(binding.attributes["json"], indent=2, ensure_ascii=False)
    return str(binding.attributes["text"])


@router.get("/workers/{name}/variables/new")
def new(request: Request, session: DB, member: CurrentMember, name: ScriptName) -> Response:
    script = scripts.get(session, member.account, name)
    revisions.running(session, script)
    form = Form({"kind": "plain_text"})
    return render(request, "variables/edit.html", **worker(script), form=form, replacing="")


@router.get("/workers/{name}/variables/edit")
def edit(
    request: Request,
    session: DB,
    member: CurrentMember,
    name: ScriptName,
    variable: Annotated[str, Query()],
) -> Response:
    script = scripts.get(session, member.account, name)
    found = [b for b in revisions.running(session, script).bindings if b.name == variable]
    if not found or found[0].type not in KINDS:
        raise BindingNotFound(f"There is no variable or secret called {variable} any more.")
    text = "" if found[0].type in SECRET_KINDS else _text_of(found[0])
    form = Form({"kind": found[0].type, "name": variable, "text": text})
    return render(request, "variables/edit.html", **worker(script), form=form, replacing=variable)


@router.post("/workers/{name}/variables")
def save(
    request: Request,
    actor: CurrentActor,
    name: ScriptName,
    kind: Text = "",
    variable_name: Annotated[str, Field(alias="name")] = "",
    text: Text = "",
    replacing: Text = "",
) -> Response:
    # Browsers end the lines of a text area as mail does.
    text = text.replace("\r\n", "\n")
    form = Form({"kind": kind, "name": variable_name.strip(), "text": text})
    binding = _binding(form, keeps_secret=bool(replacing))
    saved = _saved(
        form,
        lambda: revisions.put_binding(
            actor.account_id, name, binding, replacing=replacing or None, by=actor
        ),
    )
    if saved is None:
        return _refused(request, actor.account_id, name, form, replacing)
    return _back(request, name, saved, f"{form.values['name']} is saved")


def _saved(form: Form, change: Callable[[], Deployed]) -> Deployed | None:
    """What came of the change, unless the form is refused by us or by the flow."""
    if not form.valid:
        return None
    try:
        return change()
    except AlreadyExists as problem:
        form.refuse("name", problem.message)
    except (Refused, BindingNotFound, NewerVersion) as problem:
        form.refuse("", problem.message)
    return None


def _refused(request: Request, account_id: str, name: str, form: Form, replacing: str) -> Response:
    secret = form.values["kind"] in SECRET_KINDS
    shown = Form({**form.values, "text": "" if secret else form.values["text"]}, form.errors)
    with transaction() as session:
        script = scripts.get(session, account_id, name)
        return render(
            request,
            "variables/edit.html",
            status_code=422,
            form=shown,
            replacing=replacing,
            **worker(script),
        )


def _binding(form: Form, *, keeps_secret: bool) -> dict[str, Any]:
    """The binding that the form describes; what will not do is refused in it."""
    name, kind, text = (
        form.require("name", "Give it a name."),
        form.values["kind"],
        form.values["text"],
    )
    if kind not in KINDS:
        form.refuse("kind", "Choose text, JSON or secret.")
        return {}
    binding: dict[str, Any] = {"name": name, "type": kind}
    if kind == "json":
        try:
            binding["json"] = json.loads(text)
        except (ValueError, RecursionError) as error:
            form.refuse("text", f"This is not JSON: {error}.")
    elif text or not (kind == "secret_text" and keeps_secret):
        binding["text"] = text
    if kind == "secret_text" and not (text or keeps_secret):
        form.refuse("text", "Enter the secret.")
    if form.valid:
        _check(form, binding)
    return binding


def _check(form: Form, binding: dict[str, Any]) -> None:
    try:
        check_bindings([{"name": binding["name"], "type": "version_metadata"}])
    except Refused as problem:
        form.refuse("name", problem.message)
        return
    try:
        check_bindings([{"text": "", **binding}])
    except Refused as problem:
        form.refuse("text", problem.message)


@router.post("/workers/{name}/variables/remove")
def remove(request: Request, actor: CurrentActor, name: ScriptName, variable: Text) -> Response:
    removed = revisions.remove_binding(actor.account_id, name, variable, by=actor)
    return _back(request, name, removed, f"{variable} is removed")


def _back(request: Request, name: str, saved: Deployed, said: str) -> Response:
    response = RedirectResponse(worker_path(name, "settings"), status_code=303)
    flash.put(request, response, f"{said}. Version {saved.version.number} goes to every node now.")
    return response
