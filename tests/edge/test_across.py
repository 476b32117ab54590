"""Scripts that bind the Durable Objects and the workflows of another one: each call crosses to its cell."""

import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.bundles import Bundle, Json
from tests.edge.gateway import Gateway
from tests.edge.nodes import TestNode, running_node, until
from tests.edge.test_calls import cells_of, deployed
from tests.edge.test_objects import connected, said_by

pytestmark = pytest.mark.edge

OWNER = """
import { DurableObject, RpcTarget, WorkflowEntrypoint } from "cloudflare:workers";

class Handle extends RpcTarget {
  #sum = 0;
  add(number) { return (this.#sum += number); }
}

export class Counter extends DurableObject {
  async add(number = 1) {
    const count = ((await this.ctx.storage.get("count")) ?? 0) + number;
    await this.ctx.storage.put("count", count);
    return count;
  }
  get whoami() { return [this.ctx.id.name ?? null, `${this.ctx.id}`]; }
  version() { return "VERSION"; }
  handle() { return new Handle(); }
  async ask(back) { return `asked ${await back(2)}`; }
  async measure(stream) { return (await new Response(stream).text()).length; }
  stream() { return new Blob(["streamed"]).stream(); }
  fail() { throw new RangeError("on purpose"); }
  reset() { this.ctx.abort("starts anew"); }
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/throws") throw new TypeError("thrown by fetch");
    if (request.headers.get("Upgrade") !== "websocket") {
      const ours = [...request.headers.keys()].filter((name) => name.startsWith("x-skerry-object"));
      return Response.json([request.method, request.url, await request.text(), this.ctx.id.name, ours], { status: 201 });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }
  webSocketMessage(socket, message) { socket.send(`${this.ctx.id.name} heard ${message}`); }
}

export class Hidden extends DurableObject {
  secret() { return "a secret"; }
}

export class Flow extends WorkflowEntrypoint {
  async run({ payload }, step) {
    await step.do("first", async () => payload);
    const { payload: told } = await step.waitForEvent("told", { type: "tell", timeout: "1 hour" });
    return { payload, told };
  }
}

export default {
  async fetch(request, env) {
    const named = env.COUNTER.idFromName("same");
    return Response.json([`${named}`, `${env.HIDDEN.newUniqueId()}`, await env.COUNTER.get(named).add()]);
  },
};
"""
CALLER = """
const failure = async (act) => {
  try { return { value: (await act()) ?? null }; }
  catch (error) { return [error.name, error.message, error.remote, error.durableObjectReset ?? null]; }
};
const objects = async ({ COUNTER }, [hidden]) => {
  const id = COUNTER.idFromName("same"), stub = COUNTER.get(id), some = COUNTER.newUniqueId();
  using handle = await stub.handle();
  const answer = await COUNTER.getByName("ü").fetch("https://object/path?q=1", { method: "PUT", body: "sent" });
  return {
    id: `${id}`,
    stub: [stub.id.equals(id), stub.name, `${stub}`, typeof stub.then],
    add: [await stub.add(), await COUNTER.get(COUNTER.idFromString(`${id}`)).add(5)],
    whoami: [await stub.whoami, (await COUNTER.get(some).whoami)[1] === `${some}`],
    handle: [await handle.add(2), await handle.add(3), await stub.handle().add(7)],
    ask: await stub.ask((number) => number * 21),
    measure: await stub.measure(new Response("y".repeat(50_000)).body),
    stream: await new Response(await stub.stream()).text(),
    fail: await failure(() => stub.fail()),
    missing: await failure(() => stub.nothing()),
    reset: await failure(() => COUNTER.getByName("reset").reset()),
    fetch: [answer.status, await answer.json()],
    throws: await failure(() => stub.fetch("https://object/throws")),
    hidden: await failure(() => COUNTER.get(COUNTER.idFromString(hidden))),
    secret: await failure(() => stub.secret()),
  };
};
const reached = async (instance, wanted) => {
  for (let i = 0; i < 200 && (await instance.status()).status !== wanted; i++) await scheduler.wait(50);
  return (await instance.status()).status;
};
const flows = async ({ FLOW }) => {
  const one = await FLOW.create({ id: "one", params: { deep: [1] } });
  const said = [one.id, await reached(one, "waiting")];
  await one.pause();
  said.push(await reached(one, "paused"));
  await one.resume();
  await (await FLOW.get("one")).sendEvent({ type: "tell", payload: "told" });
  said.push(await reached(one, "complete"), (await one.status()).output);
  await one.restart();
  said.push(await reached(one, "waiting"));
  await one.terminate();
  said.push(await reached(one, "terminated"));
  const two = await FLOW.createBatch([{ id: "b1" }, { id: "b2" }]);
  said.push(two.map(({ id }) => id), (await failure(() => FLOW.get("never")))[1]);
  return said;
};
export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/objects") return Response.json(await objects(env, searchParams.getAll("id")));
    if (pathname === "/flows") return Response.json(await flows(env));
    if (pathname === "/room/socket") return env.COUNTER.getByName("socket").fetch(request);
    return Response.json(await failure(() => env.COUNTER.getByName(pathname)[searchParams.get("call") ?? "version"]()));
  },
};
"""


