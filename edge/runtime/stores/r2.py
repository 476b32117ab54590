"""R2: a server of ours; workerd has none. A bucket is a Durable Object, its objects' bytes are files."""

from typing import Any

from edge.runtime.stores.kind import Kind

_PARTS = [
    "blobs",
    "bucket",
    "conditions",
    "digests",
    "errors",
    "limits",
    "listing",
    "multipart",
    "objects",
    "protocol",
    "ranges",
]


def _bind(slot: Any, service: str) -> None:
    slot.init("r2Bucket").name = service


KIND = Kind(
    name="r2",
    binding_type="r2_bucket",
    id_field="bucket_name",
    module="r2.js",
    bundled={},
    objects={"BUCKET": "Bucket"},
    blobs="BLOBS",
    bind=_bind,
    parts=tuple(f"r2/{name}.js" for name in _PARTS),
)
