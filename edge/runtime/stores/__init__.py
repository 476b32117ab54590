"""The kinds of storage that a node has: each is one module here and one file in `edge/store/`."""

from edge.runtime.stores import cache, d1, kv, queues, r2
from edge.runtime.stores.kind import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (kv.KIND, d1.KIND, r2.KIND, cache.KIND, queues.KIND)
}
BY_BINDING: dict[str, Kind] = {
    kind.binding_type: kind for kind in KINDS.values() if kind.binding_type
}