@pytest.fixture(scope="module")
def node(gateway: Gateway, folder: Path) -> Iterator[TestNode]:
    with running_node(gateway, folder, SKERRY_IDLE_SECONDS="2") as node:
        yield node


class Pair:
    """An owner and who binds what it has."""

    def __init__(self, node: TestNode, name: str) -> None:
        self.node, self.name = node, name
        self.owner, self.caller = f"{name}-owner", f"{name}-caller"
        self._ids = {name: uuid.uuid4().hex for name in ("Counter", "Hidden", "Flow")}

    def deploy_owner(self, version: str = "v1", counter: str = "Counter") -> Json:
        names = [counter, "Hidden"]
        bindings: list[Json] = [
            {"name": one.upper(), "type": "durable_object_namespace", "class_name": one}
            for one in names
        ]
        flow = {"name": f"{self.name}-flow", "class_name": "Flow", "id": self._ids["Flow"]}
        return deployed(
            self.node,
            self.owner,
            Bundle(
                OWNER.replace("VERSION", version).replace("class Counter", f"class {counter}"),
                compatibility_date="2026-11-01",
                bindings=bindings,
                objects=[
                    {
                        "class_name": one,
                        "namespace_id": self._ids["Hidden" if one == "Hidden" else "Counter"],
                        "sqlite": True,
                    }
                    for one in names
                ],
                workflows=[flow],
            ),
        )

    def calling(self) -> Bundle:
        counter = {
            "name": "COUNTER",
            "type": "durable_object_namespace",
            "class_name": "Counter",
            "script": self.owner,
            "namespace_id": self._ids["Counter"],
        }
        flow: Json = {"name": "FLOW", "type": "workflow", "workflow_name": f"{self.name}-flow"}
        bindings: list[Json] = [counter, {**flow, "script": self.owner}]
        return Bundle(CALLER, compatibility_date="2026-11-01", bindings=bindings)

    def deploy_caller(self) -> Json:
        return deployed(self.node, self.caller, self.calling())

    def call(self, path: str = "/some") -> object:
        return self.node.visit(self.caller, path).json()


