"""What a template asks for, as fields of the form that creates a Worker from it."""

import secrets
from typing import Any

from api.bindings.kinds import check_bindings
from api.versions.models import Version
from dashboard.forms import Form
from gallery.templates import Binding, Template

# Characters of URL-safe base64 for 192 random bits: nobody guesses it, and it fits in a header.
GENERATED_BYTES = 24


def field_name(binding: Binding) -> str:
    """The field's name; no binding can be taken for a field of the form's own."""
    return f"binding-{binding.name}"


def offered(template: Template) -> dict[str, str]:
    """What stands in the fields at first."""
    return {field_name(binding): _first_value(binding) for binding in template.asked}


def _first_value(binding: Binding) -> str:
    return secrets.token_urlsafe(GENERATED_BYTES) if binding.generated else binding.default


def check(template: Template, form: Form) -> None:
    """Refuse every field whose value will not do."""
    for binding in template.asked:
        name = field_name(binding)
        value = form.values.get(name, "").strip()
        if value or binding.required:
            value = form.require(name, f"{binding.label} is missing.").strip()
        if value and not binding.fits(value):
            form.refuse(name, f"{binding.label}: give {binding.expects}.")


def bindings(template: Template, form: Form) -> list[dict[str, Any]]:
    """The bindings of the version. What was left empty is not on `env` at all."""
    values = {one: form.values.get(field_name(one), "").strip() for one in template.asked}
    return check_bindings(
        [
            {"type": binding.type, "name": binding.name, "text": value}
            for binding, value in values.items()
            if value
        ]
    )


def answered(template: Template, version: Version) -> dict[str, str]:
    """The fields as they were when the version was made from them; secrets do not come back."""
    texts = {one.name: one.attributes.get("text", "") for one in version.bindings}
    return {field_name(one): texts.get(one.name, "") for one in template.asked}


def without_secrets(template: Template, form: Form) -> Form:
    """The refused form as it may be shown: what was typed is kept, but for secrets.

    A page that holds a secret leaves it in caches and histories; the field says why it is not there.
    """
    shown = Form(dict(form.values), form.errors)
    for binding in template.asked:
        name = field_name(binding)
        if binding.secret:
            shown.values = {**shown.values, name: _first_value(binding)}
            again = "Copy this new one, or type yours" if binding.generated else "Type it"
            wrong = shown.errors.get(name, f"{binding.label}: a secret is not sent back.")
            shown.errors[name] = f"{wrong} {again} again."
    return shown
