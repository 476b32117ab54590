"""The configuration of a store: a cell with a server of ours, and an account's data of one kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.runtime.binary import Runtime
from edge.runtime.config import (
    CONTROL_SOCKET,
    MAIN_SOCKET,
    PLATFORM_DATE,
    PLATFORM_FILES,
    add_platform,
    add_socket,
    new_config,
    no_internet,
)
from edge.runtime.stores.cluster import Bucket
from edge.runtime.stores.kind import Kind

FILES = PLATFORM_FILES.parent / "store"
SHARED = "shared.js"
# What all of them import.
COMMON = ["door.js", "counting.js", SHARED]
SERVICE = "store"
# The folders of an account's data of one kind.
OBJECTS, BLOBS = "objects", "blobs"
# What a node has of objects that are in a bucket: a copy.
COPIES = "copies"


def store_config(
    runtime: Runtime,
    kind: Kind,
    folder: str,
    key: bytes,
    digest: str,
    heap_mib: int,
    texts: Mapping[str, str],
    account_id: str,
    bucket: Bucket | None,
) -> bytes:
    """`folder` is where the store finds its data, `key` what opens a binding, `digest` what its
    probe answers, `texts` what else it finds on its `env`; its data is the bucket's, if there is one."""
    config = new_config(runtime, heap_mib)
    services = config.init("services", 5)
    services[0].name, services[1].name = OBJECTS, BLOBS
    if bucket:
        bucket.join(config, account_id, kind.name)
        _disk(services[0], f"{folder}/{COPIES}")
        services[1].init("bucket").path = BLOBS
        texts = {**texts, "SHARED": "yes"}
    else:
        _disk(services[0], f"{folder}/{OBJECTS}")
        _disk(services[1], f"{folder}/{BLOBS}")
    _server(services[2], kind, key, texts)
    add_platform(services[3], SERVICE, digest)
    no_internet(services[4])
    sockets = config.init("sockets", 2)
    add_socket(sockets[0], MAIN_SOCKET, SERVICE)
    add_socket(sockets[1], CONTROL_SOCKET, services[3].name)
    return bytes(config.to_bytes())


def _disk(service: Any, path: str) -> None:
    disk = service.init("disk")
    disk.path, disk.writable = path, True
    # A write that never ended leaves a file whose name begins with a dot.
    disk.allowDotfiles = True


def source_files(kind: Kind) -> list[Path]:
    """What a store is made of besides the runtime."""
    return [*(FILES / name for name in _own_files(kind)), Path(__file__)]


def _own_files(kind: Kind) -> list[str]:
    """The first one is the main module."""
    return [kind.module, *COMMON, *kind.parts]


def _server(service: Any, kind: Kind, key: bytes, texts: Mapping[str, str]) -> None:
    service.name = SERVICE
    worker = service.init("worker")
    worker.compatibilityDate = PLATFORM_DATE
    worker.compatibilityFlags = list(kind.flags)
    _modules(worker, kind)
    objects = worker.init("durableObjectNamespaces", len(kind.objects))
    for entry, name in zip(objects, kind.objects.values(), strict=True):
        # The key names the folder of its objects: another one would start empty.
        entry.className, entry.uniqueKey, entry.enableSql = name, name, True
    if kind.objects:
        worker.durableObjectStorage.localDisk = OBJECTS
    count = len(kind.objects) + len(texts) + (2 if kind.blobs else 1)
    slots = iter(worker.init("bindings", count))
    _key(next(slots), key)
    for name, class_name in kind.objects.items():
        slot = next(slots)
        slot.name = name
        slot.init("durableObjectNamespace").className = class_name
    for name, text in texts.items():
        slot = next(slots)
        slot.name, slot.text = name, text
    if kind.blobs:
        slot = next(slots)
        slot.name = kind.blobs
        slot.init("service").name = BLOBS


def _modules(worker: Any, kind: Kind) -> None:
    own = _own_files(kind)
    modules = worker.init("modules", len(own) + len(kind.bundled))
    for slot, name in zip(modules, own, strict=False):
        slot.name, slot.esModule = name, (FILES / name).read_text()
    for slot, (name, path) in zip(list(modules)[len(own) :], kind.bundled.items(), strict=True):
        slot.name, slot.bundled = name, path


def _key(slot: Any, key: bytes) -> None:
    """The server can check with it and not read it."""
    slot.name = "KEY"
    entry = slot.init("cryptoKey")
    entry.raw = key
    entry.algorithm.json = '{"name": "HMAC", "hash": "SHA-256"}'
    entry.extractable = False
    entry.usages = ["verify"]
