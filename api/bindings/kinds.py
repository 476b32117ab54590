"""What a script can find on `env`: which kinds Skerry has, and what each must carry.

The list of Cloudflare's kinds is cloudflare-api.md, section 3.
"""

import json
import re
from typing import Any

from api.errors import NotSupported, ScriptRejected
from api.scripts.schemas import ENVIRONMENT
from api.settings import settings

SECRET_KINDS = frozenset({"secret_text", "secret_key"})
VARIABLE_KINDS = frozenset({"plain_text", "json"})
# Content of a service-worker script, referred to by the name of a part of the upload.
PART_KINDS = frozenset({"wasm_module", "text_blob", "data_blob"})
# What leads to something of the account's, and the field that says to what.
RESOURCE_KINDS = {
    "kv_namespace": "namespace_id",
    "d1": "id",
    "r2_bucket": "bucket_name",
    "queue": "queue_name",
}
SUPPORTED_KINDS = (
    VARIABLE_KINDS
    | PART_KINDS
    | RESOURCE_KINDS.keys()
    | {"secret_text", "version_metadata", "inherit", "assets"}
    | {"durable_object_namespace", "service", "ratelimit", "analytics_engine", "workflow"}
)
# What may lead to another script: itself, its Durable Objects, its workflows.
CALLING_KINDS = frozenset({"service", "durable_object_namespace", "workflow"})

# Seconds that a rate limit may count over.
RATE_PERIODS = (10, 60)
# Of a dataset of Analytics Engine, which is a table in its SQL.
DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# Of a workflow, which is a name of a folder on the node.
WORKFLOW_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
_RATE_NAMESPACE = re.compile(r"[1-9][0-9]{0,18}")
_NAME_LENGTH_MAX = 512
# Anything goes into `env`, but control characters and half a surrogate pair only ever come from a
# mistake.
_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]+")


def check_bindings(bindings: Any) -> list[dict[str, Any]]:
    """The bindings of an upload's metadata, if Skerry can give all of them.

    Raises NotSupported with the name of the first binding that Skerry does not have yet, and
    ScriptRejected for one that is malformed or too large.
    """
    if not isinstance(bindings, list):
        raise ScriptRejected("`bindings` must be a list.")
    limit = settings().variable_count_limit
    if len(bindings) > limit:
        raise ScriptRejected(
            f"{len(bindings)} bindings are too many: a script has at most {limit}."
        )
    checked = [_check(binding) for binding in bindings]
    names = [binding["name"] for binding in checked]
    for name in names:
        if names.count(name) > 1:
            raise ScriptRejected(f"Two bindings are called {name}. Rename one of them.")
    return checked


def _check(binding: Any) -> dict[str, Any]:
    if not isinstance(binding, dict):
        raise ScriptRejected("Each binding must be an object with `name` and `type`.")
    name, kind = binding.get("name"), binding.get("type")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH_MAX:
        raise ScriptRejected(f"A binding needs a `name` of 1 to {_NAME_LENGTH_MAX} characters.")
    if not isinstance(kind, str):
        raise ScriptRejected(f"Binding {name} needs a `type`.")
    if kind not in SUPPORTED_KINDS:
        raise NotSupported(
            f"Binding {name} of type {kind} is not supported by Skerry yet. Nothing was changed. "
            "Remove it from the configuration to deploy; docs/compatibility.md lists what works."
        )
    _CHECKS[kind](name, binding)
    kept = ("name", "type", *_FIELDS[kind])
    return {field: binding[field] for field in kept if field in binding}


def _nothing(name: str, binding: dict[str, Any]) -> None:
    del name, binding


def _check_inherit(name: str, binding: dict[str, Any]) -> None:
    if not isinstance(binding.get("old_name", ""), str):
        raise ScriptRejected(f"`old_name` of binding {name} must be text.")


def _check_text(name: str, binding: dict[str, Any]) -> None:
    text = binding.get("text")
    # A secret without text means "keep it" and is turned into `inherit` before this.
    if not isinstance(text, str):
        raise ScriptRejected(f"Binding {name} needs a `text`.")
    _refuse_nul(name, text)
    _check_size(name, len(text.encode("utf-8", "surrogatepass")))


def _check_json(name: str, binding: dict[str, Any]) -> None:
    if "json" not in binding:
        raise ScriptRejected(f"Binding {name} needs a `json` value.")
    _refuse_nul(name, text := json.dumps(binding["json"]).replace("\\u0000", "\0"))
    _check_size(name, len(text.encode()))


def _check_part(name: str, binding: dict[str, Any]) -> None:
    if not isinstance(binding.get("part"), str):
        raise ScriptRejected(f"Binding {name} needs a `part`: the name of a part of the upload.")


def _check_resource(name: str, binding: dict[str, Any]) -> None:
    field = RESOURCE_KINDS[binding["type"]]
    if not isinstance(binding.get(field), str) or not binding[field]:
        # wrangler explains this very sentence.
        raise ScriptRejected(
            f"binding {name} of type {binding['type']} must have a valid `{field}` specified"
        )


def _check_queue(name: str, binding: dict[str, Any]) -> None:
    _check_resource(name, binding)
    delay = binding.get("delivery_delay", 0)
    if isinstance(delay, bool) or not isinstance(delay, int) or not 0 <= delay <= 86_400:
        raise ScriptRejected(
            f"`delivery_delay` of binding {name} must be between 0 and 86400 seconds."
        )


def _check_object_class(name: str, binding: dict[str, Any]) -> None:
    for field in ("class_name", "script_name"):
        value = binding.get(field, "-" if field == "script_name" else None)
        if not isinstance(value, str) or not value or "\0" in value:
            raise ScriptRejected(
                f"binding {name} of type {binding['type']} must have a valid `{field}` specified"
            )
    _check_environment(name, binding)


