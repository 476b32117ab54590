"""Stores of two nodes that share their data in a bucket: what one writes the other reads."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from edge.agent.settings import SettingsError, read_settings
from tests.edge.bundles import ACCOUNT_ID, Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, free_port, running_node, until

pytestmark = pytest.mark.edge

MIB = 1024 * 1024
BUCKET = "s3://skerry-test/data"
KEYS = {"SKERRY_BUCKET_ACCESS_KEY_ID": "key", "SKERRY_BUCKET_SECRET_ACCESS_KEY": "secret"}

SCRIPT = """
const bytes = (size) => new Uint8Array(size).fill(7);
const hash = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex();
const TESTS = {
  put: ({ KV }, { key, value }) => KV.put(key, value),
  get: ({ KV }, { key }) => KV.get(key),
  large: ({ KV }, { size }) => KV.put("large", bytes(size)),
  largeHash: async ({ KV }) => hash(await KV.get("large", "arrayBuffer")),
  sql: async ({ DB }, { sql }) => (await DB.prepare(sql).all()).results,
  store: async ({ R2 }, { key, size }) => (await R2.put(key, bytes(size))).etag,
  part: async ({ R2 }, { key, offset, length }) => (await (await R2.get(key, { range: { offset, length } })).arrayBuffer()).byteLength,
  whole: async ({ R2 }, { key }) => hash(await (await R2.get(key)).arrayBuffer()),
  remove: ({ R2 }, { key }) => R2.delete(key),
  send: ({ QUEUE }, { body }) => QUEUE.send(body),
};
export default {
  async fetch(request, env) {
    const { test, ...options } = await request.json();
    try {
      return Response.json((await TESTS[test](env, options)) ?? null);
    } catch (error) {
      return new Response(error.stack, { status: 418 });
    }
  },
  async queue(batch, env) {
    for (const { body } of batch.messages) {
      await env.KV.put("got", ((await env.KV.get("got")) ?? "") + body);
    }
  },
};
"""


def script() -> Bundle:
    bindings: list[Json] = [
        {"name": "KV", "type": "kv_namespace", "namespace_id": "space"},
        {"name": "DB", "type": "d1", "id": "base"},
        {"name": "R2", "type": "r2_bucket", "bucket_name": "files"},
        {"name": "QUEUE", "type": "queue", "queue_name": "jobs"},
    ]
    return Bundle(SCRIPT, bindings=bindings)


class Cloud:
    """An S3 of moto's with an empty bucket."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )

    def settings(self) -> dict[str, str]:
        return {"SKERRY_BUCKET": BUCKET, "SKERRY_BUCKET_ENDPOINT": self.url, **KEYS}

    def keys(self, prefix: str) -> list[str]:
        found = self.client.get_paginator("list_objects_v2").paginate(
            Bucket="skerry-test", Prefix=f"data/stores/{ACCOUNT_ID}/{prefix}"
        )
        return [one["Key"] for page in found for one in page.get("Contents", ())]


@contextmanager
def running_cloud(folder: Path) -> Iterator[Cloud]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("wb") as log:
        moto = subprocess.Popen(command, stdout=log, stderr=log)
    cloud = Cloud(port)
    try:
        until(lambda: _made(cloud), 60, "moto answers")
        yield cloud
    finally:
        cloud.client.close()
        moto.kill()
        moto.wait()


def _made(cloud: Cloud) -> bool:
    try:
        cloud.client.create_bucket(Bucket="skerry-test")
    except Exception:
        time.sleep(0.2)
        return False
    return True


@pytest.fixture(scope="module")
def cloud(folder: Path) -> Iterator[Cloud]:
    with running_cloud(folder) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path, cloud: Cloud) -> Iterator[TestNode]:
    """The one that was there first."""
    with running_node(gateway, folder, **cloud.settings()) as node:
        assert node.deploy("app", script())["state"] == "live", node.log()
        yield node


@pytest.fixture(scope="module")
def other(gateway: Gateway, folder: Path, cloud: Cloud, node: TestNode) -> Iterator[TestNode]:
    with running_node(gateway, folder, "edge-2", **cloud.settings()) as other:
        assert joined(other, node, BUCKET)["state"] == "live", other.log()
        yield other


def joined(other: TestNode, first: TestNode, bucket: str | None) -> Json:
    """Deploy it on a node that is not the first one; its word on the slot."""
    bundle = script()
    decided = other.gateway.decide(other.enrolled, "app", bundle)
    decided |= {"data_node": first.name, "data_bucket": bucket}
    slots = other.gateway.push(other.enrolled, decided, files=bundle.files())["slots"]
    assert isinstance(slots, list)
    said: Json = slots[0]
    return said


def run(node: TestNode, test: str, **options: object) -> object:
    content = json.dumps({"test": test, **options}).encode()
    answer = node.visit("app", "/", "POST", content)
    assert answer.status == 200, f"{answer.text}\n{node.log()[-3000:]}"
    return json.loads(answer.body)


def filled(size: int) -> str:
    return hashlib.sha256(b"\x07" * size).hexdigest()


