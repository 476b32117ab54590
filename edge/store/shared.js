// What differs where several nodes keep an account's data together in a bucket: `env.SHARED` is set then.

const KNOWN_MS = 1000;
const PATIENCE_MS = 45_000;
const PAUSE_MS = 250;
const PIECE = 8 * 1024 * 1024;

const met = new Map();

// An object that answers. Of several nodes one has it; when that one has died, the others get errors
// until its lease has run out, some twenty seconds. What is asked for is sent once, as nobody knows what
// became of it when the connection breaks; so a call that does nothing comes first and is tried until it
// succeeds. The class has to have it: `ping() {}`.
export async function awake(env, namespace, id) {
  const object = namespace.get(id);
  if (!env.SHARED) return object;
  const name = id.toString();
  const until = Date.now() + PATIENCE_MS;
  while (Date.now() - (met.get(name) ?? 0) > KNOWN_MS) {
    try {
      await namespace.get(id).ping();
      met.set(name, Date.now());
    } catch (problem) {
      if (Date.now() > until) throw problem;
      await scheduler.wait(PAUSE_MS);
    }
  }
  return object;
}

// Files as a `disk` service has them, whatever is behind.
export const filesOf = (env) => (env.SHARED ? new Pieces(env.BLOBS) : env.BLOBS);

// A `bucket` service answers whole files only, and none above some MB: so a file is `FILE.0`, `FILE.1` …,
// and `FILE` itself, written last, says how long it is.
class Pieces {
  #service;

  constructor(service) {
    this.#service = service;
  }

  async fetch(url, { method = "GET", body = null, headers = {} } = {}) {
    if (method === "PUT") return this.#put(url, body);
    if (method === "DELETE") return this.#delete(url);
    return this.#get(url, headers.Range);
  }

  async #put(url, body) {
    const reader = new Response(body).body?.getReader({ mode: "byob" });
    let size = 0;
    for (let piece = 0; reader; piece++) {
      const { value, done } = await reader.readAtLeast(PIECE, new Uint8Array(PIECE));
      if (value !== undefined && value.byteLength > 0) {
        await this.#write(`${url}.${piece}`, value);
        size += value.byteLength;
      }
      if (done || value === undefined || value.byteLength < PIECE) break;
    }
    await this.#write(url, JSON.stringify({ size }));
    return new Response(null, { status: 204 });
  }

  async #write(url, body) {
    const answer = await this.#service.fetch(url, { method: "PUT", body });
    if (!answer.ok) throw new Error(`The bucket answers ${answer.status}.`);
  }

  async #size(url) {
    const answer = await this.#service.fetch(url);
    if (answer.status === 404) return null;
    if (!answer.ok) throw new Error(`The bucket answers ${answer.status}.`);
    return (await answer.json()).size;
  }

  async #get(url, range) {
    const size = await this.#size(url);
    if (size === null) return new Response(null, { status: 404 });
    const [, first, last] = range?.match(/^bytes=(\d+)-(\d+)$/) ?? [null, 0, size - 1];
    const end = Math.min(Number(last), size - 1) + 1;
    let at = Number(first);
    const pull = async (controller) => {
      if (at >= end) {
        controller.close();
        return;
      }
      const piece = Math.floor(at / PIECE);
      const answer = await this.#service.fetch(`${url}.${piece}`);
      if (!answer.ok) throw new Error(`The bucket answers ${answer.status}.`);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      controller.enqueue(bytes.subarray(at - piece * PIECE, Math.min(end - piece * PIECE, PIECE)));
      at = (piece + 1) * PIECE;
    };
    return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }), { status: range ? 206 : 200 });
  }

  async #delete(url) {
    const size = await this.#size(url);
    for (let piece = 0; size === null || piece * PIECE < size; piece++) {
      // It was never written to its end, so nobody knows how many there are.
      if (size === null && (await this.#service.fetch(`${url}.${piece}`)).status === 404) break;
      await this.#service.fetch(`${url}.${piece}`, { method: "DELETE" });
    }
    return this.#service.fetch(url, { method: "DELETE" });
  }
}
