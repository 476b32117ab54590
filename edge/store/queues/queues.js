// All queues of an account: one Durable Object, so that what concerns two of them happens in one step.
// Nothing is answered before it is on the disk: the runtime holds answers back until then.

import { DurableObject } from "cloudflare:workers";
import { count, scriptOf } from "../counting.js";
import { Delivery, expire, shown } from "./delivery.js";
import { Due } from "./due.js";
import { checkedDelay, checkedFormat, checkedMessages, LARGEST_MESSAGE, Refused, tooLarge } from "./limits.js";
import { Messages } from "./messages.js";
import { Settings } from "./settings.js";

const PEEKED = 20;

export class Queues extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    const { sql } = ctx.storage;
    this.messages = new Messages(sql);
    this.settings = new Settings(sql);
    this.delivery = new Delivery(this.messages, this.settings);
    this.due = new Due(this.messages, this.delivery);
    for (const queue of this.settings.names()) this.due.look(queue);
  }

  ping() {}

  async fetch(request) {
    const queue = request.headers.get("x-skerry-queue");
    const { pathname } = new URL(request.url);
    try {
      return queue ? await this.#ofQueue(queue, pathname, request) : await this.#ofAgent(pathname, request);
    } catch (problem) {
      if (problem instanceof Refused) return problem.response();
      throw problem;
    }
  }

  async #ofQueue(queue, path, request) {
    switch (path) {
      case "/message":
        return this.#send(queue, [await message(request)], request);
      case "/batch":
        return this.#sendBatch(queue, request);
      case "/metrics":
        return Response.json(this.#metrics(queue));
      default:
        return this.#ofControlPlane(queue, path, request);
    }
  }

  async #ofControlPlane(queue, path, request) {
    const body = request.method === "POST" ? await request.json() : {};
    const now = Date.now();
    switch (path) {
      case "/configure":
        this.settings.put(queue, body);
        break;
      case "/purge":
        this.messages.delete("queue = ?", queue);
        break;
      case "/destroy":
        this.messages.delete("queue = ?", queue);
        this.settings.delete(queue);
        break;
      case "/pull": {
        this.due.changed(this.delivery.takeBack(now));
        const messages = this.delivery.pull(queue, body.batch_size, body.visibility_timeout_ms, now);
        return this.#changed(queue, { messages, metrics: this.#metrics(queue) });
      }
      case "/ack":
        return this.#changed(queue, this.delivery.answer(queue, body, now));
      case "/peek":
        return Response.json({ messages: this.messages.peek(queue, PEEKED).map(peeked) });
      default:
        return new Response(null, { status: 404, statusText: "Not Found" });
    }
    return this.#changed(queue, {});
  }

  async #ofAgent(path, request) {
    const now = Date.now();
    const lease = request.headers.get("x-skerry-lease");
    switch (path) {
      case "/due":
        // Another agent does not know what the one before it had on its way.
        if (this.settings.newAgent(request.headers.get("x-skerry-agent"))) this.delivery.releaseAll(now);
        this.due.all(this.settings.names());
        return this.due.told();
      case "/take":
        return this.#take(now);
      case "/renew":
        return new Response(null, { status: this.delivery.renew(lease, now) ? 200 : 410 });
      case "/settle": {
        const result = await request.json();
        this.#looked(this.delivery.settle(lease, result, Date.now()));
        return new Response(null);
      }
      case "/release":
        this.#looked(this.delivery.release(lease, Number(request.headers.get("x-skerry-delay")), now));
        return new Response(null);
      default:
        return new Response(null, { status: 404, statusText: "Not Found" });
    }
  }

  #take(now) {
    this.due.changed(this.delivery.takeBack(now));
    const taken = this.delivery.take(now);
    this.due.all(this.settings.names());
    const headers = { "x-skerry-due": this.due.line };
    if (taken === null) return new Response(null, { status: 204, headers });
    headers["x-skerry-lease"] = taken.lease;
    headers["x-skerry-script"] = taken.script;
    count(taken.script, this.ctx, taken.batch.messages.length, 0);
    return Response.json(taken.batch, { headers });
  }

  async #sendBatch(queue, request) {
    const general = checkedDelay(request.headers.get("X-Msg-Delay-Secs"));
    const { messages } = await request.json();
    const read = messages.map(({ body, contentType, delaySecs }) => ({
      format: checkedFormat(contentType),
      delay: checkedDelay(delaySecs) ?? general,
      body: Uint8Array.fromBase64(body),
    }));
    return this.#send(queue, read, request);
  }

  #send(queue, messages, request) {
    const ofBinding = checkedDelay(request.headers.get("x-skerry-binding-delay"));
    const delay = ofBinding ?? this.settings.of(queue).delivery_delay;
    const source = request.headers.get("x-skerry-source") ?? "worker";
    const now = Date.now();
    const delayed = checkedMessages(messages).map((one) => ({ ...one, delay: one.delay ?? delay }));
    this.messages.insert(queue, source, delayed, now);
    count(scriptOf(request), this.ctx, 0, messages.length);
    this.due.look(queue);
    return Response.json({ metadata: { metrics: this.messages.metrics(queue) } });
  }

  #metrics(queue) {
    expire(this.messages, this.settings, queue, Date.now());
    return this.messages.metrics(queue);
  }

  #changed(queue, answer) {
    this.due.look(queue);
    return Response.json(answer);
  }

  // What was given up may have made another queue due.
  #looked(queue) {
    if (queue === undefined) return;
    this.due.look(queue);
    const { consumer } = this.settings.of(queue);
    if (consumer?.dead_letter_queue) this.due.look(consumer.dead_letter_queue);
  }
}

async function message(request) {
  const { headers } = request;
  if (Number(headers.get("Content-Length")) > LARGEST_MESSAGE) {
    // Who is still sending would take an answer that comes early for a broken connection.
    await request.body?.pipeTo(new WritableStream());
    throw tooLarge(
      10204,
      `message length of ${headers.get("Content-Length")} bytes exceeds limit of ${LARGEST_MESSAGE}`,
    );
  }
  return {
    format: checkedFormat(headers.get("X-Msg-Fmt")),
    delay: checkedDelay(headers.get("X-Msg-Delay-Secs")),
    body: await request.arrayBuffer(),
  };
}

function peeked(row) {
  const { id, format, size, sent_at, visible_at, attempts, lease } = row;
  return { id, format, size, sent_at, visible_at, attempts, leased: lease !== null, body: shown(row) };
}
