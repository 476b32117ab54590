"""D1: workerd's own server (`/workerd/d1.js`) with its databases in Durable Objects."""

from typing import Any

from edge.runtime.stores.kind import Kind


def _bind(slot: Any, service: str) -> None:
    wrapped = slot.init("wrapped")
    wrapped.moduleName = "cloudflare-internal:d1-api"
    inner = wrapped.init("innerBindings", 1)[0]
    inner.name = "fetcher"
    inner.init("service").name = service


KIND = Kind(
    name="d1",
    binding_type="d1",
    id_field="id",
    module="d1.js",
    bundled={"bundled-d1.js": "/workerd/d1.js"},
    objects={"DATABASE": "D1Database"},
    # Files that are imported wait there.
    blobs="BLOBS",
    bind=_bind,
    # For `ingest`, which runs a file of SQL piece by piece.
    flags=("experimental",),
)
