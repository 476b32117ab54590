"""Analytics Engine in a cell: the runtime's own binding, in front of a worker of ours that tells its
data points on the cell's output."""

import json
from collections.abc import Callable
from typing import Any

from edge.spec import Spec

BINDING_TYPE = "analytics_engine"
SERVICE = "skerry-points"
FILE = "points.js"
# Of the lines that it prints.
PREFIX = "skerry-point "


def bind(slot: Any, dataset: str) -> None:
    """Make an empty slot with a name lead to the worker, as that dataset."""
    designator = slot.init("analyticsEngine")
    designator.name = SERVICE
    designator.init("props").json = json.dumps({"dataset": dataset})


def writes_points(spec: Spec) -> bool:
    return any(one.type == BINDING_TYPE for one in spec.bindings)


def fill_service(service: Any, own_worker: Callable[[Any, str], object]) -> None:
    service.name = SERVICE
    own_worker(service, FILE)