def test_what_one_node_writes_the_other_reads(
    node: TestNode, other: TestNode, cloud: Cloud
) -> None:
    run(node, "put", key="greeting", value="hello")
    assert run(other, "get", key="greeting") == "hello"
    run(other, "put", key="greeting", value="changed")
    assert run(node, "get", key="greeting") == "changed"
    run(node, "large", size=25 * MIB)
    assert run(other, "largeHash") == filled(25 * MIB)
    assert run(node, "sql", sql="CREATE TABLE t (x)") == []
    assert run(other, "sql", sql="INSERT INTO t VALUES (1), (2)") == []
    assert run(node, "sql", sql="SELECT count(*) AS n FROM t") == [{"n": 2}]
    run(other, "store", key="file", size=20 * MIB)
    assert run(node, "whole", key="file") == filled(20 * MIB)
    # Across the pieces in which it lies in the bucket.
    assert run(node, "part", key="file", offset=8 * MIB - 5, length=8 * MIB + 10) == 8 * MIB + 10
    assert len(cloud.keys("r2/v1/services/blobs")) == 4
    run(node, "remove", key="file")
    until(lambda: not cloud.keys("r2/v1/services/blobs"), 10, "its bytes are gone")
    # The API of either node leads to the same.
    path = f"/stores/kv/{ACCOUNT_ID}/space/greeting?urlencoded=true"
    for one in (node, other):
        assert one.gateway.ask(one.enrolled, "GET", path)[2] == b"changed"


def test_one_node_delivers_what_any_sends(node: TestNode, other: TestNode) -> None:
    consumer = {
        "type": "worker",
        "script_id": script_id(node),
        "batch_size": 10,
        "max_wait_ms": 0,
        "max_retries": 3,
        "retry_delay": 0,
        "max_concurrency": 1,
        "dead_letter_queue": None,
    }
    settings = {"paused": False, "delivery_delay": 0, "retention": 345_600, "consumer": consumer}
    body = json.dumps({"revision": time.time_ns() // 1000, **settings}).encode()
    path = f"/stores/queues/{ACCOUNT_ID}/jobs/configure"
    assert other.gateway.ask(other.enrolled, "POST", path, body)[0] == 200
    run(other, "send", body="a")
    until(lambda: run(other, "get", key="got") == "a", 20, f"delivered\n{node.log()[-3000:]}")
    run(node, "send", body="b")
    until(lambda: run(other, "get", key="got") == "ab", 20, "delivered")


def script_id(node: TestNode) -> str:
    (slot,) = node.enrolled.slots.values()
    return str(slot["script_id"])


def test_the_other_takes_over_when_one_dies(node: TestNode, other: TestNode) -> None:
    """Nobody lets go of anything: the leases run out, and who asks meanwhile waits."""
    for key in ("kept", "greeting"):
        run(node, "put", key=key, value="before")
    run(node, "sql", sql="INSERT INTO t VALUES (3)")
    run(node, "store", key="kept", size=100)
    node.kill_everything()
    assert run(other, "sql", sql="SELECT count(*) AS n FROM t") == [{"n": 3}]
    assert run(other, "get", key="kept") == "before"
    assert run(other, "whole", key="kept") == filled(100)
    run(other, "put", key="kept", value="after")
    node.start()
    assert run(node, "get", key="kept") == "after"


def test_nodes_that_do_not_share_refuse(
    gateway: Gateway, folder: Path, cloud: Cloud, node: TestNode
) -> None:
    with running_node(gateway, folder, "edge-3") as alone:
        said = joined(alone, node, BUCKET)
        assert said["state"] == "failed"
        assert "SKERRY_BUCKET" in str(said["reason"])
        # What it writes on its own it does not leave behind when it gets a bucket.
        assert alone.deploy("app", script())["state"] == "live"
        run(alone, "put", key="mine", value="old")
        alone.stop()
        alone.configure(**cloud.settings() | {"SKERRY_BUCKET": "s3://skerry-test/another"})
        alone.start()
        answer = alone.visit("app", "/", "POST", b'{"test": "get", "key": "mine"}')
        assert answer.status == 418
        until(lambda: "./skerry storage move" in alone.log(), 10, "it says what to do")
        assert joined(alone, node, BUCKET)["state"] == "failed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SKERRY_BUCKET": "skerry"}, "must be s3://name/prefix"),
        ({"SKERRY_BUCKET_SECRET_ACCESS_KEY": ""}, "needs SKERRY_BUCKET_SECRET_ACCESS_KEY"),
        ({"SKERRY_BUCKET_ENDPOINT": "host:9000"}, "must be a URL"),
    ],
)
def test_settings_that_cannot_be_meant(changes: dict[str, str], said: str) -> None:
    arguments = ["--dir", "d", "--name", "n", "--http-port", "1", "--https-port", "2"]
    environ = {"SKERRY_BUCKET": BUCKET, **KEYS, **changes}
    with pytest.raises(SettingsError, match=said):
        read_settings([*arguments, "--agent-port", "3"], environ)
