// Service-worker syntax: `addEventListener`, with the bindings as globals.

class ExtendableEvent extends Event {
  #context;

  constructor(type, context, fields) {
    super(type);
    this.#context = context;
    for (const [name, value] of Object.entries(fields)) {
      Object.defineProperty(this, name, { value, enumerable: true });
    }
  }

  waitUntil(promise) {
    this.#context.waitUntil(promise);
  }

  passThroughOnException() {}
}

class FetchEvent extends ExtendableEvent {
  answer = null;

  respondWith(answer) {
    this.answer = Promise.resolve(answer);
  }
}

// Answers the same object as a script of ES modules; what a listener throws is the outcome.
export function runClassic(env, run) {
  const listeners = new Map();
  const of = (type) => listeners.get(type) ?? listeners.set(type, new Set()).get(type);
  const dispatch = (event) => {
    if (of(event.type).size === 0) throw new TypeError(`No event handler is registered for ${event.type}.`);
    for (const listener of of(event.type)) {
      if (event.answer) break;
      typeof listener === "function" ? listener(event) : listener.handleEvent(event);
    }
  };
  globalThis.addEventListener = (type, listener) => void of(type).add(listener);
  globalThis.removeEventListener = (type, listener) => void of(type).delete(listener);
  Object.assign(globalThis, { ExtendableEvent, FetchEvent }, env);
  run();
  return {
    async fetch(request, _, context) {
      const event = new FetchEvent("fetch", context, { request });
      dispatch(event);
      if (event.answer === null) throw new TypeError("No event handler answered the request.");
      return event.answer;
    },
    async scheduled({ cron, scheduledTime }, _, context) {
      dispatch(new ExtendableEvent("scheduled", context, { cron, scheduledTime }));
    },
    async queue({ queue, messages, ackAll, retryAll }, _, context) {
      dispatch(new ExtendableEvent("queue", context, { queue, messages, ackAll, retryAll }));
    },
  };
}