def _check_environment(name: str, binding: dict[str, Any]) -> None:
    environment = binding.get("environment") or ""
    if not isinstance(environment, str) or "\0" in environment:
        raise ScriptRejected(f"`environment` of binding {name} must be text.")


def _check_workflow(name: str, binding: dict[str, Any]) -> None:
    _check_object_class(name, binding)
    workflow = binding.get("workflow_name")
    if not isinstance(workflow, str) or not WORKFLOW_NAME.fullmatch(workflow):
        raise ScriptRejected(
            f"binding {name} of type workflow must have a valid `workflow_name` specified: 1 to 64 letters, "
            "digits, underscores or hyphens, of which the first is no hyphen"
        )


def _check_service(name: str, binding: dict[str, Any]) -> None:
    if binding.get("cross_account_grant"):
        raise NotSupported(
            f"Binding {name} leads to another account, which is not supported by Skerry. Nothing was "
            "changed. Scripts of one account can call each other."
        )
    if not isinstance(binding.get("service"), str) or not binding["service"]:
        raise ScriptRejected(
            f"binding {name} of type service must have a valid `service` specified"
        )
    for field in ("environment", "entrypoint"):
        if not isinstance(binding.get(field) or "", str):
            raise ScriptRejected(f"`{field}` of binding {name} must be text.")
    props = binding.get("props")
    if props is not None and not isinstance(props, dict):
        raise ScriptRejected(f"`props` of binding {name} must be an object.")
    text = json.dumps([binding.get(field) for field in _SERVICE_FIELDS])
    _refuse_nul(name, text.replace("\\u0000", "\0"))
    _check_size(name, len(text.encode()))


def callee_of(binding: dict[str, Any]) -> str:
    """The name of the script that a binding leads to by name; empty for one that leads to none."""
    environment = binding.get("environment") or ENVIRONMENT
    script = named_script(binding)
    return f"{script}-{environment}" if script and environment != ENVIRONMENT else script


def named_script(binding: dict[str, Any]) -> str:
    """The same as the binding says it, whatever its environment."""
    return str(binding.get("service") or binding.get("script_name") or "")


def _check_ratelimit(name: str, binding: dict[str, Any]) -> None:
    namespace, simple = binding.get("namespace_id"), binding.get("simple")
    if not isinstance(namespace, str) or not _RATE_NAMESPACE.fullmatch(namespace):
        raise ScriptRejected(f"Binding {name} needs a `namespace_id`: a positive whole number.")
    if not isinstance(simple, dict) or not simple.keys() <= {"limit", "period"}:
        raise ScriptRejected(f"Binding {name} needs `simple`: an object with `limit` and `period`.")
    limit, period = simple.get("limit"), simple.get("period")
    if type(limit) is not int or not 0 < limit < 2**32:
        raise ScriptRejected(f"`simple.limit` of binding {name} must be a positive whole number.")
    if type(period) is not int or period not in RATE_PERIODS:
        raise ScriptRejected(f"`simple.period` of binding {name} must be 10 or 60 seconds.")


def _check_dataset(name: str, binding: dict[str, Any]) -> None:
    dataset = binding.setdefault("dataset", name)
    if not isinstance(dataset, str) or not DATASET_NAME.fullmatch(dataset):
        raise ScriptRejected(
            f"`dataset` of binding {name} must be letters, digits and underscores, at most 64, and "
            "begin with a letter."
        )


def _refuse_nul(name: str, text: str) -> None:
    # Postgres stores no NUL in text or JSON; saying so here beats a failure there.
    if "\0" in text:
        raise ScriptRejected(f"Binding {name} holds a NUL character, which cannot be stored.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ScriptRejected(f"Binding {name} is not valid Unicode: {error.reason}.") from error


def _check_size(name: str, size_bytes: int) -> None:
    limit = settings().variable_size_limit_bytes
    if size_bytes > limit:
        raise ScriptRejected(
            f"Binding {name} has {size_bytes:,} bytes; a variable or secret has at most {limit:,}."
        )


_SERVICE_FIELDS = ("service", "environment", "entrypoint", "props")
_CHECKS = {
    "plain_text": _check_text,
    "secret_text": _check_text,
    "json": _check_json,
    "version_metadata": _nothing,
    "assets": _nothing,
    "inherit": _check_inherit,
    "durable_object_namespace": _check_object_class,
    "workflow": _check_workflow,
    "service": _check_service,
    "ratelimit": _check_ratelimit,
    "analytics_engine": _check_dataset,
    **dict.fromkeys(PART_KINDS, _check_part),
    **dict.fromkeys(RESOURCE_KINDS, _check_resource),
    "queue": _check_queue,
}
# What a binding carries besides name and type; whatever else was sent is not kept.
_FIELDS: dict[str, tuple[str, ...]] = {
    "plain_text": ("text",),
    "secret_text": ("text",),
    "json": ("json",),
    "version_metadata": (),
    "assets": (),
    "inherit": ("old_name",),
    "durable_object_namespace": ("class_name", "script_name", "environment"),
    "workflow": ("workflow_name", "class_name", "script_name"),
    "service": _SERVICE_FIELDS,
    "ratelimit": ("namespace_id", "simple"),
    "analytics_engine": ("dataset",),
    **dict.fromkeys(PART_KINDS, ("part",)),
    **{kind: (field,) for kind, field in RESOURCE_KINDS.items()},
    "queue": ("queue_name", "delivery_delay"),
}