def test_objects_and_workflows_cross(node: TestNode) -> None:
    pair = Pair(node, "crossing")
    said = pair.deploy_caller()
    pair.deploy_owner()
    id_, hidden, first = node.visit(pair.owner, "/").json()
    found = node.visit(pair.caller, f"/objects?id={hidden}").json()
    assert first == 1
    assert found == {
        "id": id_,
        "stub": [True, "same", "[object DurableObject]", "undefined"],
        "add": [2, 7],
        "whoami": [["same", id_], True],
        "handle": [2, 5, 7],
        "ask": "asked 42",
        "measure": 50_000,
        "stream": "streamed",
        "fail": ["RangeError", "on purpose", True, None],
        "missing": [
            "TypeError",
            'The RPC receiver does not implement the method "nothing".',
            True,
            None,
        ],
        "reset": ["Error", "starts anew", True, True],
        "fetch": [201, ["PUT", "https://object/path?q=1", "sent", "ü", []]],
        "throws": ["TypeError", "thrown by fetch", True, None],
        "hidden": ["TypeError", "Durable Object ID is not valid for this namespace.", None, None],
        "secret": [
            "TypeError",
            'The RPC receiver does not implement the method "secret".',
            True,
            None,
        ],
    }
    flows = pair.call("/flows")
    assert flows == [
        *("one", "waiting", "paused", "complete", {"payload": {"deep": [1]}, "told": "told"}),
        *("waiting", "terminated", ["b1", "b2"], "instance.not_found"),
    ]
    # It sees the sockets of what it binds, and none of the class that it does not.
    (cell,) = [cell for cell in cells_of(node, said) if cell["state"] == "serving"]
    assert sorted(os.listdir(f"/proc/{cell['pid']}/root/callees")) == ["0.sock", "1.sock"]


def test_sockets_rest_and_redeploys(node: TestNode) -> None:
    pair = Pair(node, "living")
    owner, caller = pair.deploy_owner(), pair.deploy_caller()
    with connected(node, pair.caller) as client:
        assert said_by(client, "hello") == "socket heard hello"

    def at_rest(script: Json) -> bool:
        return [cell["state"] for cell in cells_of(node, script)] == ["idle"]

    until(lambda: at_rest(owner) and at_rest(caller), 40, "both rest")
    assert pair.call() == {"value": "v1"}
    assert not at_rest(owner)

    answers: list[object] = []
    done = threading.Event()

    def keep_calling(path: str) -> None:
        while not done.is_set():
            answers.append(pair.call(path))

    threads = [threading.Thread(target=keep_calling, args=(f"/{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for number in range(2, 4):
        pair.deploy_owner(f"v{number}")
        assert pair.call() == {"value": f"v{number}"}
    done.set()
    for thread in threads:
        thread.join()
    assert len(answers) > 20
    assert [answer for answer in answers if "value" not in answer] == []  # type: ignore[operator]

    # What the class stored is the same, whoever has asked; one that is gone says so.
    pair.deploy_owner("v4", counter="Renamed")
    (name, message, *_) = pair.call()  # type: ignore[misc]
    assert (name, message) == (
        "Error",
        "The Worker that was called has no class Counter with Durable Objects now.",
    )
    node.deploy(pair.owner, None)
    assert pair.call()[:2] == ["Error", "Network connection lost."]  # type: ignore[index]


def test_nobody_else_reaches_them(node: TestNode) -> None:
    pair = Pair(node, "guarded")
    pair.deploy_owner()
    pair.deploy_caller()
    assert pair.call() == {"value": "v1"}
    # The same binding in another account.
    stranger = "stranger"
    decided = node.gateway.decide(node.enrolled, stranger, pair.calling())
    decided["account_id"] = "b" * 32
    node.gateway.push(node.enrolled, decided, files=pair.calling().files())
    found = node.visit(stranger, "/some").json()
    assert found[:2] == ["Error", "Network connection lost."]  # type: ignore[index]
    # A visitor who says which object he wants, through a binding to the owner itself, reaches its script.
    forward = "export default { fetch: (request, env) => env.NEXT.fetch(request) };"
    bindings: list[Json] = [{"name": "NEXT", "type": "service", "service": pair.owner}]
    deployed(node, "guarded-plain", Bundle(forward, bindings=bindings))
    headers = {"x-skerry-object": "%5B%5B%22%22%2C%22same%22%5D%2C%22https%3A%22%5D"}
    assert len(node.visit("guarded-plain", "/", headers=headers).json()) == 3
