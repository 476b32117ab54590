"""KV: workerd's own server (`/workerd/kv.js`) with its namespaces in Durable Objects."""

from typing import Any

from edge.runtime.stores.kind import Kind


def _bind(slot: Any, service: str) -> None:
    slot.init("kvNamespace").name = service


KIND = Kind(
    name="kv",
    binding_type="kv_namespace",
    id_field="namespace_id",
    module="kv.js",
    bundled={"bundled-kv.js": "/workerd/kv.js"},
    objects={"SHARD": "KVNamespace"},
    blobs="BLOBS",
    bind=_bind,
)
