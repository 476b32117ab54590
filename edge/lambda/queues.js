// `env.QUEUE` of a producer, as the runtime offers it.

import { serialize } from "node:v8";

import { bytesOf, Remote, reasonOf } from "./remote.js";

const FORMATS = ["text", "bytes", "json", "v8"];
const DELAY = "x-msg-delay-secs";

export class WorkerQueue {
  #remote;
  #delay;
  #format;

  // `delay`: seconds that a message waits if it does not say otherwise; `format`: what it is sent as.
  constructor(name, delay, format) {
    this.#remote = new Remote(name);
    this.#delay = delay;
    this.#format = format;
  }

  async send(body, options) {
    const { bytes, format } = encoded(body, options?.contentType ?? this.#format);
    const headers = { "x-msg-fmt": format, ...this.#delayed(options?.delaySeconds) };
    const answer = await this.#remote.ask("POST", "/message", { headers, body: bytes });
    return sent("send", answer);
  }

  async sendBatch(batch, options) {
    const messages = Array.from(batch, ({ body, contentType, delaySeconds }) => {
      const { bytes, format } = encoded(body, contentType ?? this.#format);
      const delay = delaySeconds === undefined ? {} : { delaySecs: delaySeconds };
      return { body: bytes.toString("base64"), contentType: format, ...delay };
    });
    if (messages.length === 0) throw new TypeError("sendBatch() requires at least one message");
    const headers = { "content-type": "application/json", ...this.#delayed(options?.delaySeconds) };
    const answer = await this.#remote.ask("POST", "/batch", { headers, body: JSON.stringify({ messages }) });
    return sent("sendBatch", answer);
  }

  async metrics() {
    const answer = await this.#remote.ask("GET", "/metrics", { again: true });
    return dated(await checked("metrics", answer));
  }

  #delayed(seconds = this.#delay) {
    return seconds === undefined ? {} : { [DELAY]: String(seconds) };
  }
}

function encoded(body, contentType) {
  if (body === undefined) throw new TypeError("Message body cannot be undefined");
  const format = String(contentType).toLowerCase();
  if (!FORMATS.includes(format)) throw new TypeError(`Unsupported queue message content type: ${contentType}`);
  if (format === "text") return { format, bytes: bytesOf(of(body, format, "string", typeof body === "string")) };
  if (format === "bytes") return { format, bytes: bytesOf(of(body, format, "ArrayBufferView", ArrayBuffer.isView(body))) };
  if (format === "v8") return { format, bytes: serialize(body) };
  return { format, bytes: Buffer.from(JSON.stringify(body)) };
}

function of(body, format, wanted, fits) {
  if (fits) return body;
  throw new TypeError(`Content Type "${format}" requires a value of type ${wanted}, but received: ${typeof body}`);
}

async function sent(what, answer) {
  const { metadata } = await checked(what, answer);
  return { metadata: { metrics: dated(metadata.metrics) } };
}

function dated({ oldestMessageTimestamp: at, ...metrics }) {
  return { ...metrics, ...(at ? { oldestMessageTimestamp: new Date(at) } : {}) };
}

async function checked(what, answer) {
  if (answer.ok) return answer.json();
  await answer.body?.cancel();
  throw new Error(`Queue ${what} failed: ${reasonOf(answer)}`);
}
