"""R2 as wrangler and a deployed script use it: one sees what the other wrote."""

import os

import pytest

from tests.wrangler.conftest import Project, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = """
export default {
  async fetch(request, env) {
    const key = decodeURIComponent(new URL(request.url).pathname.slice(1));
    if (request.method === "PUT") {
      await env.FILES.put(key, request.body, { customMetadata: { by: "script" } });
      return new Response("stored");
    }
    const object = await env.FILES.get(key);
    if (object === null) return new Response("nothing", { status: 404 });
    return new Response(object.body, { headers: { type: object.httpMetadata.contentType ?? "" } });
  },
};
"""


def bound(project: Project, bucket: str) -> None:
    project.write({"index.js": SCRIPT})
    project.configure(r2_buckets=[{"binding": "FILES", "bucket_name": bucket}])


def remote(wrangler: Wrangler) -> list[str]:
    """wrangler 4 has to be told; wrangler 3 knows nothing else."""
    return [] if wrangler.version.startswith("3") else ["--remote"]


def test_buckets_and_objects(wrangler: Wrangler, project: Project) -> None:
    bucket = f"files-{wrangler.version.replace('.', '-')}"
    bound(project, bucket)
    assert f"Created bucket '{bucket}'" in wrangler("r2", "bucket", "create", bucket)

    content = os.urandom(3_000_000)
    project.write({"sent.bin": content})
    path, where = f"{bucket}/a folder/sent.bin", remote(wrangler)
    wrangler("r2", "object", "put", path, "--file=sent.bin", "--content-type=x/y", *where)
    wrangler("deploy")
    got = project.platform.get(project.hostname, "/a%20folder/sent.bin")
    assert (got.content, got.headers["type"]) == (content, "x/y")

    put = project.platform.put(project.hostname, "/inner", content[:1000])
    assert put.text == "stored"
    wrangler("r2", "object", "get", f"{bucket}/inner", "--file=got.bin", *where)
    assert (project.folder / "got.bin").read_bytes() == content[:1000]
    assert "object_count:           2" in wrangler("r2", "bucket", "info", bucket)

    assert "10051" in wrangler.refused("r2", "bucket", "delete", bucket)
    wrangler("delete", "--force")
    project.platform.api.result("DELETE", f"r2/buckets/{bucket}/objects/inner")
    assert project.platform.api.refusal("DELETE", f"r2/buckets/{bucket}")[:2] == (409, 10008)
    wrangler("r2", "object", "delete", path, *where)
    assert bucket in wrangler("r2", "bucket", "list")
    assert f"Deleted bucket {bucket}" in wrangler("r2", "bucket", "delete", bucket)


def test_a_bucket_is_made_by_the_deploy_that_binds_it(newest: Wrangler, project: Project) -> None:
    project.write({"index.js": SCRIPT})
    project.configure(r2_buckets=[{"binding": "FILES"}])
    newest("deploy")
    bucket = f"{project.name}-files"
    assert project.platform.put(project.hostname, "/x", b"1").text == "stored"
    listed = project.platform.api.result("GET", f"r2/buckets/{bucket}/objects")
    assert [(one["key"], one["custom_metadata"]) for one in listed] == [("x", {"by": "script"})]


def test_a_bucket_that_is_not_there_is_refused_before_anything_changes(
    newest: Wrangler, project: Project
) -> None:
    bound(project, "never-made")
    said = newest.refused("deploy", "--no-x-provision")
    assert "10085" in said
    project.is_not_there()


def test_what_buckets_do_not_have_is_refused_by_name(newest: Wrangler, project: Project) -> None:
    newest("r2", "bucket", "create", "plain-bucket")
    for command in (["lifecycle", "list"], ["cors", "list"]):
        said = newest.refused("r2", "bucket", *command, "plain-bucket")
        assert "not supported by Skerry" in said, command
    newest("r2", "bucket", "update", "storage-class", "plain-bucket", "-s", "InfrequentAccess")
    found = project.platform.api.result("GET", "r2/buckets/plain-bucket")
    assert found["storage_class"] == "InfrequentAccess"


def test_objects_over_rest(newest: Wrangler, project: Project) -> None:
    del newest
    api = project.platform.api
    api.result("POST", "r2/buckets", json={"name": "rest-bucket"})
    for key in ("a/1", "a/2", "b"):
        path = f"r2/buckets/rest-bucket/objects/{key}"
        api.result("PUT", path, content=key.encode(), headers={"Content-Type": "text/x"})
    answer = api.call("GET", "r2/buckets/rest-bucket/objects?delimiter=/&per_page=1").json()
    assert [one["key"] for one in answer["result"]] == []
    info = answer["result_info"]
    assert (info["delimited"], info["is_truncated"]) == (["a/"], True)
    more = api.result("GET", f"r2/buckets/rest-bucket/objects?cursor={info['cursor']}")
    assert [one["key"] for one in more] == ["b"]
    got = api.call("GET", "r2/buckets/rest-bucket/objects/a/2", headers={"Range": "bytes=1-"})
    assert (got.status_code, got.text, got.headers["content-type"]) == (206, "/2", "text/x")
    assert got.headers["content-range"] == "bytes 1-2/3"
    assert api.refusal("GET", "r2/buckets/rest-bucket/objects/none")[:2] == (404, 10007)
    assert api.refusal("PUT", "r2/buckets/none/objects/x", content=b"x")[:2] == (404, 10006)
    assert api.refusal("PUT", f"r2/buckets/rest-bucket/objects/{'k' * 1025}")[:2] == (400, 10020)
    assert api.refusal("POST", "r2/buckets", json={"name": "No"})[:2] == (400, 10005)
