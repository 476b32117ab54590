// Which messages are handed out when, and what becomes of them. A batch is leased to who delivers it: only
// its result, or the end of the lease, decides about its messages, so one that is lost on the way comes
// again.

import { randomId } from "./messages.js";

// Whoever delivers a batch says again and again that it still does.
const LEASE_MS = 60_000;
// In front of the lease of one that pulls by itself.
const PULLED = "p-";

const decoder = new TextDecoder();

export class Delivery {
  #messages;
  #settings;
  // Batches on their way to Workers: queue by lease.
  #flying = new Map();
  #served = new Map();
  #turn = 0;

  constructor(messages, settings) {
    this.#messages = messages;
    this.#settings = settings;
    for (const [lease, queue] of messages.leases()) {
      if (!lease.startsWith(PULLED)) this.#flying.set(lease, queue);
    }
  }

  // When a batch of a queue is due: as soon as it is full, else when its first message has waited for long
  // enough. One that is tried again has waited before.
  due(queue) {
    const { consumer, paused } = this.#settings.of(queue);
    if (paused || consumer?.type !== "worker") return Infinity;
    const flying = [...this.#flying.values()].filter((one) => one === queue).length;
    if (flying >= consumer.max_concurrency) return Infinity;
    const first = this.#messages.visible(queue, 1);
    if (first === Infinity) return Infinity;
    const full = this.#messages.visible(queue, consumer.batch_size);
    return Math.min(full, first + consumer.max_wait_ms, this.#messages.retried(queue));
  }

  // The next batch that is due for a Worker, of the queue that was served longest ago; null when there is none.
  take(now) {
    const due = this.#settings.names().filter((queue) => this.due(queue) <= now);
    if (due.length === 0) return null;
    const last = (queue) => this.#served.get(queue) ?? 0;
    const queue = due.reduce((first, one) => (last(one) < last(first) ? one : first));
    this.#served.set(queue, ++this.#turn);
    this.#expire(queue, now);
    const { consumer } = this.#settings.of(queue);
    const lease = randomId();
    const rows = this.#messages.lease(queue, lease, consumer.batch_size, now, now + LEASE_MS);
    if (rows.length === 0) return null;
    this.#flying.set(lease, queue);
    const messages = rows.map(({ id, sent_at, attempts, format, body }) => {
      return { id, timestamp: sent_at, attempts, format, body: base64(body) };
    });
    const metadata = { metrics: this.#messages.metrics(queue) };
    return { lease, script: consumer.script_id, batch: { queue, messages, metadata } };
  }

  // Whether the lease still holds.
  renew(lease, now) {
    if (!this.#flying.has(lease)) return false;
    this.#messages.extend(lease, now + LEASE_MS);
    return true;
  }

  // `result` is what the runtime says of a queue event. Answers the queue, undefined when the lease is over.
  settle(lease, result, now) {
    const queue = this.#flying.get(lease);
    this.#flying.delete(lease);
    const acks = new Set(result.explicitAcks ?? []);
    const retries = new Map((result.retryMessages ?? []).map((one) => [one.msgId, one.delaySeconds]));
    const failed = result.outcome !== "ok" || result.retryBatch?.retry;
    if (queue !== undefined && retries.size === 0 && (!failed || result.ackAll)) {
      this.#messages.deleteBatch(queue, lease);
      return queue;
    }
    const { retry_delay = 0 } = this.#settings.of(queue).consumer ?? {};
    for (const row of this.#messages.of(lease)) {
      const again = !acks.has(row.id) && (retries.has(row.id) || (failed && !result.ackAll));
      const delay = retries.get(row.id) ?? result.retryBatch?.delaySeconds ?? retry_delay;
      if (again) this.#fail(row, delay, now);
      else this.#messages.delete("seq = ?", row.seq);
    }
    return queue;
  }

  // The batch was not delivered, and that is not its consumer's fault.
  release(lease, delay, now) {
    const queue = this.#flying.get(lease);
    this.#flying.delete(lease);
    for (const { seq, failures } of this.#messages.of(lease)) {
      this.#messages.release(seq, now + delay * 1000, failures);
    }
    return queue;
  }

  // Whoever had batches is gone, and another one asks for them.
  releaseAll(now) {
    for (const lease of [...this.#flying.keys()]) this.release(lease, 0, now);
  }

  // Take back what was leased to somebody who never came back. Answers the queues that it changed.
  takeBack(now) {
    const changed = new Set();
    for (const row of this.#messages.overdue(now)) {
      changed.add(row.queue);
      this.#flying.delete(row.lease);
      if (row.lease.startsWith(PULLED)) this.#fail(row, 0, now);
      else this.#messages.release(row.seq, now, row.failures);
    }
    return changed;
  }

  // --- pulled over HTTP

  pull(queue, limit, visibleMs, now) {
    this.#expire(queue, now);
    const batch = randomId();
    const rows = this.#messages.lease(queue, PULLED + batch, limit, now, now + visibleMs);
    return rows.map((row) => ({
      id: row.id,
      lease_id: `${PULLED}${batch}.${row.seq}.${row.attempts}`,
      timestamp_ms: row.sent_at,
      attempts: row.attempts,
      body: shown(row),
      metadata: { "CF-Content-Type": row.format, "CF-sourceMessageSource": row.source },
    }));
  }

  // `acks`: `[{lease_id}]`, `retries`: `[{lease_id, delay_seconds}]`. Answers how many of them were still there.
  answer(queue, { acks, retries }, now) {
    const { retry_delay = 0 } = this.#settings.of(queue).consumer ?? {};
    const counts = { ackCount: 0, retryCount: 0, warnings: {} };
    for (const { lease_id } of acks) {
      // Also when its time was over, as long as nobody else has it.
      const { seq, attempts, lease } = parsed(lease_id);
      const gone = this.#messages.delete(
        "seq = ? AND queue = ? AND attempts = ? AND (lease = ? OR lease IS NULL)",
        ...[seq, queue, attempts, lease],
      );
      if (gone) counts.ackCount++;
      else counts.warnings[lease_id] = "There is no such message any more, or somebody else has it.";
    }
    for (const { lease_id, delay_seconds } of retries) {
      const { seq, lease } = parsed(lease_id);
      const row = this.#messages.of(lease).find((one) => one.seq === seq && one.queue === queue);
      if (row) {
        this.#fail(row, delay_seconds ?? retry_delay, now);
        counts.retryCount++;
      } else counts.warnings[lease_id] = "Its lease is over.";
    }
    return counts;
  }

  #fail({ seq, queue, failures }, delay, now) {
    const { consumer } = this.#settings.of(queue);
    if (!consumer || failures + 1 <= consumer.max_retries) {
      this.#messages.release(seq, now + delay * 1000, failures + 1);
    } else if (consumer.dead_letter_queue) {
      const { delivery_delay } = this.#settings.of(consumer.dead_letter_queue);
      this.#messages.move(seq, consumer.dead_letter_queue, now + delivery_delay * 1000, now);
    } else {
      this.#messages.delete("seq = ?", seq);
    }
  }

  #expire(queue, now) {
    expire(this.#messages, this.#settings, queue, now);
  }
}

// Nothing is kept for longer than the queue says.
export function expire(messages, settings, queue, now) {
  const before = now - settings.of(queue).retention * 1000;
  return messages.delete("queue = ? AND stored_at <= ? AND lease IS NULL", queue, before);
}

// A body as it is shown over REST: text as it is, everything else as base64.
export function shown({ format, body }) {
  return format === "text" ? decoder.decode(body) : base64(body);
}

function base64(buffer) {
  return new Uint8Array(buffer).toBase64();
}

function parsed(leaseId) {
  const [lease, seq, attempts] = `${leaseId}`.split(".");
  return { lease, seq: Number(seq) || 0, attempts: Number(attempts) || 0 };
}
