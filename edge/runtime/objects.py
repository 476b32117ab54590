"""Durable Objects in a cell's configuration: which classes have them, and where they are kept.

A namespace's id is workerd's `uniqueKey`: objects and their ids stay what they are when a class gets
another name, or another script takes it over.
"""

from typing import Any

from edge.spec import Spec

DISK_SERVICE = "skerry-objects"


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
