"""Queues on a real node: what a binding sends reaches the consumer's handler, whatever is killed meanwhile."""

import datetime
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge.bundles import ACCOUNT_ID, Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import Answer, TestNode, running_node, until

STORE = f"store:queues-{ACCOUNT_ID}"

# `POST /` runs the body as the body of a function of `q`, the queue.
PRODUCER = """
const said = async (work) => { try { return await work(); } catch (error) { return error.message; } };
const TESTS = {
  async kinds(q) {
    const cyclic = { date: new Date(7), map: new Map([["a", 1n]]) };
    const buffer = new Uint8Array([0, 255, 10]);
    await q.send("täxt", { contentType: "text" });
    await q.send(buffer, { contentType: "bytes" });
    await q.send({ a: [1, null] }, { contentType: "json" });
    await q.send(cyclic, { contentType: "v8" });
    const sent = await q.send({ plain: true });
    await q.sendBatch([{ body: "one", contentType: "text" }, { body: { two: 2 } }]);
    return sent;
  },
  async refusals(q) {
    const small = { body: "x".repeat(100_000), contentType: "text" };
    return {
      large: await said(() => q.send("x".repeat(128_001), { contentType: "text" })),
      many: await said(() => q.sendBatch(Array.from({ length: 101 }, () => ({ body: "x" })))),
      heavy: await said(() => q.sendBatch([small, small, small])),
      delay: await said(() => q.send("x", { delaySeconds: 86_401 })),
      none: await said(() => q.sendBatch([])),
    };
  },
  batch: (q, options) => q.sendBatch(options.bodies.map((body) => ({ body })), options),
  one: (q, { body, ...options }) => q.send(body, options),
  metrics: (q) => q.metrics(),
};
export default {
  async fetch(request, env) {
    const { test, queue = "Q", ...options } = await request.json();
    try {
      return Response.json((await TESTS[test](env[queue], options)) ?? null);
    } catch (error) {
      return new Response(error.stack, { status: 418 });
    }
  },
};
"""

# Keeps what it was given, in a store of its own, so that it is there after any end of the cell.
CONSUMER = """
const shown = (body) => {
  if (body instanceof ArrayBuffer) return [...new Uint8Array(body)];
  if (body?.map instanceof Map) return `${body.date.getTime()} ${body.map.get("a")}`;
  return body;
};
let open = 0, most = 0;
export default {
  async fetch(request, env) {
    if (new URL(request.url).pathname === "/most") return Response.json(most);
    const found = [];
    let cursor;
    do {
      const page = await env.GOT.list({ cursor });
      found.push(...page.keys.map(({ metadata }) => metadata));
      cursor = page.cursor;
    } while (cursor);
    return Response.json(found.sort((a, b) => a.at - b.at));
  },
  async queue(batch, env) {
    most = Math.max(most, ++open);
    const now = Date.now();
    try {
      await Promise.all(batch.messages.map(async ({ id, body, attempts, timestamp }) => {
        const metadata = { id, attempts, body: shown(body), at: now, size: batch.messages.length, queue: batch.queue,
          timestamp: timestamp.getTime(), backlog: batch.metadata?.metrics?.backlogCount };
        await env.GOT.put(`${id}-${attempts}-${now}`, "", { metadata });
      }));
      const orders = batch.messages.map(({ body }) => body?.order).filter(Boolean);
      if (orders.includes("slow")) await new Promise((done) => setTimeout(done, 700));
      if (orders.includes("hang")) await new Promise((done) => setTimeout(done, 60_000));
      if (orders.includes("ackAll")) batch.ackAll();
      if (orders.includes("retryAll") && batch.messages[0].attempts === 1) batch.retryAll({ delaySeconds: 1 });
      for (const message of batch.messages) {
        const { order, until } = message.body ?? {};
        if (order === "retry" && message.attempts < until) message.retry();
        if (order === "later" && message.attempts === 1) message.retry({ delaySeconds: 1 });
        if (order === "ack") message.ack();
      }
      if (orders.includes("throw")) throw new Error("on purpose");
    } finally {
      open--;
    }
  },
};
"""


def script(source: str, *queues: str, **named: str | int) -> Bundle:
    bindings: list[Json] = [
        {"name": "Q" if number == 0 else f"Q{number + 1}", "type": "queue", "queue_name": queue}
        for number, queue in enumerate(queues)
    ]
    bindings.append({"name": "GOT", "type": "kv_namespace", "namespace_id": "got"})
    if "delay" in named:
        bindings.append(
            {
                "name": "D",
                "type": "queue",
                "queue_name": queues[0],
                "delivery_delay": named["delay"],
            }
        )
    return Bundle(source, bindings=bindings)


