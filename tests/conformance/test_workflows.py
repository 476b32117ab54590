"""Workflows: the same Worker on Skerry and on `wrangler dev --local`, compared field by field. It has one workflow, and
binds one of another Worker."""

import json
from collections.abc import Callable

import pytest

from tests.conformance.conftest import Both
from tests.wrangler.conftest import Project

pytestmark = pytest.mark.xdist_group("wrangler")

SCRIPT = """
import { RpcTarget, WorkflowEntrypoint } from "cloudflare:workers";
import { NonRetryableError } from "cloudflare:workflows";

const failure = async (act) => {
  try { return { value: (await act()) ?? null }; }
  catch (error) { return { name: error.name, message: error.message }; }
};
const fast = { retries: { limit: 2, delay: 10, backoff: "constant" } };

// What the instance is to do is what its parameters say.
const PLANS = {
  async steps(event, step) {
    const seen = await step.do("seen", async (ctx) => [ctx.attempt, ctx.step]);
    const twice = [await step.do("same", async () => 1), await step.do("same", async () => 2)];
    const many = await Promise.all([1, 2, 3].map((n) => step.do(`n${n}`, async () => n * n)));
    const kinds = await step.do("kinds", async () => ({ date: new Date(0), map: new Map([["a", 1]]), none: undefined }));
    await step.sleep("nap", 20);
    await step.sleepUntil("until", new Date(Date.now() + 50));
    return {
      seen, twice, many, kinds: [kinds.date.getTime(), kinds.map.get("a"), "none" in kinds],
      event: [event.payload, event.instanceId.length > 5, event.timestamp instanceof Date, event.workflowName.endsWith("flow")],
    };
  },
  async retries(event, step) {
    let tries = 0;
    const third = await step.do("third", fast, async () => { if (++tries < 3) throw new Error("again"); return tries; });
    const never = await failure(() => step.do("never", fast, async () => { tries++; throw new RangeError("no good"); }));
    return { third, never, tries };
  },
  async once(event, step) {
    let tries = 0;
    const caught = await failure(() => step.do("once", fast, async () => { tries++; throw new NonRetryableError("never mind"); }));
    return { name: caught.name, tries };
  },
  async slow(event, step) {
    return failure(() => step.do("slow", { retries: { limit: 0, delay: 10 }, timeout: 100 }, () => scheduler.wait(5000)));
  },
  async past(event, step) { return failure(() => step.sleepUntil("past", new Date(0))); },
  async event(event, step) {
    const { type, payload } = await step.waitForEvent("asked", { type: "answer", timeout: "1 minute" });
    return { type, payload };
  },
  async silence(event, step) {
    return failure(() => step.waitForEvent("nothing", { type: "answer", timeout: 100 }));
  },
  async throws() { throw new TypeError("broken"); },
  async nothing() {},
  async unfit(event, step) { await step.do("unfit", async () => () => {}); },
  async badName(event, step) { return failure(() => step.do("x".repeat(300), async () => 1)); },
  async badConfig(event, step) { return failure(() => step.do("x", { retries: "many" }, async () => 1)); },
  async noCallback(event, step) { return failure(() => step.do("x")); },
  async endless(event, step) { await step.sleep("long", "30 seconds"); },
};

export class Flow extends WorkflowEntrypoint {
  run(event, step) { return PLANS[event.payload.plan](event, step); }
}

// Miniflare alone has one field more.
const cleaned = ({ __LOCAL_DEV_STEP_OUTPUTS, ...status }) => status;

async function reached(instance, ...wanted) {
  for (let i = 0; i < 300; i++) {
    const status = cleaned(await instance.status());
    if (wanted.includes(status.status)) return status;
    await scheduler.wait(50);
  }
  return cleaned(await instance.status());
}
const ended = (instance) => reached(instance, "complete", "errored", "terminated");

export default {
  async fetch(request, { NEAR, FAR }) {
    const url = new URL(request.url);
    const FLOW = url.searchParams.has("far") ? FAR : NEAR;
    const plan = url.searchParams.get("plan");
    const start = (plan, id) => FLOW.create({ ...(id && { id }), params: { plan } });
    const pages = {
      "/run": async () => ended(await start(plan)),
      "/event": async () => {
        const instance = await start("event");
        await reached(instance, "waiting", "running");
        await instance.sendEvent({ type: "other", payload: 1 });
        await instance.sendEvent({ type: "answer", payload: { deep: [true] } });
        return ended(instance);
      },
      "/early": async () => {
        const instance = await start("event");
        await instance.sendEvent({ type: "answer", payload: "early" });
        return ended(instance);
      },
      "/ids": async () => {
        const first = await start("nothing", "one");
        return {
          id: first.id,
          again: await failure(async () => (await start("nothing", "one")).id),
          got: (await FLOW.get("one")).id,
          unknown: await failure(() => FLOW.get("two")),
          bad: await failure(() => start("nothing", "no spaces")),
          long: await failure(() => start("nothing", "x".repeat(101))),
        };
      },
      "/batch": async () => {
        const made = await FLOW.createBatch([{ id: "b1", params: { plan: "nothing" } }, { id: "b2", params: { plan: "steps" } }]);
        const again = await FLOW.createBatch([{ id: "b1", params: { plan: "nothing" } }, { id: "b3", params: { plan: "nothing" } }]);
        return {
          made: made.map((one) => one.id), again: again.map((one) => one.id),
          ended: (await Promise.all(made.map(ended))).map((one) => one.status),
          none: await failure(() => FLOW.createBatch([])),
        };
      },
      "/life": async () => {
        const instance = await start("endless");
        await reached(instance, "waiting", "running");
        const said = [];
        await instance.pause();
        said.push((await reached(instance, "paused")).status);
        await instance.resume();
        said.push((await reached(instance, "waiting", "running")).status !== "paused");
        await instance.terminate();
        said.push(await ended(instance));
        said.push(await failure(() => instance.terminate()));
        return said;
      },
      "/restart": async () => {
        const instance = await start("nothing");
        const first = await ended(instance);
        await instance.restart();
        return [first, await ended(instance)];
      },
    };
    return Response.json(pages[url.pathname] ? await pages[url.pathname]() : null);
  },
};
"""
PLANS = (
    *("steps", "retries", "once", "slow", "past", "silence", "throws", "nothing"),
    *("unfit", "badName", "badConfig", "noCallback"),
)
PAGES = ("/event", "/early", "/ids", "/batch", "/life", "/restart")
FAR = ("/run?plan=steps&far", "/run?plan=throws&far", *(f"{page}?far" for page in PAGES))


def test_the_same_workflows(both: Callable[..., Both], project: Project) -> None:
    owner, date = f"{project.name}-owner", "2026-11-01"
    near = {"binding": "NEAR", "name": "conforming-flow", "class_name": "Flow"}
    far = {"binding": "FAR", "name": "conforming-far-flow", "class_name": "Flow"}
    owning = {"name": owner, "main": "index.js", "compatibility_date": date, "workflows": [far]}
    project.write({"index.js": SCRIPT, "owner.json": json.dumps(owning)})
    project.configure(compatibility_date=date, workflows=[near, {**far, "script_name": owner}])
    sites = both("owner.json")
    differences = {}
    for path in (*(f"/run?plan={plan}" for plan in PLANS), *PAGES, *FAR):
        answers = [site.ask("GET", path) for site in (sites.skerry, sites.local)]
        assert [answer.status_code for answer in answers] == [200, 200], (path, answers[0].text)
        ours, local = (answer.json() for answer in answers)
        if ours != local:
            differences[path] = (ours, local)
    assert not differences, json.dumps(differences, indent=1)
