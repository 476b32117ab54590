"""Builds what the control plane would send: modules, specs, slots."""

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass, field

Json = dict[str, object]

ACCOUNT_ID = "a" * 32


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def answering(text: str) -> str:
    """A script that answers everything with this text."""
    return f"export default {{ fetch() {{ return new Response({text!r}); }} }};"


@dataclass
class Bundle:
    """One version of a script: `Bundle("…")` is a single ES module index.js."""

    source: str = ""
    modules: list[tuple[str, str, str | bytes]] = field(default_factory=list)
    """(name, type, content) beside or instead of `source`."""
    main_module: str = "index.js"
    syntax: str = "modules"
    compatibility_date: str = "2026-01-01"
    compatibility_flags: list[str] = field(default_factory=list)
    bindings: list[Json] = field(default_factory=list)
    extra_files: list[bytes] = field(default_factory=list)
    """Contents that only bindings refer to."""
    version_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    assets: dict[str, bytes] | None = None
    """Static files by path."""
    assets_config: Json = field(default_factory=dict)
    cpu_ms: int | None = None
    """`limits.cpu_ms` of the version."""
    objects: list[Json] = field(default_factory=list)
    """Classes with Durable Objects, as the control plane sends them."""
    workflows: list[Json] = field(default_factory=list)
    """The same of its workflows."""
    observability: Json | None = None
    """What of it is stored, as the control plane sends it."""
    scaling: Json | None = None
    """Of the script, as the control plane sends it."""
    number: int | None = None
    """Which version of its script; the deployment's generation unless it is said."""

    def all_modules(self) -> list[tuple[str, str, bytes]]:
        listed = [(self.main_module, "esm", self.source), *self.modules]
        if not self.source:
            listed = listed[1:]
        return [
            (name, kind, content.encode() if isinstance(content, str) else content)
            for name, kind, content in listed
        ]

    def files(self) -> dict[str, bytes]:
        contents = [content for _, _, content in self.all_modules()] + self.extra_files
        if self.assets is not None:
            contents += [*self.assets.values(), self.manifest()]
        return {digest_of(content): content for content in contents}

    def manifest(self) -> bytes:
        listed = {path: digest_of(content) for path, content in (self.assets or {}).items()}
        return json.dumps(listed, separators=(",", ":")).encode()

    def spec(self) -> Json:
        return {
            "syntax": self.syntax,
            "main_module": self.main_module,
            "compatibility_date": self.compatibility_date,
            "compatibility_flags": self.compatibility_flags,
            "modules": [
                {
                    "name": name,
                    "type": kind,
                    "digest": digest_of(content),
                    "size_bytes": len(content),
                }
                for name, kind, content in self.all_modules()
            ],
            "bindings": self.bindings,
            "version_id": self.version_id,
            "script_name": "my-app",
            "cpu_ms": self.cpu_ms,
            "objects": self.objects,
            "workflows": self.workflows,
            "observability": self.observability,
            "assets": {"manifest": digest_of(self.manifest()), "config": self.assets_config}
            if self.assets is not None
            else None,
        }

    def check_request(self) -> Json:
        """What `edge.check` reads."""
        return {"spec": self.spec(), "modules": base64_files(self.files())}


def base64_files(files: dict[str, bytes]) -> dict[str, str]:
    return {digest: base64.b64encode(content).decode() for digest, content in files.items()}


def host_of(name: str) -> str:
    return f"{name}.dev.localhost"


Beside = tuple[Bundle, float]
"""Another version of the script, and the percentage of its visitors that it gets."""


def slot(
    name: str,
    generation: int,
    bundle: Bundle | None,
    hostnames: list[str] | None,
    beside: Beside | None = None,
    more: Json | None = None,
) -> Json:
    """One slot; no bundle means withdrawn. `more` are fields that not every control plane sends, or other
    values of those that it does."""
    shares: list[Beside] = [(bundle, 100 - beside[1] if beside else 100)] if bundle else []
    versions: list[Json] = [
        {
            "version_id": one.version_id,
            "number": generation if one.number is None else one.number,
            "percentage": percentage,
            "spec": one.spec(),
        }
        for one, percentage in [*shares, *([beside] if beside else [])]
    ]
    return {
        "scaling": bundle.scaling if bundle else None,
        "script_id": hashlib.md5(name.encode()).hexdigest(),  # noqa: S324 a stable id, no secret
        "account_id": ACCOUNT_ID,
        "name": name,
        "generation": generation,
        "deployment_id": str(uuid.uuid4()) if bundle else None,
        "hostnames": [host_of(name)] if hostnames is None else hostnames,
        "versions": versions,
        **(more or {}),
    }
