"""What a script finds on `env`, as bindings of a cell's configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.runtime import objects, points, workflows
from edge.runtime.messages import MODULES_SERVICE
from edge.runtime.stores import BY_BINDING, limits
from edge.spec import FILE_BINDING_TYPES, Binding, Spec, text_of

# A service in every configuration of a script: its way out, if it has one.
INTERNET = "internet"
ASSETS_SERVICE = "skerry-assets"
_FILES = Path(__file__).resolve().parents[1] / "cell"
MODULES = {limits.MODULE: _FILES / "ratelimit.js", objects.MODULE: _FILES / objects.MODULE_FILE}
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
            if kind.configure:
                kind.configure(slot, binding.options)
        elif binding.type in FILE_BINDING_TYPES:
            _fill_file(slot, binding, files[str(binding.value)])
        else:
            _fill(slot, binding, spec)


def extend(config: Any) -> None:
    """The modules of ours that bindings are made of; no script can import them."""
    modules = config.init("extensions", 1)[0].init("modules", len(MODULES))
    for entry, (name, path) in zip(modules, MODULES.items(), strict=True):
        entry.name, entry.internal, entry.esModule = name, True, path.read_text()


def _fill_file(slot: Any, binding: Binding, content: bytes) -> None:
    match binding.type:
        case "wasm_module":
            slot.wasmModule = content
        case "text_blob":
            slot.text = text_of(binding.name, content)
        case _:
            slot.data = content


def _fill(slot: Any, binding: Binding, spec: Spec) -> None:
    if binding.leads_to_script:
        return  # for `config.py`, which knows where
    match binding.type:
        case "plain_text" | "secret_text":
            slot.text = binding.value
        case objects.BINDING_TYPE:
            namespace = slot.init("durableObjectNamespace")
            # Named, because the describer of `edge.check` has these bindings, too.
            namespace.className, namespace.serviceName = str(binding.value), MODULES_SERVICE
        case points.BINDING_TYPE:
            points.bind(slot, str(binding.value))
        case workflows.BINDING_TYPE:
            workflows.bind(slot, str(binding.value), spec)
        case "assets":
            service = slot.init("service")
            service.name, service.entrypoint = ASSETS_SERVICE, ASSETS_ENTRYPOINT
        case _:
            slot.json = json.dumps(binding.value)
