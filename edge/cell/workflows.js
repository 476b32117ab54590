// Where the agent asks about the instances of a script's workflows, behind the platform worker. For each
// workflow it has the engine's binding (`api:<name>`) and the engine's objects (`instances:<name>`).
import { WorkerEntrypoint } from "cloudflare:workers";

// How long the history may keep its next event to itself before it counts as read.
const QUIET_MS = 100;
const MOST_EVENTS = 20_000;

export default {
  // POST /workflows/<name>/<what> with a JSON object; what is wrong is `{ error, message }`.
  async fetch(request, env) {
    const [, , name, what] = new URL(request.url).pathname.split("/");
    const act = Object.hasOwn(ACTS, what) ? ACTS[what] : null;
    const [api, objects] = [env[`api:${name}`], env[`instances:${name}`]];
    if (!act || !api) return said(404, "workflow.not_found", "This version has no such workflow.");
    try {
      return Response.json(await act(await request.json(), api, objects));
    } catch (error) {
      return failed(error);
    }
  },
};

const ACTS = {
  async create({ id, params, retention }, api) {
    const options = { ...(id !== undefined && { id }), ...(params !== undefined && { params }), retention };
    return { id: (await api.create(options)).id };
  },
  async batch({ instances }, api) {
    return api.createBatch({ instances });
  },
  async delete({ ids }, api) {
    return api.deleteBatch({ instances: ids });
  },
  async describe({ id }, api) {
    const { status, output, error } = await api.status(id);
    return { id, status, output: shown(output), error: error ?? null, events: await history(api, id) };
  },
  async pause({ id }, api) {
    await api.pause(id);
    return api.status(id).then(status);
  },
  async resume({ id }, api) {
    await api.resume(id);
    return api.status(id).then(status);
  },
  async terminate({ id, rollback }, api) {
    await api.terminate(id, rollback ? { rollback: true } : undefined);
    return api.status(id).then(status);
  },
  async restart({ id, from }, api) {
    await api.restart(id, from ? { from } : undefined);
    return api.status(id).then(status);
  },
  async event({ id, type, payload }, api) {
    await api.sendEvent(id, { type, payload });
    return {};
  },
  // An instance goes on when it is touched, and not before its alarm.
  async wake({ objects: ids }, api, objects) {
    await Promise.allSettled(ids.map((id) => objects.get(objects.idFromString(id)).exists()));
    return {};
  },
};

const status = (found) => ({ status: found.status });

async function history(api, id) {
  const events = [];
  const subscription = await api.subscribe(id, {});
  try {
    while (events.length < MOST_EVENTS) {
      // The last event of an instance that goes on is followed by none.
      const next = await Promise.race([subscription.next(), scheduler.wait(QUIET_MS)]);
      if (!next || next.done) break;
      const { output, ...event } = next.value;
      if (output instanceof ReadableStream) {
        event.output = "[ReadableStream]";
        await output.cancel();
      } else if (output !== undefined) event.output = shown(output);
      events.push(event);
    }
  } finally {
    subscription[Symbol.dispose]?.();
  }
  return events;
}

// What JSON has no word for.
function shown(value) {
  const text = JSON.stringify(value ?? null, (key, one) => {
    if (typeof one === "bigint") return one.toString();
    if (one instanceof Map) return [...one];
    if (one instanceof Set) return [...one];
    if (ArrayBuffer.isView(one) || one instanceof ArrayBuffer) return `[${one.byteLength} bytes]`;
    return one;
  });
  return text === undefined ? null : JSON.parse(text);
}

const CODE = /^\(?([a-z_]+\.[a-z_]+|body)\)?:?\s*(.*)$/s;
// What RPC makes of the engine's errors.
const NAME = /^(Error|WorkflowError): /;
const STATUS_OF = { "instance.not_found": 404, "instance.already_exists": 409 };

function failed(error) {
  const message = String(error?.message ?? error).replace(NAME, "");
  const found = CODE.exec(message);
  if (!found) return said(400, "body", message);
  const conflict = found[1].startsWith("instance.cannot") ? 409 : 400;
  return said(STATUS_OF[found[1]] ?? conflict, found[1], found[2] || message);
}

function said(status, error, message) {
  return Response.json({ error, message }, { status });
}

// What a binding leads to whose workflow was deleted, or belongs to another script now.
export class Missing extends WorkerEntrypoint {
  #refuse() {
    throw new Error(`(workflow.not_found) The workflow "${this.ctx.props.workflow}" does not belong to this Worker now`);
  }
  getInstance() { this.#refuse(); }
  create() { this.#refuse(); }
  createBatch() { this.#refuse(); }
  deleteInstance() { this.#refuse(); }
  deleteBatch() { this.#refuse(); }
}
