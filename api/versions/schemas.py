from typing import Any

from pydantic import BaseModel, Field

from api.clock import iso
from api.versions.models import Version
from api.versions.previewing import Preview


class VersionMetadata(BaseModel):
    created_on: str
    modified_on: str
    source: str
    author_id: str
    author_email: str
    has_preview: bool


class ScriptResource(BaseModel):
    etag: str
    handlers: list[str]
    last_deployed_from: str


class RuntimeResource(BaseModel):
    compatibility_date: str
    compatibility_flags: list[str]
    usage_model: str
    limits: dict[str, Any]


class Resources(BaseModel):
    bindings: list[dict[str, Any]]
    script: ScriptResource
    script_runtime: RuntimeResource


class VersionOut(BaseModel):
    """Cloudflare's version object; `digest` and `size_bytes` are ours."""

    id: str
    number: int
    digest: str
    size_bytes: int
    startup_time_ms: int
    metadata: VersionMetadata
    annotations: dict[str, str]
    resources: Resources


class VersionList(BaseModel):
    items: list[VersionOut]


class SettingsOut(BaseModel):
    """What the latest version was uploaded with."""

    bindings: list[dict[str, Any]]
    compatibility_date: str
    compatibility_flags: list[str]
    usage_model: str = "standard"
    tags: list[str] = []
    logpush: bool = False
    tail_consumers: list[dict[str, Any]] = []
    annotations: dict[str, str] = {}


class HeaderOut(BaseModel):
    name: str
    value: str


class LogOut(BaseModel):
    level: str
    text: str


class PreviewOut(BaseModel):
    """What a bundle answered once. Without a `status` it did not, and `failure` says why."""

    status: int | None
    headers: list[HeaderOut]
    body: str | None = Field(description="null for a body that is not text")
    size_bytes: int
    truncated: bool
    threw: bool = Field(description="the script threw instead of answering")
    failure: str
    startup_ms: int
    duration_ms: int
    logs: list[LogOut]


def preview_out(preview: Preview) -> dict[str, Any]:
    return {
        "status": preview.status,
        "headers": [{"name": name, "value": value} for name, value in preview.headers],
        "body": preview.text,
        "size_bytes": len(preview.body),
        "truncated": preview.truncated,
        "threw": preview.threw,
        "failure": preview.failure,
        "startup_ms": preview.startup_ms,
        "duration_ms": preview.duration_ms,
        "logs": [{"level": line.level, "text": line.text} for line in preview.logs],
    }


def annotations_of(message: str, tag: str, triggered_by: str) -> dict[str, str]:
    """Cloudflare's annotations, without the empty ones."""
    pairs = {"message": message, "tag": tag, "triggered_by": triggered_by}
    return {f"workers/{key}": value for key, value in pairs.items() if value}


def version_out(version: Version) -> dict[str, Any]:
    """A version as wrangler and SDKs read it; secrets appear by name only."""
    return {
        "id": version.id,
        "number": version.number,
        "digest": version.digest,
        "size_bytes": version.size_bytes,
        "startup_time_ms": version.startup_ms,
        "metadata": {
            "created_on": iso(version.created_at),
            "modified_on": iso(version.created_at),
            "source": version.source,
            "author_id": version.author_id,
            "author_email": version.author_email,
            "has_preview": False,
        },
        "annotations": annotations_of(version.message, version.tag, version.triggered_by),
        "resources": {
            "bindings": [binding.public() for binding in version.bindings],
            "script": {
                "etag": version.digest.removeprefix("sha256:"),
                "handlers": version.handlers,
                "last_deployed_from": version.source,
            },
            "script_runtime": {
                "compatibility_date": version.compatibility_date,
                "compatibility_flags": version.compatibility_flags,
                "usage_model": "standard",
                "limits": version.options.get("limits") or {},
            },
        },
    }
