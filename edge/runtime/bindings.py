"""What a script finds on `env`, as bindings of a cell's configuration."""

import json
from collections.abc import Mapping
from typing import Any

from edge.spec import Binding, Spec, text_of

ASSETS_SERVICE = "skerry-assets"
# Serves files and never asks the script.
ASSETS_ENTRYPOINT = "AssetWorker"


def fill_bindings(slots: Any, spec: Spec, files: Mapping[str, bytes]) -> None:
    """Fill a worker's list of bindings, of the spec's length; `files` is content by digest."""
    for slot, binding in zip(slots, spec.bindings, strict=True):
        slot.name = binding.name
        _fill(slot, binding, files)


def _fill(slot: Any, binding: Binding, files: Mapping[str, bytes]) -> None:
    match binding.type:
        case "plain_text" | "secret_text":
            slot.text = binding.value
        case "wasm_module":
            slot.wasmModule = files[str(binding.value)]
        case "text_blob":
            slot.text = text_of(binding.name, files[str(binding.value)])
        case "data_blob":
            slot.data = files[str(binding.value)]
        case "assets":
            service = slot.init("service")
            service.name, service.entrypoint = ASSETS_SERVICE, ASSETS_ENTRYPOINT
        case _:
            slot.json = json.dumps(binding.value)
