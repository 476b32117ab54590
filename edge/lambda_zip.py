"""Packs a version for AWS Lambda: its modules as they were uploaded, beside the adapter that runs them.

The same version always becomes the same bytes, so that Lambda itself can tell that nothing changed.
"""

import hashlib
import hmac
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from edge.spec import FILE_BINDING_TYPES, Binding, Spec, SpecError

ADAPTER = Path(__file__).parent / "lambda"
# What the adapter has in common with the platform worker of a cell.
CLONING = Path(__file__).parent / "cell" / "cloning.js"
EXCEPTION_PAGE = Path(__file__).parent / "agent" / "front" / "pages" / "1101.html"

HANDLER = "index.handler"
# The variable with the key to the secrets; adapter: version.js.
KEY_VARIABLE = "VERSION_KEY"
# Where the version's bindings lead, and what opens them; adapter: remote.js.
URL_VARIABLE, CREDENTIAL_VARIABLE = "BINDINGS_URL", "BINDINGS_CREDENTIAL"
# By which the function knows the front of a node; adapter: front.js.
FRONT_VARIABLE = "FRONT_SECRET"
# Bindings to storage, which stays on a node.
_STORAGE = frozenset({"kv_namespace", "d1", "r2_bucket", "queue"})

_NONCE_BYTES = 12
# The oldest time that a ZIP can name.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_PACKAGE = {"type": "module"}
# Bindings that carry what `env` shows.
_VALUES = frozenset({"plain_text", "json", "version_metadata"})


def pack(spec: Spec, files: Mapping[str, bytes], key: bytes) -> bytes:
    """The ZIP of a version; `files` is content by digest, `key` (32 bytes) seals its secrets.

    Raises SpecError for what cannot run there.
    """
    entries = {path.name: path.read_bytes() for path in (*ADAPTER.glob("*.js"), CLONING)}
    entries["package.json"] = _json(_PACKAGE)
    entries["1101.html"] = EXCEPTION_PAGE.read_bytes()
    secrets = {one.name: one.value for one in spec.bindings if one.type == "secret_text"}
    if secrets:
        entries["secrets.sealed"] = _sealed(_json(secrets), key)
    entries["version.json"] = _json(_version(spec, sealed=bool(secrets)))
    entries |= {_file(digest): files[digest] for digest in spec.digests()}
    return _zip(entries)


def _version(spec: Spec, *, sealed: bool) -> dict[str, object]:
    if not spec.main_module:
        raise SpecError("A version of static assets alone has no script that Lambda could run.")
    modules = [
        {"name": one.name, "type": one.type, "file": _file(one.digest)} for one in spec.modules
    ]
    return {
        "version_id": spec.version_id,
        "script_name": spec.script_name,
        "syntax": spec.syntax,
        "main_module": spec.main_module,
        "compatibility_date": spec.compatibility_date,
        "compatibility_flags": list(spec.compatibility_flags),
        # A service-worker script comes alone; its main module is the only one.
        "modules": [
            one for one in modules if spec.syntax == "modules" or one["name"] == spec.main_module
        ],
        "bindings": [_binding(spec, one) for one in spec.bindings],
        "sealed": sealed,
    }


def is_remote(spec: Spec, binding: Binding) -> bool:
    """Whether it leads out of the function: to storage, or to another script, on a node."""
    if binding.type == "service":
        return _callee(binding)["script"] != spec.script_name
    return binding.type in _STORAGE


def _callee(binding: Binding) -> dict[str, object]:
    return binding.value if isinstance(binding.value, dict) else {}


def _binding(spec: Spec, binding: Binding) -> dict[str, object]:
    told: dict[str, object] = {"name": binding.name, "type": binding.type}
    if binding.type in FILE_BINDING_TYPES:
        return {**told, "file": _file(str(binding.value))}
    if binding.type in _VALUES:
        return {**told, "value": binding.value}
    if binding.type == "queue":
        # The name of the queue is for its node alone; behind it may be what the binding delays.
        _, _, delay = str(binding.value).partition("~")
        return {**told, "delay": int(delay)} if delay else told
    if binding.type == "secret_text" or is_remote(spec, binding):
        return told
    if binding.type == "service":
        callee = _callee(binding)
        return {**told, "own": {"entrypoint": callee["entrypoint"], "props": callee["props"]}}
    raise SpecError(
        f"Binding {binding.name} of type {binding.type} cannot be offered on AWS Lambda yet."
    )


def _file(digest: str) -> str:
    return f"files/{digest.removeprefix('sha256:')}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sealed(text: bytes, key: bytes) -> bytes:
    """AES-256-GCM. The nonce follows from the text: the same secrets are the same bytes, and other
    secrets under the same key never share a nonce."""
    nonce = hmac.digest(key, b"nonce\0" + text, hashlib.sha256)[:_NONCE_BYTES]
    return nonce + AESGCM(key).encrypt(nonce, text, None)


def _zip(entries: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(entries):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.external_attr, entry.create_system = _MODE, 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, entries[name])
    return packed.getvalue()
