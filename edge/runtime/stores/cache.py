"""The Cache API: a server of ours. A node's own, so it may be lost, and is no reason to have data here."""

from edge.runtime.stores.kind import Kind

_PARTS = ["cache", "conditions", "index", "lifetime", "message"]

KIND = Kind(
    name="cache",
    binding_type="",
    id_field="",
    module="cache.js",
    bundled={},
    objects={"CACHE": "Cache"},
    blobs="BLOBS",
    bind=None,
    parts=(*(f"cache/{name}.js" for name in _PARTS), "r2/blobs.js", "r2/errors.js", "r2/ranges.js"),
    kept=False,
)
