"""The S3 endpoint as an unmodified boto3 uses it, on the whole platform."""

import os
from collections.abc import Iterator
from typing import Any

import boto3
import httpx2
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.platform import Platform, platform as platform

pytestmark = pytest.mark.xdist_group("platform")
MIB = 1024 * 1024


def client_of(platform: Platform, key: str, secret: str, **config: Any) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"{platform.url}/s3",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="auto",
        config=Config(retries={"max_attempts": 1}, **config),
    )


@pytest.fixture(scope="module")
def access(platform: Platform) -> Iterator[tuple[str, str]]:
    made = platform.api.result("POST", "skerry/access_keys", json={"name": "boto3"})
    assert made["endpoint"] == f"{platform.url}/s3"
    yield made["id"], made["secret_access_key"]
    platform.api.result("DELETE", f"skerry/access_keys/{made['id']}")


@pytest.fixture(scope="module")
def s3(platform: Platform, access: tuple[str, str]) -> Any:
    client = client_of(platform, *access)
    client.create_bucket(Bucket="boto-files")
    return client


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_put_get_head_copy_and_delete(s3: Any, platform: Platform) -> None:
    key, content = "a folder/ü+1 %.txt", os.urandom(100_000)
    put = s3.put_object(
        Bucket="boto-files",
        Key=key,
        Body=content,
        ContentType="text/x",
        CacheControl="no-cache",
        Metadata={"by": "boto3"},
    )
    got = s3.get_object(Bucket="boto-files", Key=key)
    assert got["Body"].read() == content
    assert (got["ContentType"], got["CacheControl"]) == ("text/x", "no-cache")
    assert (got["Metadata"], got["ETag"]) == ({"by": "boto3"}, put["ETag"])
    part = s3.get_object(Bucket="boto-files", Key=key, Range="bytes=10-19")
    assert part["Body"].read() == content[10:20]
    assert part["ContentRange"] == "bytes 10-19/100000"
    head = s3.head_object(Bucket="boto-files", Key=key)
    assert (head["ContentLength"], head["ETag"]) == (100_000, put["ETag"])

    s3.copy_object(Bucket="boto-files", Key="copy", CopySource={"Bucket": "boto-files", "Key": key})
    copied = s3.get_object(Bucket="boto-files", Key="copy")
    assert (copied["Body"].read(), copied["Metadata"]) == (content, {"by": "boto3"})

    # What the REST API and scripts see.
    listed = platform.api.result("GET", "r2/buckets/boto-files/objects?prefix=a")
    assert [(one["key"], one["custom_metadata"]) for one in listed] == [(key, {"by": "boto3"})]

    deleted = s3.delete_objects(
        Bucket="boto-files", Delete={"Objects": [{"Key": key}, {"Key": "copy"}, {"Key": "none"}]}
    )
    assert len(deleted["Deleted"]) == 3
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="boto-files", Key=key)
    assert refusal(error) == (404, "NoSuchKey")
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket="boto-files", Key=key)
    assert refusal(error) == (404, "404")


def test_conditions(s3: Any) -> None:
    etag = s3.put_object(Bucket="boto-files", Key="c", Body=b"1")["ETag"]
    for wanted, status in (
        ({"IfNoneMatch": etag}, 304),
        ({"IfMatch": '"other"'}, 412),
    ):
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket="boto-files", Key="c", **wanted)
        assert refusal(error)[0] == status
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="boto-files", Key="c", Body=b"2", IfNoneMatch="*")
    assert refusal(error) == (412, "PreconditionFailed")
    assert s3.get_object(Bucket="boto-files", Key="c", IfMatch=etag)["Body"].read() == b"1"


