"""Starting a bundle once, in a throw-away cell, before it is stored.

The node's own config builder does it, as a program: the control plane imports nothing of the edge.
"""

import base64
import json
import subprocess
from dataclasses import dataclass
from typing import Any

import structlog

from api.bindings.kinds import callee_of
from api.errors import (
    NewClassNotExported,
    ObjectClassNotExported,
    ScriptRejected,
    Unavailable,
)
from api.settings import CHECKOUT, settings
from api.versions.bundle import Upload, module_listing

log = structlog.get_logger()


@dataclass(frozen=True)
class Start:
    """What a bundle said for itself when it was started."""

    startup_ms: int
    handlers: list[str]
    warnings: list[str]


def start_once(upload: Upload, *, script_name: str) -> Start:
    """Start the bundle with its bindings; about 0.3 s, in no transaction.

    Raises ScriptRejected with the runtime's own message, ObjectClassNotExported or NewClassNotExported
    for a class that is missing, Unavailable if the check itself failed.
    """
    answer = ask_runtime(bundle_request(upload, script_name))
    _check_classes(upload, {str(one["name"]) for one in answer["named_handlers"]})
    return Start(int(answer["startup_ms"]), list(answer["handlers"]), list(answer["warnings"]))


def _check_classes(upload: Upload, exported: set[str]) -> None:
    new = upload.migrations.new_classes if upload.migrations else frozenset()
    for name in sorted(one.class_name for one in upload.objects):
        if name in exported:
            continue
        if name in new:
            raise NewClassNotExported(
                f"Cannot apply new-class migration to class '{name}' that is not exported by script. "
                "Nothing was changed."
            )
        raise ObjectClassNotExported(
            f"New version of script does not export class '{name}' which is depended on by existing "
            "Durable Objects. If you want to delete them, use a deleted_classes migration. Nothing "
            "was changed."
        )


def ask_runtime(request: dict[str, Any], *options: str) -> dict[str, Any]:
    """What the check program answers about a bundle that starts.

    Raises ScriptRejected with the runtime's own message, Unavailable if the program itself failed.
    """
    answer = _run(json.dumps(request).encode(), *options)
    if not answer["ok"]:
        raise ScriptRejected(str(answer["message"]))
    return answer


def bundle_request(upload: Upload, script_name: str) -> dict[str, Any]:
    """What the check program reads: the spec, and every file by its digest."""
    return {
        "spec": spec_of_upload(upload, script_name),
        "modules": {
            module.digest: base64.b64encode(module.content).decode() for module in upload.modules
        },
    }


def spec_of_upload(upload: Upload, script_name: str) -> dict[str, Any]:
    """The spec a cell is built from, before the version has an id."""
    digests = {module.name: module.digest for module in upload.modules}
    return {
        "syntax": upload.syntax,
        "main_module": upload.main_module,
        "compatibility_date": upload.compatibility_date,
        "compatibility_flags": upload.compatibility_flags,
        "modules": code_modules(upload),
        "bindings": [cell_binding(binding, digests) for binding in upload.bindings],
        "version_id": "00000000-0000-0000-0000-000000000000",
        "script_name": script_name,
        "assets": upload.assets and upload.assets.as_json(),
        "objects": [one.as_json() for one in upload.objects],
        "workflows": [one.as_json() for one in upload.workflows],
    }


def code_modules(upload: Upload) -> list[dict[str, Any]]:
    """What a cell loads as modules: of a service-worker script only the script itself."""
    listing = module_listing(upload)
    if upload.syntax == "modules":
        return listing
    return [module for module in listing if module["name"] == upload.main_module]


def cell_binding(binding: dict[str, Any], digests: dict[str, str]) -> dict[str, Any]:
    """A binding as the spec has it: parts of the upload become digests, and one that leads to a script
    says to which."""
    if callee := callee_of(binding):
        return {**binding, "script": callee}
    if "part" not in binding:
        return binding
    digest = digests.get(binding["part"])
    if digest is None:
        raise ScriptRejected(
            f"Binding {binding['name']} refers to the part {binding['part']}, which is missing."
        )
    return {"name": binding["name"], "type": binding["type"], "digest": digest}


def _run(text: bytes, *options: str) -> dict[str, Any]:
    command = [*settings().check_command, *options]
    timeout = settings().check_timeout_seconds
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, timeout=timeout, check=True, cwd=CHECKOUT
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", b"") or b""
        log.error("check_failed", reason=str(error), said=said.decode(errors="replace")[-2000:])
        raise Unavailable(
            "The bundle could not be checked, because the runtime's check program failed. "
            "Nothing was stored. `./skerry doctor` says whether the runtime is in place."
        ) from error
    return answer