def ask(node: TestNode, queue: str, path: str, body: Json | None = None) -> Any:
    """As the control plane asks."""
    content = json.dumps(body or {}).encode()
    target = f"/stores/queues/{ACCOUNT_ID}/{queue}{path}"
    method = "GET" if body is None else "POST"
    status, _, answer = node.gateway.ask(
        node.enrolled, method, target, content if body is not None else None
    )
    assert status == 200, answer
    return json.loads(answer) if answer else None


def consumed_by(node: TestNode, queue: str, said: Json | None, **changes: Any) -> None:
    """Configure a queue, with a consumer or without."""
    consumer: Json | None = None
    if said is not None:
        consumer = {
            "type": "worker",
            "script_id": said["script_id"],
            "batch_size": 10,
            "max_wait_ms": 100,
            "max_retries": 3,
            "max_concurrency": 10,
            "retry_delay": 0,
            "dead_letter_queue": None,
        }
        consumer.update({key: value for key, value in changes.items() if key in consumer})
    settings = {"paused": False, "delivery_delay": 0, "retention": 345_600, "consumer": consumer}
    settings.update({key: value for key, value in changes.items() if key in settings})
    ask(node, queue, "/configure", {"revision": time.time_ns() // 1000, **settings})


def call(node: TestNode, test: str, **options: Any) -> Any:
    answer: Answer = node.visit(
        "producer", "/", "POST", json.dumps({"test": test, **options}).encode()
    )
    assert answer.status == 200, answer.text
    return answer.json()


def got(node: TestNode, queue: str | None = None) -> list[Any]:
    answer = node.visit("consumer")
    assert answer.status == 200, answer.text
    found: Any = answer.json()
    return [one for one in found if queue is None or one["queue"] == queue]


def wait_for(node: TestNode, queue: str, count: int) -> list[Any]:
    until(lambda: len(got(node, queue)) >= count, 30, f"{count} in {queue}\n{node.log()[-3000:]}")
    return got(node, queue)


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder) as node:
        queues = [f"q{number}" for number in range(1, 10)]
        assert node.deploy("producer", script(PRODUCER, *queues, delay=1))["state"] == "live"
        yield node


@pytest.fixture(scope="module")
def consumer(node: TestNode) -> Json:
    said = node.deploy("consumer", script(CONSUMER))
    assert said["state"] == "live"
    return said


def test_every_content_type_arrives_as_it_was_sent(node: TestNode, consumer: Json) -> None:
    consumed_by(node, "q1", consumer)
    before = time.time() * 1000
    sent = call(node, "kinds")
    assert sent["metadata"]["metrics"]["backlogCount"] >= 1
    found = wait_for(node, "q1", 7)
    bodies = [one["body"] for one in found]
    assert sorted(map(str, bodies)) == sorted(
        map(
            str,
            ["täxt", [0, 255, 10], {"a": [1, None]}, "7 1", {"plain": True}, "one", {"two": 2}],
        )
    )
    assert {one["attempts"] for one in found} == {1}
    assert all(before - 2000 < one["timestamp"] <= one["at"] for one in found)
    until(lambda: call(node, "metrics")["backlogCount"] == 0, 10, "everything is acknowledged")


def test_what_is_too_large_is_refused_and_nothing_is_stored(node: TestNode) -> None:
    said = call(node, "refusals", queue="Q9")
    assert "message length of 128001 bytes exceeds limit of 128000" in said["large"]
    assert "batch message count of 101 exceeds limit of 100" in said["many"]
    assert "batch size of 300000 bytes exceeds limit of 288000" in said["heavy"]
    assert "message delay 86401" in said["delay"]
    assert said["none"]
    assert ask(node, "q9", "/metrics")["backlogCount"] == 0


def test_a_batch_goes_when_it_is_full_or_has_waited(node: TestNode, consumer: Json) -> None:
    consumed_by(node, "q2", consumer, batch_size=4, max_wait_ms=1500)
    call(node, "batch", queue="Q2", bodies=list(range(5)))
    found = wait_for(node, "q2", 5)
    assert Counter(one["size"] for one in found) == {4: 4, 1: 1}
    assert found[-1]["at"] - found[-1]["timestamp"] >= 1490
    assert found[0]["at"] - found[0]["timestamp"] < 1400


def test_delays_of_the_message_the_binding_and_the_queue(node: TestNode, consumer: Json) -> None:
    consumed_by(node, "q1", consumer, max_wait_ms=0, delivery_delay=2)
    known = len(got(node, "q1"))
    call(node, "one", queue="D", body="binding")
    call(node, "one", queue="D", body="message", delaySeconds=0)
    call(node, "one", body="queue")
    found = wait_for(node, "q1", known + 3)[known:]
    waited = {one["body"]: one["at"] - one["timestamp"] for one in found}
    assert waited["message"] < 1000 <= waited["binding"]
    assert waited["queue"] >= 2000


def test_what_is_retried_comes_again_and_in_the_end_goes_to_the_dead_letter_queue(
    node: TestNode, consumer: Json
) -> None:
    consumed_by(node, "q4", consumer, max_wait_ms=0)
    consumed_by(node, "q3", consumer, max_retries=2, dead_letter_queue="q4", max_wait_ms=0)
    call(node, "one", queue="Q3", body={"order": "retry", "until": 3})
    call(node, "one", queue="Q3", body={"order": "retry", "until": 99})
    dead = wait_for(node, "q4", 1)
    attempts = Counter((one["body"]["until"], one["attempts"]) for one in got(node, "q3"))
    assert attempts == {(until_, n): 1 for until_ in (3, 99) for n in (1, 2, 3)}
    given_up = next(one for one in got(node, "q3") if one["body"]["until"] == 99)
    assert (dead[0]["id"], dead[0]["timestamp"]) == (given_up["id"], given_up["timestamp"])
    assert dead[0]["attempts"] == 1
    assert ask(node, "q3", "/metrics")["backlogCount"] == 0


def test_acknowledging_and_retrying(node: TestNode, consumer: Json) -> None:
    consumed_by(node, "q5", consumer, batch_size=2, max_wait_ms=500, max_retries=1)
    # One that is acknowledged stays so although the handler throws.
    call(node, "batch", queue="Q5", bodies=[{"order": "ack"}, {"order": "throw"}])
    until(lambda: ask(node, "q5", "/metrics")["backlogCount"] == 0, 20, "both are done")
    seen = Counter(one["body"]["order"] for one in got(node, "q5"))
    assert seen == {"ack": 1, "throw": 2}
    call(node, "batch", queue="Q5", bodies=[{"order": "ackAll"}, {"order": "throw"}])
    call(node, "batch", queue="Q5", bodies=[{"order": "retryAll"}, {"order": "-"}])
    call(node, "batch", queue="Q5", bodies=[{"order": "later"}, {"order": "+"}])
    until(lambda: ask(node, "q5", "/metrics")["backlogCount"] == 0, 20, "all are done")
    seen = Counter(one["body"]["order"] for one in got(node, "q5"))
    assert (seen["ackAll"], seen["throw"]) == (1, 3)
    assert (seen["retryAll"], seen["-"]) == (2, 2)
    assert (seen["later"], seen["+"]) == (2, 1)
    for order in ("retryAll", "later"):
        first, second = [one["at"] for one in got(node, "q5") if one["body"]["order"] == order]
        assert second - first >= 1000


def test_so_many_batches_at_once_and_no_more(node: TestNode, consumer: Json) -> None:
    consumed_by(node, "q6", consumer, batch_size=1, max_wait_ms=0, max_concurrency=2)
    call(node, "batch", queue="Q6", bodies=[{"order": "slow"}] * 5)
    found = wait_for(node, "q6", 5)
    times = [one["at"] for one in found]
    assert times[2] - times[0] >= 600
    assert times[4] - times[2] >= 600
    assert node.visit("consumer", "/most").json() >= 2


def test_pausing_purging_and_consumers_that_come_and_go(node: TestNode, consumer: Json) -> None:
    consumed_by(node, "q7", consumer, max_wait_ms=0, paused=True)
    call(node, "batch", queue="Q7", bodies=["a", "b"])
    (first, _) = ask(node, "q7", "/peek")["messages"]
    assert (first["format"], first["attempts"], first["leased"]) == ("json", 0, False)
    ask(node, "q7", "/purge", {})
    call(node, "one", queue="Q7", body="c")
    consumed_by(node, "q7", None)
    call(node, "one", queue="Q7", body="d")
    assert got(node, "q7") == []
    consumed_by(node, "q7", consumer, max_wait_ms=0)
    assert {one["body"] for one in wait_for(node, "q7", 2)} == {"c", "d"}


def test_pulling_over_http(node: TestNode) -> None:
    consumer = {"type": "http_pull", "max_retries": 1, "retry_delay": 0, "dead_letter_queue": None}
    consumed_by(node, "q8", None)
    settings = {"paused": False, "delivery_delay": 0, "retention": 345_600, "consumer": consumer}
    ask(node, "q8", "/configure", {"revision": time.time_ns() // 1000, **settings})
    call(node, "batch", queue="Q8", bodies=["a", "b", "c"])

    def pull(visible_ms: int = 60_000) -> list[Any]:
        found: list[Any] = ask(
            node, "q8", "/pull", {"batch_size": 10, "visibility_timeout_ms": visible_ms}
        )["messages"]
        return found

    first = pull()
    assert [one["attempts"] for one in first] == [1, 1, 1]
    assert pull() == []
    one, two, three = (entry["lease_id"] for entry in first)
    assert one != two
    retried = [{"lease_id": two, "delay_seconds": 0}, {"lease_id": three}]
    said = ask(node, "q8", "/ack", {"acks": [{"lease_id": one}], "retries": retried})
    assert (said["ackCount"], said["retryCount"]) == (1, 2)
    second = pull(1)
    assert [entry["attempts"] for entry in second] == [2, 2]
    # Their time ends without a word: that was the second failure of at most one.
    until(lambda: pull() == [] and ask(node, "q8", "/metrics")["backlogCount"] == 0, 10)
    gone = ask(node, "q8", "/ack", {"acks": [{"lease_id": two}], "retries": []})
    assert gone["ackCount"] == 0
    assert list(gone["warnings"]) == [two]


@pytest.fixture(scope="module")
def resting(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    """A node of its own, whose cells rest soon."""
    with running_node(gateway, folder, "edge-2", SKERRY_IDLE_SECONDS="2") as node:
        assert node.deploy("producer", script(PRODUCER, "q1"))["state"] == "live"
        consumed_by(node, "q1", node.deploy("consumer", script(CONSUMER)), max_wait_ms=0)
        yield node


def starts(node: TestNode) -> list[float]:
    """When the store of queues was started, in seconds since 1970."""
    found = [
        line for line in node.events("store_started") if line["store"] == f"queues-{ACCOUNT_ID}"
    ]
    return [datetime.datetime.fromisoformat(str(one["timestamp"])).timestamp() for one in found]


def rests(node: TestNode) -> None:
    due = node.folder / "stores" / ACCOUNT_ID / "queues.due"
    until(lambda: due.exists() and not node.pids(STORE), 30, "the store rests")


# The producer keeps its connection for five seconds and the store rests two seconds after it, on a busy machine later.
LATER_SECONDS = 15


def due_alone_wakes(node: TestNode, body: str, before: list[float]) -> None:
    until(lambda: len(starts(node)) > len(before), 30, "the store is started")
    until(lambda: node.pids("cell:"), 30, "the consumer is started")
    until(lambda: any(one["body"] == body for one in got(node, "q1")), 30, "it is delivered")
    (found,) = [one for one in got(node, "q1") if one["body"] == body]
    (woken,) = starts(node)[len(before) :]
    due = found["timestamp"] / 1000 + LATER_SECONDS
    assert due - 0.1 < woken < found["at"] / 1000 < due + 10


def test_what_is_due_wakes_a_store_and_a_consumer_that_rest(resting: TestNode) -> None:
    call(resting, "one", body="soon", delaySeconds=LATER_SECONDS)
    rests(resting)
    until(lambda: not resting.pids("cell:"), 30, "the scripts rest")
    due_alone_wakes(resting, "soon", starts(resting))


def test_another_agent_knows_from_its_disk_what_wakes_a_store(resting: TestNode) -> None:
    call(resting, "one", body="later", delaySeconds=LATER_SECONDS)
    rests(resting)
    before = starts(resting)
    resting.kill_agent()
    resting.start()
    due_alone_wakes(resting, "later", before)


def kill(node: TestNode, victim: str) -> None:
    if victim == "agent":
        node.kill_agent()
        node.start()
    for pid in node.pids(victim):
        os.kill(pid, signal.SIGKILL)


def send(node: TestNode, bodies: list[str]) -> None:
    """Until it is acknowledged."""
    while True:
        try:
            call(node, "batch", bodies=bodies)
            return
        except (AssertionError, OSError):
            time.sleep(0.05)


def test_nothing_that_was_acknowledged_is_lost_whatever_is_killed(resting: TestNode) -> None:
    known = {one["id"] for one in got(resting)}
    sent: set[str] = set()
    for victim in (STORE, "cell:", "agent", STORE, "cell:"):
        for part in range(12):
            bodies = [f"m{len(sent) + number}" for number in range(5)]
            send(resting, bodies)
            sent.update(bodies)
            if part == 6:
                kill(resting, victim)
    assert len(sent) == 300

    def arrived() -> bool:
        return sent <= {one["body"] for one in got(resting) if one["id"] not in known}

    until(arrived, 60, f"all 300 arrive\n{resting.log()[-3000:]}")
    until(lambda: ask(resting, "q1", "/metrics")["backlogCount"] == 0, 60, "nothing is left")