def test_lists_in_pages(s3: Any) -> None:
    for key in ("l/a/1", "l/a/2", "l/b", "l/c d&<", "m"):
        s3.put_object(Bucket="boto-files", Key=key, Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="boto-files", Prefix="l/", Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    found = [
        entry.get("Key") or entry["Prefix"]
        for page in pages
        for entry in (*page.get("Contents", []), *page.get("CommonPrefixes", []))
    ]
    assert found == ["l/a/", "l/b", "l/c d&<"]
    after = s3.list_objects_v2(Bucket="boto-files", Prefix="l/", StartAfter="l/a/2")
    assert [one["Key"] for one in after["Contents"]] == ["l/b", "l/c d&<"]


def test_uploads_in_parts(s3: Any, tmp_path: Any) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(17 * MIB))
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
    s3.upload_file(str(large), "boto-files", "large", Config=config)
    assert s3.head_object(Bucket="boto-files", Key="large")["ETag"].endswith('-3"')
    s3.download_file("boto-files", "large", str(tmp_path / "back.bin"), Config=config)
    assert (tmp_path / "back.bin").read_bytes() == large.read_bytes()

    begun = s3.create_multipart_upload(Bucket="boto-files", Key="given-up")["UploadId"]
    where = {"Bucket": "boto-files", "Key": "given-up", "UploadId": begun}
    etag = s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    assert [one["ETag"] for one in s3.list_parts(**where)["Parts"]] == [etag]
    uploads = s3.list_multipart_uploads(Bucket="boto-files")["Uploads"]
    assert [one["UploadId"] for one in uploads] == [begun]
    wrong = {"Parts": [{"PartNumber": 1, "ETag": '"0"'}]}
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**where, MultipartUpload=wrong)
    assert refusal(error) == (400, "InvalidPart")
    s3.abort_multipart_upload(**where)
    with pytest.raises(ClientError) as error:
        s3.list_parts(**where)
    assert refusal(error) == (404, "NoSuchUpload")


def test_presigned_urls(s3: Any) -> None:
    target = {"Bucket": "boto-files", "Key": "pre signed/ü"}
    put = s3.generate_presigned_url("put_object", Params=target, ExpiresIn=60)
    assert httpx2.put(put, content=b"by url", trust_env=False).status_code == 200
    get = s3.generate_presigned_url("get_object", Params=target, ExpiresIn=60)
    assert httpx2.get(get, trust_env=False).text == "by url"
    for changed in (get.replace("Expires=60", "Expires=61"), get.replace("pre%20", "pro%20")):
        refused = httpx2.get(changed, trust_env=False)
        assert (refused.status_code, "SignatureDoesNotMatch" in refused.text) == (403, True)


def test_who_may_not(s3: Any, platform: Platform, access: tuple[str, str]) -> None:
    key, secret = access
    for client, code in (
        (client_of(platform, key, "wrong"), "SignatureDoesNotMatch"),
        (client_of(platform, "0" * 32, secret), "InvalidAccessKeyId"),
    ):
        with pytest.raises(ClientError) as error:
            client.list_objects_v2(Bucket="boto-files")
        assert refusal(error) == (403, code)
    assert httpx2.get(f"{platform.url}/s3/boto-files/c", trust_env=False).status_code == 403
    revoked = platform.api.result("POST", "skerry/access_keys", json={"name": "gone"})
    platform.api.result("DELETE", f"skerry/access_keys/{revoked['id']}")
    client = client_of(platform, revoked["id"], revoked["secret_access_key"])
    with pytest.raises(ClientError) as error:
        client.list_objects_v2(Bucket="boto-files")
    assert refusal(error) == (403, "InvalidAccessKeyId")
    assert "boto-files" in [one["Name"] for one in s3.list_buckets()["Buckets"]]


def test_content_that_is_not_what_was_signed_is_not_stored(s3: Any) -> None:
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="boto-files", Key="bad", Body=b"x", ChecksumCRC32="AAAAAA==")
    assert refusal(error) == (400, "BadDigest")
    with pytest.raises(ClientError) as error:
        s3.put_object(
            Bucket="boto-files", Key="bad", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg=="
        )
    assert refusal(error) == (400, "BadDigest")
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket="boto-files", Key="bad")
    assert refusal(error)[0] == 404


def test_buckets(s3: Any) -> None:
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket="boto-files")
    assert refusal(error) == (409, "BucketNotEmpty")
    s3.create_bucket(Bucket="boto-gone")
    s3.head_bucket(Bucket="boto-gone")
    s3.delete_bucket(Bucket="boto-gone")
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket="boto-gone")
    assert refusal(error) == (404, "NoSuchBucket")
    with pytest.raises(ClientError) as error:
        s3.get_bucket_policy(Bucket="boto-files")
    assert refusal(error) == (501, "NotImplemented")
