"""A thousand acknowledged writes of each kind, while the cell, the stores, the agent and the whole node are killed:
every one of them is there afterwards."""

import http.client
import json
import os
import signal
import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.edge.bundles import ACCOUNT_ID, Bundle
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.test_queues import consumed_by

pytestmark = pytest.mark.edge

WRITES = 1000
SOURCE = """
import { DurableObject } from "cloudflare:workers";

export class Ledger extends DurableObject {
  async add(keys) {
    await this.ctx.storage.put(Object.fromEntries(keys.map((key) => [key, 1])));
  }
  async all() {
    return [...(await this.ctx.storage.list()).keys()];
  }
}

const ledger = (env, name) => env.LEDGER.getByName(name);

async function listed(page) {
  const keys = [];
  for (let cursor, found; !found || cursor; cursor = found.cursor) {
    found = await page({ cursor });
    keys.push(...(found.keys?.map((one) => one.name) ?? found.objects.map((one) => one.key)));
  }
  return keys;
}

const kinds = {
  kv: {
    add: (env, key) => env.KV.put(key, "x"),
    all: (env) => listed((options) => env.KV.list(options)),
  },
  d1: {
    add: (env, key) => env.DB.prepare("INSERT INTO written VALUES (?)").bind(key).run(),
    all: async (env) => (await env.DB.prepare("SELECT key FROM written").raw()).flat(),
  },
  r2: {
    add: (env, key) => env.BUCKET.put(key, "x"),
    all: (env) => listed((options) => env.BUCKET.list(options)),
  },
  queue: {
    add: (env, key) => env.QUEUE.send(key),
    all: (env) => ledger(env, "consumed").all(),
  },
  object: {
    add: (env, key) => ledger(env, "written").add([key]),
    all: (env) => ledger(env, "written").all(),
  },
};

export default {
  async fetch(request, env) {
    const [, kind, key] = new URL(request.url).pathname.split("/");
    if (kind === "prepare") {
      await env.DB.exec("CREATE TABLE IF NOT EXISTS written (key TEXT)");
      return new Response();
    }
    if (request.method === "GET") return Response.json(await kinds[kind].all(env));
    await kinds[kind].add(env, key);
    return new Response();
  },
  async queue(batch, env) {
    await ledger(env, "consumed").add(batch.messages.map((message) => message.body));
  },
};
"""
KINDS = ("kv", "d1", "r2", "queue", "object")


class Writer:
    """Writes one key after the other with one kind, a new key after each failure."""

    def __init__(self, node: TestNode, kind: str) -> None:
        self._node, self._kind = node, kind
        self.acknowledged: list[str] = []
        self.failed: list[str] = []
        self.thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        number = 0
        deadline = time.monotonic() + 240
        while len(self.acknowledged) < WRITES and time.monotonic() < deadline:
            key, number = f"{number:05}", number + 1
            try:
                answer = self._node.visit("writer", f"/{self._kind}/{key}", "PUT")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                time.sleep(0.02)
                continue
            if answer.status == 200:
                self.acknowledged.append(key)
            else:
                self.failed.append(f"{answer.status} {answer.text[:200]}")
                time.sleep(0.02)


def deployed(node: TestNode) -> None:
    bundle = Bundle(
        SOURCE,
        objects=[{"class_name": "Ledger", "namespace_id": uuid.uuid4().hex, "sqlite": True}],
        bindings=[
            {"name": "LEDGER", "type": "durable_object_namespace", "class_name": "Ledger"},
            {"name": "KV", "type": "kv_namespace", "namespace_id": "written"},
            {"name": "DB", "type": "d1", "id": "written"},
            {"name": "BUCKET", "type": "r2_bucket", "bucket_name": "written"},
            {"name": "QUEUE", "type": "queue", "queue_name": "written"},
        ],
    )
    said = node.deploy("writer", bundle)
    assert said["state"] == "live", said
    consumed_by(node, "written", said, max_wait_ms=0, max_retries=100)
    assert node.visit("writer", "/prepare").status == 200


def kill(node: TestNode, victim: str) -> None:
    if victim == "node":
        node.kill_everything()
        node.start()
    elif victim == "agent":
        node.kill_agent()
        node.start()
    else:
        pids = node.pids(victim)
        assert pids, f"no {victim} runs"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def reach(writers: dict[str, Writer], count: int) -> None:
    until(
        lambda: all(len(one.acknowledged) >= count for one in writers.values()),
        120,
        f"{count} writes of each kind\n{[one.failed[-2:] for one in writers.values()]}",
    )


def test_every_acknowledged_write_is_there_whoever_is_killed(
    gateway: Gateway, folder: Path
) -> None:
    with running_node(gateway, folder, "written") as node:
        deployed(node)
        writers = {kind: Writer(node, kind) for kind in KINDS}
        for writer in writers.values():
            writer.thread.start()
        victims = ("cell:", f"store:kv-{ACCOUNT_ID}", "store:", "agent", "node")
        for share, victim in enumerate(victims, 1):
            reach(writers, WRITES * share // (len(victims) + 1))  # in the middle of everything
            kill(node, victim)
        for kind, writer in writers.items():
            writer.thread.join()
            assert len(writer.acknowledged) == WRITES, (kind, writer.failed[-5:])

        def missing(kind: str) -> set[str]:
            answer = node.visit("writer", f"/{kind}")
            assert answer.status == 200, answer.text
            return set(writers[kind].acknowledged) - set(json.loads(answer.body))

        for kind in ("kv", "d1", "r2", "object"):
            assert missing(kind) == set(), kind
        until(lambda: not missing("queue"), 60, "every message is consumed")
