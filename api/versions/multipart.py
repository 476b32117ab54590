"""Reading the multipart body of an upload (cloudflare-api.md, section 3 and rule 13)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from api.errors import TooLarge, UploadMalformed
from api.settings import settings
from api.versions.bundle import TYPE_OF_CONTENT, Upload, UploadedModule
from api.versions.metadata import read_metadata, read_upload
from api.versions.previewing import PreviewRequest, read_request

# A project with more files than this is a mistake; Starlette's own limit of 1,000 is not enough.
FILES_MAX = 10_000
METADATA_SIZE_MAX_BYTES = 16 * 1024 * 1024


@asynccontextmanager
async def opened_form(request: Request) -> AsyncIterator[FormData]:
    """The parts of a multipart body, whose files are closed after use.

    Raises UploadMalformed or TooLarge.
    """
    form = await _read_form(request)
    try:
        yield form
    finally:
        await form.close()


async def _read_form(request: Request) -> FormData:
    limit = settings().upload_size_limit_bytes
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise TooLarge(f"The upload has {int(length):,} bytes; at most {limit:,} are taken.")
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UploadMalformed("The body must be multipart/form-data. Nothing was stored.")
    try:
        return await request.form(
            max_files=FILES_MAX, max_fields=FILES_MAX, max_part_size=METADATA_SIZE_MAX_BYTES
        )
    except HTTPException as error:
        raise UploadMalformed(f"The multipart body is broken: {error.detail}") from error
    except (KeyError, ValueError) as error:
        raise UploadMalformed(f"The multipart body is broken: {error}") from error


async def text_part(form: FormData, name: str) -> str:
    """The text of a part, whether or not it was sent as a file."""
    part = form.get(name)
    if part is None:
        raise UploadMalformed(f"The upload has no part `{name}`. Nothing was stored.")
    if isinstance(part, str):
        return part
    try:
        return (await part.read()).decode()
    except UnicodeDecodeError as error:
        raise UploadMalformed(f"Part `{name}` is not UTF-8 text.") from error


async def read_parts(request: Request) -> tuple[dict[str, Any], list[UploadedModule]]:
    """Metadata and modules of an upload."""
    async with opened_form(request) as form:
        metadata = read_metadata(await text_part(form, "metadata"))
        modules = [
            await _module(name, part)
            for name, part in form.multi_items()
            if name != "metadata" and isinstance(part, UploadFile)
        ]
        return metadata, modules


async def _module(name: str, part: UploadFile) -> UploadedModule:
    content_type = (part.content_type or "").split(";")[0].strip().lower()
    kind = TYPE_OF_CONTENT.get(content_type)
    if kind is None:
        raise UploadMalformed(
            f"Module {name} has content type {content_type or 'none'!r}, which no kind of module has."
        )
    if "\0" in name or not name:
        raise UploadMalformed("A module needs a name without NUL characters.")
    return UploadedModule(name, kind, await part.read())


async def uploaded(request: Request) -> Upload:
    metadata, modules = await read_parts(request)
    return read_upload(metadata, modules)


MultipartUpload = Annotated[Upload, Depends(uploaded)]


async def uploaded_for_preview(request: Request) -> tuple[Upload, PreviewRequest]:
    metadata, modules = await read_parts(request)
    return read_upload(metadata, modules), read_request(metadata.get("request") or {})


MultipartPreview = Annotated[tuple[Upload, PreviewRequest], Depends(uploaded_for_preview)]

# FastAPI cannot know the shape of parts whose names the metadata decides.
MULTIPART_SCHEMA: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["metadata"],
                    "properties": {
                        "metadata": {
                            "type": "string",
                            "description": "JSON: main_module or body_part, bindings, "
                            "compatibility_date, compatibility_flags, annotations …",
                        }
                    },
                    "additionalProperties": {"type": "string", "format": "binary"},
                }
            }
        },
    }
}
