// What calls a function besides visitors: EventBridge Scheduler for cron triggers, SQS for queues.

import { deserialize } from "node:v8";

export function isScheduled(event) {
  return event?.skerry === "scheduled" || event?.["detail-type"] === "Scheduled Event";
}

export function isQueue(event) {
  return event?.Records?.[0]?.eventSource === "aws:sqs";
}

// Skerry's own schedules say which expression fired; a rule that somebody made by hand says none.
export async function runScheduled(event, script, env, context) {
  const scheduledTime = Date.parse(event.scheduledTime ?? event.time);
  const controller = { cron: event.cron ?? "", scheduledTime, type: "scheduled", noRetry() {} };
  await script.scheduled(controller, env, context);
  return { outcome: "ok" };
}

// Answers which messages SQS has to deliver again.
export async function runQueue(event, script, env, context) {
  const batch = new Batch(event.Records);
  try {
    await script.queue(batch.shown(), env, context);
    batch.rest("acked");
  } catch (error) {
    console.error("Uncaught", error);
    batch.rest("retried");
  }
  return { batchItemFailures: batch.retried().map((id) => ({ itemIdentifier: id })) };
}

class Batch {
  #states = new Map();

  constructor(records) {
    this.records = records;
  }

  shown() {
    const messages = this.records.map((record) => this.#message(record));
    const queue = this.records[0].eventSourceARN.split(":").at(-1);
    return { queue, messages, ackAll: () => this.rest("acked"), retryAll: () => this.rest("retried") };
  }

  // What the script has not decided.
  rest(state) {
    for (const { messageId } of this.records) this.#decide(messageId, state);
  }

  retried() {
    return [...this.#states].filter(([, state]) => state === "retried").map(([id]) => id);
  }

  // The first word on a message counts.
  #decide(id, state) {
    if (!this.#states.has(id)) this.#states.set(id, state);
  }

  #message(record) {
    return {
      id: record.messageId,
      timestamp: new Date(Number(record.attributes.SentTimestamp)),
      attempts: Number(record.attributes.ApproximateReceiveCount),
      body: bodyOf(record),
      ack: () => this.#decide(record.messageId, "acked"),
      retry: () => this.#decide(record.messageId, "retried"),
    };
  }
}

// Cloudflare's four content types. Whoever fills the queue by other means writes JSON or text.
function bodyOf({ body, messageAttributes }) {
  switch (messageAttributes?.contentType?.stringValue) {
    case "text":
      return body;
    case "bytes":
      return new Uint8Array(Buffer.from(body, "base64")).buffer;
    case "v8":
      return deserialize(Buffer.from(body, "base64"));
    case "json":
      return JSON.parse(body);
    default:
      return jsonOrText(body);
  }
}

function jsonOrText(body) {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
