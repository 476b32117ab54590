"""The protocol of a store of R2, which is that of the runtime's binding: see edge/store/r2/protocol.js."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REQUEST = "CF-R2-Request"
METADATA_SIZE = "CF-R2-Metadata-Size"
ERROR = "CF-R2-Error"

# Fields of an object's HTTP metadata by the header that carries them.
HTTP_FIELDS = {
    "content-type": "contentType",
    "content-language": "contentLanguage",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "cache-control": "cacheControl",
}


@dataclass(frozen=True)
class Facts:
    """What a store says of an object."""

    key: str
    version: str
    size: int
    etag: str
    uploaded_ms: int
    storage_class: str
    http: dict[str, Any] = field(default_factory=dict)
    """contentType … cacheExpiry (milliseconds)."""
    custom: dict[str, str] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    """In hex, by place: 0 MD5, 1 SHA-1, 2 SHA-256, 3 SHA-384, 4 SHA-512."""
    offset: int = 0
    length: int = 0
    """Which bytes come along."""

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Facts":
        span = answer.get("range") or {}
        return cls(
            key=answer["name"],
            version=answer["version"],
            size=int(answer["size"]),
            etag=answer["etag"],
            uploaded_ms=int(answer["uploaded"]),
            storage_class=answer["storageClass"],
            http=dict(answer.get("httpFields", {})),
            custom={entry["k"]: entry["v"] for entry in answer.get("customFields", [])},
            checksums=dict(answer.get("checksums", {})),
            offset=int(span.get("offset", 0)),
            length=int(span.get("length", 0)),
        )


def reading(asked: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a `GET /`."""
    return {REQUEST: json.dumps({"version": 1, **asked})}


def writing(asked: Mapping[str, Any]) -> tuple[dict[str, str], bytes]:
    """The headers of a `PUT /`, and what its body begins with."""
    text = json.dumps({"version": 1, **asked}).encode()
    return {METADATA_SIZE: str(len(text))}, text


def http_fields(headers: Mapping[str, str]) -> dict[str, str]:
    """An object's HTTP metadata from the headers of an upload (but `expires`)."""
    return {name: headers[header] for header, name in HTTP_FIELDS.items() if header in headers}


def custom_fields(metadata: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"k": key, "v": value} for key, value in metadata.items()]
