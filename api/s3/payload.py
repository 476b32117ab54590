"""The body of an upload, checked while it streams: against a digest, or in signed chunks.

What was checked and found wrong raises before the last bytes are handed on, so a store that was
promised a length never gets the whole of it and keeps nothing.
"""

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping

from api.s3.problems import S3Problem, invalid, mismatched
from api.s3.sigv4 import UNSIGNED, Claim, sign, signing_key

STREAMING = "STREAMING-"
CHUNKED_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_CHUNKED_SIGNED = {
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
}
_EMPTY = hashlib.sha256(b"").hexdigest()
_HEX = re.compile(r"[0-9a-f]{64}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?")
_LINE_MOST = 4096
# The clients' chunks have 64 KiB to 1 MiB; one has to be whole before its signature can be checked.
_CHUNK_MOST = 16 * 1024 * 1024

Check = Callable[[bytes], None]


class Checksums:
    """The checksums that S3's clients send, of what has passed; CRC32C and CRC64NVME go unchecked."""

    def __init__(self) -> None:
        self._crc32 = 0
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._sha256 = hashlib.sha256()

    def add(self, part: bytes) -> None:
        self._crc32 = zlib.crc32(part, self._crc32)
        self._sha1.update(part)
        self._sha256.update(part)

    def compare(self, headers: Mapping[str, str]) -> None:
        """Raises S3Problem for one of the headers that says something else."""
        found = {
            "x-amz-checksum-crc32": self._crc32.to_bytes(4, "big"),
            "x-amz-checksum-sha1": self._sha1.digest(),
            "x-amz-checksum-sha256": self._sha256.digest(),
        }
        for name, digest in found.items():
            if name in headers and headers[name].strip() != base64.b64encode(digest).decode():
                raise S3Problem(
                    "BadDigest", 400, f"The content does not match the {name} that came with it."
                )

    def compare_sha256(self, wanted: str) -> None:
        if self._sha256.hexdigest() != wanted:
            raise S3Problem(
                "XAmzContentSHA256Mismatch",
                400,
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )


def size_of(claim: Claim, headers: Mapping[str, str]) -> int:
    """The length of the content in bytes. Raises S3Problem when the client does not say it."""
    chunked = claim.payload.startswith(STREAMING)
    text = headers.get("x-amz-decoded-content-length" if chunked else "content-length", "")
    if not text.isdecimal():
        raise S3Problem("MissingContentLength", 411, "The length of the content is missing.")
    return int(text)


def content_of(
    claim: Claim, secret: str, headers: Mapping[str, str], body: AsyncIterable[bytes]
) -> AsyncIterator[bytes]:
    """The content of a body, as the request says that it is wrapped and signed."""
    if claim.payload == CHUNKED_UNSIGNED:
        return _held_back(_unwrapped(body, headers, None))
    if claim.payload in _CHUNKED_SIGNED:
        return _held_back(_unwrapped(body, headers, _chain(claim, secret)))
    if claim.payload != UNSIGNED and not _HEX.fullmatch(claim.payload):
        raise invalid(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a digest or a STREAMING- word."
        )
    return _held_back(_plain(claim, headers, body))


async def _held_back(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, one part later: the last one goes on when what follows it was found good."""
    last = b""
    async for part in parts:
        if last:
            yield last
        last = part
    if last:
        yield last


async def _plain(
    claim: Claim, headers: Mapping[str, str], body: AsyncIterable[bytes]
) -> AsyncIterator[bytes]:
    sums = Checksums()
    async for part in body:
        if part:
            sums.add(part)
            yield part
    if claim.payload != UNSIGNED:
        sums.compare_sha256(claim.payload)
    sums.compare(headers)


class _Reader:
    """Lines and exact lengths out of a stream of bytes."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._parts = aiter(body)
        self._held = bytearray()

    async def line(self) -> bytes:
        while (end := self._held.find(b"\r\n")) < 0:
            if len(self._held) > _LINE_MOST or not await self._more():
                raise invalid("The body is not in the chunks that its headers announce.")
        line = bytes(self._held[:end])
        del self._held[: end + 2]
        return line

    async def exactly(self, length: int) -> bytes:
        while len(self._held) < length:
            if not await self._more():
                raise S3Problem("IncompleteBody", 400, "The body ended within a chunk.")
        found = bytes(self._held[:length])
        del self._held[:length]
        return found

    async def _more(self) -> bool:
        async for part in self._parts:
            if part:
                self._held += part
                return True
        return False


async def _unwrapped(
    body: AsyncIterable[bytes],
    headers: Mapping[str, str],
    chain: "Callable[[bytes, str], None] | None",
) -> AsyncIterator[bytes]:
    """The content of `aws-chunked`: `SIZE[;chunk-signature=…]`, as many bytes, … and trailers."""
    reader, sums = _Reader(body), Checksums()
    while True:
        found = _CHUNK.fullmatch(await reader.line())
        if found is None or int(found[1], 16) > _CHUNK_MOST:
            raise invalid("The body is not in the chunks that its headers announce.")
        size = int(found[1], 16)
        chunk = await reader.exactly(size)
        if chain is not None:
            chain(chunk, (found[2] or b"").decode())
        if size == 0:
            break
        if await reader.exactly(2) != b"\r\n":
            raise invalid("A chunk is not as long as it says.")
        sums.add(chunk)
        yield chunk
    sums.compare({**headers, **await _trailers(reader)})


async def _trailers(reader: _Reader) -> dict[str, str]:
    """What comes behind the last chunk. Their own signature is not looked at: what they say is
    compared with content whose chunks were signed."""
    found: dict[str, str] = {}
    try:
        while line := await reader.line():
            name, _, value = line.decode("latin-1").partition(":")
            found[name.strip().lower()] = value.strip()
    except S3Problem:
        # Without trailers some clients end the body right behind the last chunk.
        if found:
            raise
    return found


def _chain(claim: Claim, secret: str) -> Callable[[bytes, str], None]:
    """Every chunk is signed together with the signature of the one before."""
    key = signing_key(secret, claim.scope)
    before = claim.signature

    def check(chunk: bytes, signature: str) -> None:
        nonlocal before
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256-PAYLOAD",
                claim.timestamp,
                str(claim.scope),
                before,
                _EMPTY,
                hashlib.sha256(chunk).hexdigest(),
            )
        )
        if sign(key, text) != signature:
            raise mismatched("The signature of a chunk does not match.")
        before = signature

    return check


def md5_of(headers: Mapping[str, str]) -> str | None:
    """`Content-MD5`, in base64, if the client sent one."""
    text = headers.get("content-md5")
    if text is None:
        return None
    try:
        if len(base64.b64decode(text, validate=True)) == 16:
            return text
    except binascii.Error:
        pass
    raise S3Problem("InvalidDigest", 400, "The Content-MD5 you specified is not valid.")
