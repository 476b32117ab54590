"""Bodies of KV requests: values of up to 25 MiB, read in pieces or once, and lists of many keys."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.errors import BodyInvalid, KVBulkTooLarge, KVValueTooLarge, UploadMalformed
from api.kv.values import VALUE_BYTES_MAX, Pair

CHUNK_BYTES = 256 * 1024
IN_MEMORY_BYTES = 1024 * 1024
METADATA_PART_BYTES = 16 * 1024
# Cloudflare's limits of one request.
BULK_BYTES_MAX = 100 * 1024 * 1024
BULK_KEYS_MAX = 10_000
BULK_GET_KEYS_MAX = 100


async def limited(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, as long as it is a value; raises KVValueTooLarge."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > VALUE_BYTES_MAX:
            raise KVValueTooLarge(
                f"Value length exceeds limit of {VALUE_BYTES_MAX} bytes. Nothing was changed."
            )
        yield chunk


@dataclass
class Form:
    """The parts `value` and `metadata` of a form."""

    value: "SpooledTemporaryFile[bytes]" = field(
        default_factory=lambda: SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115 - its reader closes it
    )
    metadata: bytes = b""
    found: set[str] = field(default_factory=set)
    _headers: dict[str, bytes] = field(default_factory=dict)
    _name: bytes = b""
    _header: bytes = b""
    _part: str = ""

    def parser(self, boundary: bytes) -> MultipartParser:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": self._on_data,
            },
        )

    def _begin(self) -> None:
        self._headers, self._name, self._header = {}, b"", b""

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._header
        self._name, self._header = b"", b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._part = options.get(b"name", b"").decode("utf-8", "replace")
        self.found.add(self._part)

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "value":
            self.value.write(data[start:end])
            if self.value.tell() > VALUE_BYTES_MAX:
                raise KVValueTooLarge(
                    f"Value length exceeds limit of {VALUE_BYTES_MAX} bytes. Nothing was changed."
                )
        elif self._part == "metadata" and len(self.metadata) < METADATA_PART_BYTES:
            self.metadata += data[start:end]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The value, from its beginning."""
        self.value.seek(0)
        while chunk := self.value.read(CHUNK_BYTES):
            yield chunk


async def read_form(request: Request) -> Form:
    """Raises UploadMalformed or KVValueTooLarge."""
    _, options = parse_options_header(request.headers.get("content-type", ""))
    form = Form()
    try:
        return await _filled(form, options, request)
    except Exception:
        form.value.close()
        raise


async def _filled(form: Form, options: dict[bytes, bytes], request: Request) -> Form:
    try:
        parser = form.parser(options[b"boundary"])
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except (MultipartParseError, KeyError) as error:
        raise UploadMalformed(f"The form cannot be read: {error}. Nothing was changed.") from error
    if "value" not in form.found:
        raise UploadMalformed("The form has no part `value`. Nothing was changed.")
    return form


async def _json(request: Request) -> Any:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BULK_BYTES_MAX:
            raise KVBulkTooLarge(
                f"A request has at most {BULK_BYTES_MAX:,} bytes. Nothing was changed."
            )
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyInvalid(f"The body is not JSON: {error}. Nothing was changed.") from error


_PAIRS, _KEYS = TypeAdapter(list[Pair]), TypeAdapter(list[str])


async def _pairs(request: Request) -> list[Pair]:
    try:
        return _counted(_PAIRS.validate_python(await _json(request)))
    except ValidationError as error:
        raise _invalid(error) from error


async def _keys(request: Request) -> list[str]:
    try:
        return _counted(_KEYS.validate_python(await _json(request)))
    except ValidationError as error:
        raise _invalid(error) from error


def _counted(entries: list[Any]) -> list[Any]:
    if len(entries) > BULK_KEYS_MAX:
        raise KVBulkTooLarge(
            f"A request has at most {BULK_KEYS_MAX:,} keys, not {len(entries):,}. Nothing was changed."
        )
    return entries


def _invalid(error: ValidationError) -> BodyInvalid:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return BodyInvalid(f"{where}: {first['msg']}. Nothing was changed.")


Pairs = Annotated[list[Pair], Depends(_pairs)]
Keys = Annotated[list[str], Depends(_keys)]


def json_body(schema: dict[str, Any]) -> dict[str, Any]:
    """What the document says of a body that is not read by FastAPI."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
