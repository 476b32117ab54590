// Queues of one account. A binding opens one queue, as `name` or `name~delay` with the seconds that its
// messages wait if they do not say otherwise, and speaks the runtime's protocol (`POST /message`,
// `POST /batch`, `GET /metrics`); the control plane opens one the same way and has some paths more. The
// agent, which delivers batches to Workers, opens all of them by a name that no queue can have.

import { opened } from "./door.js";
import { Queues } from "./queues/queues.js";
import { awake } from "./shared.js";

export { Queues };

const AGENT = ".";

export default {
  async fetch(request, env) {
    const name = await opened(request, env);
    if (name === null) return new Response(null, { status: 403, statusText: "Forbidden" });
    const queues = await awake(env, env.QUEUES, env.QUEUES.idFromName("queues"));
    const asked = new Request(request);
    const [queue, delay = ""] = name.split("~");
    asked.headers.set("x-skerry-queue", queue === AGENT ? "" : queue);
    asked.headers.set("x-skerry-binding-delay", delay);
    return queues.fetch(asked);
  },
};
