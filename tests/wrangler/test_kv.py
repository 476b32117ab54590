"""KV with each wrangler: namespaces, keys, many keys, and a Worker that binds a namespace."""

import json
import re

import pytest

from tests.platform import Platform
from tests.wrangler.conftest import Project, Said, Wrangler

pytestmark = pytest.mark.xdist_group("wrangler")

WORKER = """
export default {
  async fetch(request, env) {
    const key = new URL(request.url).searchParams.get("key");
    if (request.method === "PUT") await env.CACHE.put(key, request.body);
    const { value, metadata } = await env.CACHE.getWithMetadata(key);
    return Response.json({ value, metadata });
  },
};
"""


def _id(said: Said) -> str:
    found = re.search(r"\b[0-9a-f]{32}\b", said.text)
    assert found, said.text
    return found[0]


def _remote(wrangler: Wrangler) -> list[str]:
    return [] if wrangler.version == "3.114" else ["--remote"]


def test_kv(wrangler: Wrangler, project: Project, platform: Platform) -> None:
    project.write({"index.js": WORKER})
    title = f"cache-{wrangler.version}".replace(".", "-")
    project.configure()
    namespace = _id(wrangler("kv", "namespace", "create", title))
    project.configure(kv_namespaces=[{"binding": "CACHE", "id": namespace}])
    listed = json.loads(wrangler("kv", "namespace", "list").text)
    (found,) = [one for one in listed if one["id"] == namespace]
    assert found["title"].endswith(title)

    wrangler("deploy")
    remote, binding = _remote(wrangler), ["--binding", "CACHE"]
    address = f"/?key={wrangler.version}"
    assert platform.get(project.hostname, address).json() == {"value": None, "metadata": None}

    wrangler("kv", "key", "put", wrangler.version, "by wrangler", *binding, *remote)
    assert platform.get(project.hostname, address).json()["value"] == "by wrangler"
    answer = platform.put(project.hostname, address, b"by the Worker")
    assert answer.json()["value"] == "by the Worker"
    got = wrangler("kv", "key", "get", wrangler.version, *binding, *remote)
    assert "by the Worker" in got

    metadata = ["--metadata", '{"by": "wrangler"}', "--ttl", "600"]
    wrangler("kv", "key", "put", "a/ü b", "odd", *binding, *remote, *metadata)
    keys = json.loads(wrangler("kv", "key", "list", *binding, *remote).text)
    assert [key["name"] for key in keys] == [wrangler.version, "a/ü b"]
    assert keys[1]["metadata"] == {"by": "wrangler"}
    assert keys[1]["expiration"] > 1_700_000_000
    listed = json.loads(wrangler("kv", "key", "list", "--prefix", "a/", *binding, *remote).text)
    assert [key["name"] for key in listed] == ["a/ü b"]
    wrangler("kv", "key", "delete", "a/ü b", *binding, *remote)
    there = platform.api.result("GET", f"storage/kv/namespaces/{namespace}/keys")
    assert [key["name"] for key in there] == [wrangler.version]

    _bulk(wrangler, project, [*binding, *remote])

    wrangler("delete")
    wrangler("kv", "namespace", "delete", "--namespace-id", namespace)
    left = platform.api.result("GET", "storage/kv/namespaces")
    assert namespace not in [one["id"] for one in left]


def _bulk(wrangler: Wrangler, project: Project, where: list[str]) -> None:
    pairs = [{"key": f"bulk/{n}", "value": f"value {n}"} for n in range(1100)]
    pairs[0] |= {"value": "Ynl0ZXM=", "base64": True, "metadata": {"n": 0}}  # type: ignore[dict-item]
    project.write(
        {
            "pairs.json": json.dumps(pairs),
            "keys.json": json.dumps([pair["key"] for pair in pairs]),
            "some.json": json.dumps(["bulk/0", "bulk/7", "bulk/none"]),
        }
    )
    wrangler("kv", "bulk", "put", "pairs.json", *where)
    listed = json.loads(wrangler("kv", "key", "list", "--prefix", "bulk/", *where).text)
    assert len(listed) == len(pairs)
    assert listed[0] == {"name": "bulk/0", "metadata": {"n": 0}}
    if wrangler.version != "3.114":
        said = wrangler("kv", "bulk", "get", "some.json", *where)
        assert all(words in said for words in ("value 7", "bytes", "bulk/none"))
    wrangler("kv", "bulk", "delete", "keys.json", "--force", *where)
    listed = json.loads(wrangler("kv", "key", "list", *where).text)
    assert [key["name"] for key in listed] == [wrangler.version]


def test_a_namespace_in_use_stays(newest: Wrangler, project: Project, platform: Platform) -> None:
    project.write({"index.js": WORKER})
    project.configure()
    namespace = _id(newest("kv", "namespace", "create", "used"))
    assert "already exists" in newest.refused("kv", "namespace", "create", "used")
    project.configure(kv_namespaces=[{"binding": "CACHE", "id": namespace}])
    newest("deploy")
    platform.put(project.hostname, "/?key=a", b"by the Worker")
    newest.refused("kv", "key", "get", "none", "--binding", "CACHE", "--remote")
    newest("deploy")  # bound as before
    said = newest.refused("kv", "namespace", "delete", "--namespace-id", namespace)
    assert project.name in said
    assert platform.get(project.hostname, "/?key=a").json()["value"] == "by the Worker"
    newest("delete")


def test_a_namespace_is_renamed(newest: Wrangler, project: Project) -> None:
    project.configure()
    namespace = _id(newest("kv", "namespace", "create", "before"))
    newest("kv", "namespace", "rename", "before", "--new-name", "after")
    assert '"title": "after"' in newest("kv", "namespace", "list")
    newest("kv", "namespace", "delete", "--namespace-id", namespace)


def test_a_binding_without_an_id_makes_its_namespace(newest: Wrangler, project: Project) -> None:
    project.write({"index.js": WORKER})
    project.configure(kv_namespaces=[{"binding": "CACHE"}])
    newest("deploy")
    title = f"{project.name}-cache"
    namespaces = project.platform.api.result("GET", "storage/kv/namespaces")
    (made,) = [one for one in namespaces if one["title"] == title]
    newest("deploy")
    (settings,) = project.platform.api.result("GET", f"{project.path}/settings")["bindings"]
    assert settings["namespace_id"] == made["id"]
    again = project.platform.api.result("GET", "storage/kv/namespaces")
    assert len([one for one in again if one["title"] == title]) == 1


def test_a_namespace_that_is_not_there(newest: Wrangler, project: Project) -> None:
    project.write({"index.js": WORKER})
    project.configure(kv_namespaces=[{"binding": "CACHE", "id": "1" * 32}])
    assert "10041" in newest.refused("deploy")
    project.is_not_there()
    project.configure(kv_namespaces=[{"binding": "CACHE", "id": "placeholder"}])
    assert "10042" in newest.refused("deploy")
    project.is_not_there()
