// `cloudflare:workers`, as far as it makes sense here.

import { AsyncLocalStorage } from "node:async_hooks";

export const env = {};
const current = new AsyncLocalStorage();

export function provide(bindings) {
  Object.assign(env, bindings);
}

export function within(context, run) {
  return current.run(context, run);
}

export function waitUntil(promise) {
  const context = current.getStore();
  if (!context) throw new Error("waitUntil() can only be called while an event is handled.");
  context.waitUntil(promise);
}

// The `ctx` of what is called within an invocation, which ends with that.
export function nested(props) {
  const outer = current.getStore();
  if (!outer) throw new Error("A binding can only be used while an event is handled.");
  return { props, waitUntil: (promise) => outer.waitUntil(promise), passThroughOnException() {} };
}

export class WorkerEntrypoint {
  constructor(ctx, bindings) {
    this.ctx = ctx;
    this.env = bindings;
  }
}

export class RpcTarget {}
