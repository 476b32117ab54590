"""Signature Version 4 against AWS's published examples and botocore; access keys; refusals of the S3 endpoint."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from api.s3 import payload, sigv4
from api.s3.problems import S3Problem
from tests.cast import Tenant
from tests.loops import run

# https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html: its examples' key.
KEY_ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOST = "examplebucket.s3.amazonaws.com"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
THEN = datetime(2013, 5, 24, tzinfo=UTC)


def authorization(headers: str, signature: str) -> str:
    scope = f"{KEY_ID}/20130524/us-east-1/s3/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={headers},Signature={signature}"


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "signature"),
    [
        (
            "GET",
            "/test.txt",
            "",
            {"range": "bytes=0-9", "x-amz-content-sha256": EMPTY},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            "",
            {
                "date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            "lifecycle",
            {"x-amz-content-sha256": EMPTY},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            "max-keys=2&prefix=J",
            {"x-amz-content-sha256": EMPTY},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_published_examples(
    method: str, path: str, query: str, headers: dict[str, str], signature: str
) -> None:
    headers = {"host": HOST, "x-amz-date": "20130524T000000Z", **headers}
    headers["authorization"] = authorization(";".join(sorted(headers)), signature)
    request = sigv4.Request(method, path, query, headers)
    claim = sigv4.claim_of(request, THEN)
    assert claim.access_key_id == KEY_ID
    assert sigv4.signature_of(request, claim, SECRET) == signature
    assert not sigv4.is_signed_by(request, claim, SECRET + "x")


def test_the_published_presigned_url() -> None:
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2F"
        "us-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&"
        "X-Amz-SignedHeaders=host&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    request = sigv4.Request("GET", "/test.txt", query, {"host": HOST})
    assert sigv4.is_signed_by(request, sigv4.claim_of(request, THEN), SECRET)
    with pytest.raises(S3Problem, match="expired"):
        sigv4.claim_of(request, THEN + timedelta(days=1, seconds=1))


@pytest.mark.parametrize("auth", [S3SigV4Auth, S3SigV4QueryAuth])
@pytest.mark.parametrize("path", ["/s3/b/a%20b/%C3%BC%2B~%25", "/s3/b/a//b/../c", "/s3"])
def test_what_botocore_signs(auth: type, path: str) -> None:
    sent = AWSRequest(
        "PUT", f"http://h:1{path}?x=a%2Bb&empty=&list-type=2", {"X-Amz-Meta-A": " b  c "}
    )
    sent.headers["Host"] = "h:1"
    auth(Credentials(KEY_ID, SECRET), "s3", "auto").add_auth(sent)
    url = urlsplit(sent.url)
    headers = {name.lower(): value for name, value in sent.headers.items()}
    request = sigv4.Request("PUT", url.path, url.query, headers)
    claim = sigv4.claim_of(request, datetime.now(UTC))
    assert sigv4.is_signed_by(request, claim, SECRET)
    other = sigv4.Request("PUT", url.path + "x", url.query, headers)
    assert not sigv4.is_signed_by(other, claim, SECRET)


async def _parts(*parts: bytes):  # type: ignore[no-untyped-def]
    for part in parts:
        yield part


def _chunked(claim: sigv4.Claim, *parts: bytes) -> bytes:
    async def whole() -> bytes:
        return b"".join(
            [part async for part in payload.content_of(claim, SECRET, {}, _parts(*parts))]
        )

    return run(whole())


def test_the_published_chunks() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html"""
    scope = sigv4.Scope("20130524", "us-east-1", "s3")
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    claim = sigv4.Claim(
        KEY_ID, scope, "20130524T000000Z", ("host",), seed, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    )
    signatures = (
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    )
    chunks = (b"a" * 65536, b"a" * 1024, b"")
    body = b"".join(
        b"%x;chunk-signature=%s\r\n%s\r\n" % (len(chunk), signature.encode(), chunk)
        for chunk, signature in zip(chunks, signatures, strict=True)
    )
    assert _chunked(claim, body) == b"a" * 66560
    assert (
        _chunked(claim, *(body[at : at + 1000] for at in range(0, len(body), 1000))) == b"a" * 66560
    )
    with pytest.raises(S3Problem, match="signature of a chunk"):
        _chunked(claim, body.replace(b"a" * 1024, b"a" * 1023 + b"b"))
    with pytest.raises(S3Problem):
        _chunked(claim, body[:-200])


def test_chunks_with_a_checksum_behind_them() -> None:
    scope = sigv4.Scope("20130524", "auto", "s3")
    claim = sigv4.Claim(KEY_ID, scope, "", ("host",), "", payload.CHUNKED_UNSIGNED)
    good = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    assert _chunked(claim, good) == b"hello"
    with pytest.raises(S3Problem, match="x-amz-checksum-crc32"):
        _chunked(claim, good.replace(b"hello", b"hallo"))


def test_access_keys(alice: Tenant, mallory: Tenant) -> None:
    made = alice.result("POST", "skerry/access_keys", json={"name": "laptop"})
    assert len(made["secret_access_key"]) == 64
    (listed,) = alice.result("GET", "skerry/access_keys")
    assert (listed["id"], listed["name"]) == (made["id"], "laptop")
    assert made["secret_access_key"] not in str(listed)
    path = f"skerry/access_keys/{made['id']}"
    assert mallory.refusal("DELETE", path)[:2] == (404, 10227)
    alice.result("DELETE", path)
    assert alice.result("GET", "skerry/access_keys") == []
    assert alice.refusal("POST", "skerry/access_keys", json={"name": " "})[:2] == (422, 10004)


def test_unsigned_requests_are_refused_in_xml(alice: Tenant) -> None:
    for method, path in (("GET", "/s3"), ("PUT", "/s3/b/k"), ("GET", "/s3/b?X-Amz-Signature=1")):
        answer = alice.client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/xml")
        assert "<Code>AccessDenied</Code>" in answer.text
