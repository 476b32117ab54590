"""A Worker's settings: where it answers, and how many cells it gets for how long."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form as Field, Request, Response
from fastapi.responses import RedirectResponse

from api.db import DB, transaction
from api.deployments import flows
from api.scripts import scaling, service as scripts
from api.scripts.models import Script
from dashboard import flash
from dashboard.addresses import ScriptName, worker_path
from dashboard.forms import Form
from dashboard.pages.scripts import worker
from dashboard.session import CurrentActor, CurrentMember
from dashboard.templating import render

router = APIRouter()
Text = Annotated[str, Field()]
# Values that a person may choose; others that the API has set are kept and shown.
IDLE_CHOICES = {
    "": "The node's default",
    "0": "Never",
    "30": "30 seconds",
    "60": "1 minute",
    "300": "5 minutes",
    "900": "15 minutes",
    "3600": "1 hour",
    "86400": "1 day",
}
DIGITS_MAX = 9


@router.get("/workers/{name}/settings")
def edit(request: Request, session: DB, member: CurrentMember, name: ScriptName) -> Response:
    script = scripts.get(session, member.account, name)
    return _page(request, script, _form_of(script.scaling))


def _page(request: Request, script: Script, scaling_form: Form) -> Response:
    return render(
        request,
        "scripts/settings.html",
        status_code=200 if scaling_form.valid else 422,
        form=Form(),
        scaling_form=scaling_form,
        idle_choices=_idle_choices(scaling_form.values["idle_seconds"]),
        cells_max=scaling.CELLS_MAX,
        **worker(script),
    )


def _form_of(current: scaling.Scaling) -> Form:
    return Form(
        {name: "" if value is None else str(value) for name, value in current.model_dump().items()}
    )


def _idle_choices(chosen: str) -> dict[str, str]:
    if chosen in IDLE_CHOICES:
        return IDLE_CHOICES
    return {**IDLE_CHOICES, chosen: f"{chosen} seconds"}


@router.post("/workers/{name}/subdomain")
def update_subdomain(
    request: Request, actor: CurrentActor, name: ScriptName, enabled: Annotated[bool, Field()]
) -> Response:
    flows.set_subdomain(actor.account_id, name, enabled=enabled)
    said = "answers at its live URL" if enabled else "no longer answers at its live URL"
    return _back(request, name, f"{name} {said}, within seconds on every node.")


@router.post("/workers/{name}/settings")
def update_scaling(
    request: Request,
    actor: CurrentActor,
    name: ScriptName,
    idle_seconds: Text = "",
    max_cells: Text = "",
) -> Response:
    form = Form({"idle_seconds": idle_seconds.strip(), "max_cells": max_cells.strip()})
    changes: dict[str, Any] = {
        "idle_seconds": _whole_number(form, "idle_seconds", scaling.check_idle_seconds),
        "max_cells": _whole_number(form, "max_cells", scaling.check_max_cells),
    }
    if not form.valid:
        with transaction() as session:
            return _page(request, scripts.get(session, actor.account_id, name), form)
    flows.change_settings(actor.account_id, name, {"scaling": changes})
    return _back(request, name, f"Saved. Every node scales {name} like this within seconds.")


def _whole_number(form: Form, name: str, check: Callable[[int], int]) -> int | None:
    """The number in a field, None for an empty one; refused in the form when it is none."""
    text = form.values[name]
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        form.refuse(name, "Enter a whole number, or nothing for the node's default.")
        return None
    try:
        return check(int(text))
    except ValueError as error:
        sentence = str(error)
        form.refuse(name, f"{sentence[0].upper()}{sentence[1:]}.")
        return None


def _back(request: Request, name: str, said: str) -> Response:
    response = RedirectResponse(worker_path(name, "settings"), status_code=303)
    flash.put(request, response, said)
    return response
