"""What a script finds on `env`, as bindings of a cell's configuration."""

import json
from collections.abc import Mapping
from typing import Any

from edge.runtime.messages import MODULES_SERVICE
from edge.runtime.stores import BY_BINDING
from edge.spec import Binding, Spec, text_of

# A service in every configuration of a script: its way out, if it has one.
INTERNET = "internet"
ASSETS_SERVICE = "skerry-assets"
# Serves files and never asks the script.
ASSETS_ENTRYPOINT = "AssetWorker"


def fill_bindings(
    slots: Any, spec: Spec, files: Mapping[str, bytes], services: Mapping[str, str]
) -> None:
    """Fill a worker's list of bindings, of the spec's length; `files` is content by digest, `services`
    says by binding where those lead that need storage. Without one they lead nowhere."""
    for slot, binding in zip(slots, spec.bindings, strict=True):
        slot.name = binding.name
        if (kind := BY_BINDING.get(binding.type)) and kind.bind:
            kind.bind(slot, services.get(binding.name, INTERNET))
        else:
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
        case "durable_object_namespace":
            namespace = slot.init("durableObjectNamespace")
            # Named, because the describer of `edge.check` has these bindings, too.
            namespace.className, namespace.serviceName = str(binding.value), MODULES_SERVICE
        case "assets":
            service = slot.init("service")
            service.name, service.entrypoint = ASSETS_SERVICE, ASSETS_ENTRYPOINT
        case "service":
            slot.init("service").name = INTERNET  # until `config.py` says where it leads
        case _:
            slot.json = json.dumps(binding.value)
