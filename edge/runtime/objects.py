"""Durable Objects in a cell's configuration: which classes have them, and where they are kept.

A namespace's id is workerd's `uniqueKey`: objects and their ids stay what they are when a class gets
another name, or another script takes it over. It also makes the ids in the cells of other scripts that bind
the class: their binding is a module of ours, which asks the gate in the cell that has the objects.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from edge.runtime.messages import MODULES_SERVICE
from edge.runtime.ways import Way
from edge.spec import Spec

BINDING_TYPE = "durable_object_namespace"
DISK_SERVICE = "skerry-objects"
# Of a binding to another script's class: the module, and the worker beside it that makes ids.
MODULE, MODULE_FILE = "skerry:objects", "objects.js"
IDS_FILE, _IDS_CLASS = "ids.js", "Nobody"
# Where others enter a script that has objects.
GATE_SERVICE, GATE_FILE, _GATE_ENTRYPOINT = "skerry-gate", "gate.js", "Objects"


def add_objects(worker: Any, spec: Spec, on_disk: bool) -> None:
    """Without a disk they are in memory, where there is no SQL: enough for a script that is only
    started."""
    if not spec.objects:
        return
    namespaces = worker.init("durableObjectNamespaces", len(spec.objects))
    for namespace, one in zip(namespaces, spec.objects, strict=True):
        namespace.className = one.class_name
        namespace.uniqueKey = one.namespace_id
        namespace.enableSql = one.sqlite
    if on_disk:
        worker.durableObjectStorage.localDisk = DISK_SERVICE
    else:
        worker.durableObjectStorage.inMemory = None


def fill_disk(service: Any, folder: str) -> None:
    """The folder of everything that the script owns; no binding leads to it."""
    service.name = DISK_SERVICE
    disk = service.init("disk")
    disk.path, disk.writable, disk.allowDotfiles = folder, True, True


# Of other scripts


def bind_others(slot: Any, number: int) -> Any:
    """Make an empty slot with a name a binding to another script's class; gives what is to lead there."""
    wrapped = slot.init("wrapped")
    wrapped.moduleName = MODULE
    inner = wrapped.init("innerBindings", 3)
    inner[0].name, inner[1].name, inner[2].name = "FETCHER", "IDS", "NAME"
    inner[2].text = slot.name
    namespace = inner[1].init("durableObjectNamespace")
    namespace.className, namespace.serviceName = _IDS_CLASS, _ids_service(number)
    return inner[0].init("service")


def ids_of_others(spec: Spec) -> list[tuple[int, str]]:
    """Place and namespace's id of the bindings to other scripts' classes."""
    return [
        (number, str(one.options["namespace_id"]))
        for number, one in enumerate(spec.bindings)
        if one.type == BINDING_TYPE and one.leads_to_script
    ]


def fill_ids(
    service: Any, number: int, namespace_id: str, own_worker: Callable[[Any, str], Any]
) -> None:
    """A worker with the same namespace, and nothing in it."""
    service.name = _ids_service(number)
    worker = own_worker(service, IDS_FILE)
    namespace = worker.init("durableObjectNamespaces", 1)[0]
    namespace.className, namespace.uniqueKey = _IDS_CLASS, namespace_id or "nothing"
    worker.durableObjectStorage.inMemory = None


def _ids_service(number: int) -> str:
    return f"skerry-ids-{number}"


def gate_way(class_name: str) -> Way:
    return Way(GATE_SERVICE, _GATE_ENTRYPOINT, json.dumps({"class_name": class_name}))


def fill_gate(
    service: Any, spec: Spec, entered: Iterable[str], own_worker: Callable[[Any, str], Any]
) -> None:
    """Before the classes that others bind; what this version does not have says so when it is asked."""
    service.name = GATE_SERVICE
    classes = sorted({one.class_name for one in spec.objects} & set(entered))
    bindings = own_worker(service, GATE_FILE).init("bindings", len(classes))
    for binding, class_name in zip(bindings, classes, strict=True):
        binding.name = class_name
        namespace = binding.init("durableObjectNamespace")
        namespace.className, namespace.serviceName = class_name, MODULES_SERVICE
