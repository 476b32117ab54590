"""A Worker's settings: where it answers, its cells, their limits, what it runs with."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form as Field, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from api.db import DB, transaction
from api.deployments import flows, revisions, service as deployments, shares
from api.errors import NewerVersion, Refused
from api.scripts import scaling, service as scripts
from api.scripts.models import Script
from api.versions.limits import CPU_MS_MAX, check_cpu_ms, cpu_ms_of
from api.versions.models import Version
from dashboard import flash
from dashboard.addresses import ScriptName, worker_path
from dashboard.calls import callers_of
from dashboard.forms import Form
from dashboard.hosts import addresses_of
from dashboard.pages.scripts import worker
from dashboard.pages.variables import variables_of
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
    return page(request, session, script)


def page(
    request: Request,
    session: Session,
    script: Script,
    *,
    scaling_form: Form | None = None,
    limits_form: Form | None = None,
    compatibility_form: Form | None = None,
    domain_form: Form | None = None,
    route_form: Form | None = None,
) -> Response:
    """The settings; with a form of them that was refused, if one was."""
    version = revisions.running(session, script) if script.version_number else None
    refused = scaling_form or limits_form or compatibility_form or domain_form or route_form
    scaling_form = scaling_form or _form_of(script.scaling)
    return render(
        request,
        "scripts/settings.html",
        status_code=422 if refused else 200,
        form=Form(),
        version=version,
        split=shares.split_words(deployments.current(session, script)),
        variables=variables_of(version.bindings) if version else [],
        compatibility_form=compatibility_form or _compatibility_form(version),
        limits_form=limits_form or _limits_form(version),
        cpu_ms_max=CPU_MS_MAX,
        scaling_form=scaling_form,
        idle_choices=_idle_choices(scaling_form.values["idle_seconds"]),
        cells_max=scaling.CELLS_MAX,
        callers=callers_of(session, script),
        addresses=addresses_of(session, script),
        domain_form=domain_form or Form(),
        route_form=route_form or Form(),
        **worker(script),
    )


def _form_of(current: scaling.Scaling) -> Form:
    return Form(
        {name: "" if value is None else str(value) for name, value in current.model_dump().items()}
    )


def _limits_form(version: Version | None) -> Form:
    cpu_ms = cpu_ms_of(version.options) if version else None
    return Form({"cpu_ms": "" if cpu_ms is None else str(cpu_ms)})


def _compatibility_form(version: Version | None) -> Form:
    if version is None:
        return Form()
    flags = " ".join(version.compatibility_flags)
    return Form({"compatibility_date": version.compatibility_date, "compatibility_flags": flags})


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
            script = scripts.get(session, actor.account_id, name)
            return page(request, session, script, scaling_form=form)
    flows.change_settings(actor.account_id, name, {"scaling": changes})
    return _back(request, name, f"Saved. Every node scales {name} like this within seconds.")


@router.post("/workers/{name}/limits")
def update_limits(
    request: Request, actor: CurrentActor, name: ScriptName, cpu_ms: Text = ""
) -> Response:
    form = Form({"cpu_ms": cpu_ms.strip()})
    wanted = _whole_number(form, "cpu_ms", check_cpu_ms)
    if form.valid:
        try:
            saved = revisions.set_cpu_limit(actor.account_id, name, wanted, by=actor)
        except (Refused, NewerVersion) as problem:
            form.refuse("", problem.message)
        else:
            number = saved.version.number
            return _back(request, name, f"Saved. Version {number} goes to every node now.")
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        return page(request, session, script, limits_form=form)


@router.post("/workers/{name}/compatibility")
def update_compatibility(
    request: Request,
    actor: CurrentActor,
    name: ScriptName,
    compatibility_date: Text = "",
    compatibility_flags: Text = "",
) -> Response:
    form = Form(
        {
            "compatibility_date": compatibility_date.strip(),
            "compatibility_flags": compatibility_flags.strip(),
        }
    )
    date = form.require("compatibility_date", "Enter a date.")
    flags = compatibility_flags.replace(",", " ").split()
    if form.valid:
        try:
            saved = revisions.set_compatibility(actor.account_id, name, date, flags, by=actor)
        except (Refused, NewerVersion) as problem:
            form.refuse(_field_of(problem.message), problem.message)
        else:
            number = saved.version.number
            return _back(request, name, f"Saved. Version {number} goes to every node now.")
    with transaction() as session:
        script = scripts.get(session, actor.account_id, name)
        return page(request, session, script, compatibility_form=form)


def _field_of(message: str) -> str:
    """The field that the runtime's complaint is about; none when the code does not start."""
    words = message.casefold()
    if "compatibility flag" in words:
        return "compatibility_flags"
    return "compatibility_date" if "compatibility date" in words else ""


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
