"""Queues: a server of ours. workerd's own reads its consumers from its configuration; ours come and go."""

from typing import Any

from edge.runtime.stores.kind import Kind

_PARTS = ["delivery", "due", "limits", "messages", "queues", "settings"]


def _bind(slot: Any, service: str) -> None:
    slot.init("queue").name = service


KIND = Kind(
    name="queues",
    binding_type="queue",
    id_field="queue_name",
    module="queues.js",
    bundled={},
    objects={"QUEUES": "Queues"},
    blobs=None,
    bind=_bind,
    option="delivery_delay",
    parts=tuple(f"queues/{name}.js" for name in _PARTS),
)
