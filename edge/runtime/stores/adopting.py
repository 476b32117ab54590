"""The configuration of what takes an account's data over into a bucket, in the place of its store."""

from edge.runtime.binary import Runtime
from edge.runtime.config import MAIN_SOCKET, PLATFORM_DATE, add_socket, new_config, no_internet
from edge.runtime.stores.cluster import Bucket
from edge.runtime.stores.config import BLOBS, FILES, OBJECTS, SERVICE, SHARED
from edge.runtime.stores.kind import Kind

MODULE = "adopt.js"
HEAP_MIB = 512


def adopt_config(
    runtime: Runtime, kind: Kind, account_id: str, bucket: Bucket, folder: str
) -> bytes:
    """`folder` is for copies of what is in the bucket."""
    config = new_config(runtime, HEAP_MIB)
    bucket.join(config, account_id, kind.name)
    services = config.init("services", 4)
    services[0].name, services[1].name, services[2].name = OBJECTS, BLOBS, SERVICE
    disk = services[0].init("disk")
    disk.path, disk.writable, disk.allowDotfiles = folder, True, True
    services[1].init("bucket").path = BLOBS
    worker = services[2].init("worker")
    worker.compatibilityDate = PLATFORM_DATE
    modules = worker.init("modules", 2)
    for slot, name in zip(modules, (MODULE, SHARED), strict=True):
        slot.name, slot.esModule = name, (FILES / name).read_text()
    objects = worker.init("durableObjectNamespaces", len(kind.objects))
    for entry, name in zip(objects, kind.objects.values(), strict=True):
        entry.className, entry.uniqueKey, entry.enableSql = name, name, True
    worker.durableObjectStorage.localDisk = OBJECTS
    slots = worker.init("bindings", len(kind.objects) + 2)
    slots[0].name, slots[0].text = "SHARED", "yes"
    slots[1].name = "BLOBS"
    slots[1].init("service").name = BLOBS
    for slot, (name, class_name) in zip(list(slots)[2:], kind.objects.items(), strict=True):
        slot.name = name
        slot.init("durableObjectNamespace").className = class_name
    no_internet(services[3])
    add_socket(config.init("sockets", 1)[0], MAIN_SOCKET, SERVICE)
    return bytes(config.to_bytes())
