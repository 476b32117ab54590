"""What is uploaded: modules and what the metadata says about them."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from api import ids
from api.objects.service import ObjectClass
from api.objects.steps import Migrations
from api.versions.assets import Assets, WantedAssets
from api.workflows.service import WorkflowClass

SOURCE_MAP = "sourcemap"
# Content types of the parts (cloudflare-api.md, section 3) → the type of module a cell is given.
TYPE_OF_CONTENT = {
    "application/javascript+module": "esm",
    "text/javascript+module": "esm",
    "application/javascript": "cjs",
    "text/javascript": "cjs",
    "application/wasm": "wasm",
    "application/octet-stream": "data",
    "text/plain": "text",
    "application/json": "json",
    "text/x-python": "python",
    "text/x-python-requirement": "python-requirement",
    "application/source-map": SOURCE_MAP,
}
CONTENT_OF_TYPE = {kind: content for content, kind in reversed(TYPE_OF_CONTENT.items())}


@dataclass(frozen=True)
class UploadedModule:
    """One file of a bundle."""

    name: str
    type: str
    content: bytes

    @property
    def digest(self) -> str:
        return ids.digest(self.content)


@dataclass(frozen=True)
class NewResource:
    """What is made in the same transaction as the version that binds it, under an id chosen before."""

    type: str
    """Of the binding that leads to it."""
    id: str
    title: str


@dataclass(frozen=True)
class Upload:
    """A bundle on its way in: checked in form, not yet started."""

    main_module: str
    """Empty for static assets without a script."""
    modules: list[UploadedModule]
    syntax: str = "modules"  # or "service-worker"
    bindings: list[dict[str, Any]] = field(default_factory=list)
    keep_bindings: list[str] = field(default_factory=list)
    compatibility_date: str = ""
    compatibility_flags: list[str] = field(default_factory=list)
    message: str = ""
    tag: str = ""
    triggered_by: str = "upload"
    options: dict[str, Any] = field(default_factory=dict)
    wanted_assets: WantedAssets | None = None
    assets: Assets | None = None
    """Static files, once `wanted_assets` is resolved."""
    makes: tuple[NewResource, ...] = ()
    source_maps: list[UploadedModule] = field(default_factory=list)
    """For the stacks of exceptions; no node ever gets them."""
    migrations: Migrations | None = None
    objects: tuple[ObjectClass, ...] = ()
    """The script's classes with Durable Objects, once `migrations` are planned."""
    workflows: tuple[WorkflowClass, ...] = ()
    """What its bindings to workflows lead to, once that is planned."""
    warnings: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        return sum(len(module.content) for module in self.modules)

    @property
    def digest(self) -> str:
        """The digest of the whole bundle: of its modules' names, types and digests, in order."""
        listing = [self.main_module, self.syntax] + [
            [module.name, module.type, module.digest] for module in self.modules
        ]
        if self.assets:
            listing.append(["assets", self.assets.manifest, json.dumps(self.assets.config)])
        canonical = json.dumps(listing, ensure_ascii=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    def with_bindings(self, bindings: list[dict[str, Any]]) -> "Upload":
        return replace(self, bindings=bindings)

    def with_assets(self, assets: Assets | None) -> "Upload":
        return replace(self, assets=assets)

    def with_objects(self, objects: Iterable[ObjectClass]) -> "Upload":
        return replace(self, objects=tuple(objects))

    def with_workflows(self, workflows: Iterable[WorkflowClass]) -> "Upload":
        return replace(self, workflows=tuple(workflows))

    def annotated(self, *, message: str, tag: str, triggered_by: str) -> "Upload":
        return replace(self, message=message, tag=tag, triggered_by=triggered_by)


def module_listing(upload: Upload) -> list[dict[str, Any]]:
    """The `modules` of a spec: what a node needs to fetch and verify them."""
    return [
        {
            "name": module.name,
            "type": module.type,
            "digest": module.digest,
            "size_bytes": len(module.content),
        }
        for module in upload.modules
    ]
