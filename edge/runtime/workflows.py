"""Workflows in a cell: the runtime's own engine beside the script, and a desk of ours where the agent asks
about instances.

Each instance is a Durable Object of the engine's, whose class calls the script's (see the header of
`/workerd/workflows.js` in the binary).
"""

import json
from collections.abc import Callable
from typing import Any

from edge.runtime.messages import MODULES_SERVICE
from edge.runtime.objects import DISK_SERVICE
from edge.runtime.ways import Way
from edge.spec import Spec, Workflow

BINDING_TYPE = "workflow"
ENGINE_SERVICE = "skerry-workflows"
DESK_SERVICE = "skerry-workflows-desk"
DESK_FILE = "workflows.js"
# The platform worker's way to the desk.
DESK_BINDING = "WORKFLOWS"
_API = "WorkflowBinding"

# As the runtime gives it to its own engine: a later date words errors differently, and so would Cloudflare's.
_ENGINE_DATE = "2026-01-01"
# How the engine words an error that is not to be tried again: from this date on as it was thrown.
_PRESERVED_FROM = "2026-05-14"
_PRESERVE = "workflows_preserve_non_retryable_error_message"
_REPLACE = "workflows_replace_non_retryable_error_message"


def binds_workflows(spec: Spec) -> bool:
    return bool(spec.workflows) or any(
        one.type == BINDING_TYPE and not one.leads_to_script for one in spec.bindings
    )


def add_workflows(worker: Any, spec: Spec) -> None:
    """To the script: which of its classes the engine runs."""
    if not spec.workflows:
        return
    engine = worker.workflowsEngine
    engine.actorClass.name, engine.actorClass.entrypoint = ENGINE_SERVICE, "Engine"
    slots = engine.init("workflows", len(spec.workflows))
    for slot, one in zip(slots, spec.workflows, strict=True):
        slot.className, slot.name = one.class_name, one.name
        _way_to_api(one.name).fill(slot.bindingService)


def bind(slot: Any, name: str, spec: Spec) -> None:
    """The script's binding to its own."""
    way_in(spec, name).fill(bind_others(slot))


def bind_others(slot: Any) -> Any:
    """Make an empty slot with a name a binding to a workflow; gives what is to lead there."""
    wrapped = slot.init("wrapped")
    wrapped.moduleName = "cloudflare-internal:workflows-api"
    inner = wrapped.init("innerBindings", 1)[0]
    inner.name = "fetcher"
    return inner.init("service")


def way_in(spec: Spec, name: str) -> Way:
    """To a workflow of the script's; one that it does not have now says so when used."""
    if any(one.name == name for one in spec.workflows):
        return _way_to_api(name)
    return Way(DESK_SERVICE, "Missing", json.dumps({"workflow": name}))


def bind_desk(slot: Any) -> None:
    slot.name = DESK_BINDING
    slot.init("service").name = DESK_SERVICE


def fill_engine(service: Any, spec: Spec) -> None:
    service.name = ENGINE_SERVICE
    worker = service.init("worker")
    worker.compatibilityDate = _ENGINE_DATE
    worker.compatibilityFlags = ["experimental", *_wording(spec)]
    module = worker.init("modules", 1)[0]
    module.name, module.bundled = "workflows.js", "/workerd/workflows.js"
    worker.durableObjectStorage.localDisk = DISK_SERVICE  # it has no other
    bindings = worker.init("bindings", len(spec.workflows) + 1)
    bindings[0].name = "WORKFLOWS"
    bindings[0].json = json.dumps({one.name: dict(one.limits) for one in spec.workflows})
    for binding, one in zip(list(bindings)[1:], spec.workflows, strict=True):
        _bind_instances(binding, "workflow", one)


def fill_desk(service: Any, spec: Spec, own_worker: Callable[[Any, str], Any]) -> None:
    service.name = DESK_SERVICE
    worker = own_worker(service, DESK_FILE)
    bindings = worker.init("bindings", 2 * len(spec.workflows))
    for number, one in enumerate(spec.workflows):
        _bind_instances(bindings[2 * number], "instances", one)
        api = bindings[2 * number + 1]
        api.name = f"api:{one.name}"
        _way_to_api(one.name).fill(api.init("service"))


def _bind_instances(binding: Any, prefix: str, one: Workflow) -> None:
    binding.name = f"{prefix}:{one.name}"
    namespace = binding.init("durableObjectNamespace")
    namespace.className, namespace.serviceName = one.folder, MODULES_SERVICE


def _way_to_api(name: str) -> Way:
    return Way(ENGINE_SERVICE, _API, json.dumps({"workflow": name}))


def _wording(spec: Spec) -> list[str]:
    """What the script's date and flags say; the engine has a date of its own."""
    flags = spec.compatibility_flags
    preserved = _PRESERVE in flags or spec.compatibility_date >= _PRESERVED_FROM
    return [_PRESERVE] if preserved and _REPLACE not in flags else []
