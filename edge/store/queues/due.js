// When the next batch is due, told to the agent as it changes: one line of `serial milliseconds` each, the
// time empty when nothing is due. So the agent asks for batches when there are some, and never otherwise.

const encoder = new TextEncoder();

export class Due {
  #messages;
  #delivery;
  #times = new Map();
  #serial = 0;
  #next = Infinity;
  #listener = null;

  constructor(messages, delivery) {
    this.#messages = messages;
    this.#delivery = delivery;
  }

  get line() {
    return `${this.#serial} ${this.#next === Infinity ? "" : this.#next}`;
  }

  // A queue has changed.
  look(queue) {
    this.#note(queue);
    this.#tell();
  }

  changed(queues) {
    if (queues.size > 0) this.all(queues);
  }

  all(queues) {
    for (const queue of queues) this.#note(queue);
    this.#tell();
  }

  #note(queue) {
    const at = this.#delivery.due(queue);
    if (at === Infinity) this.#times.delete(queue);
    else this.#times.set(queue, at);
  }

  // An answer that does not end. Who asks last is told.
  told() {
    this.#listener?.end();
    let controller;
    const ended = () => {
      if (this.#listener?.controller === controller) this.#listener = null;
    };
    const body = new ReadableStream({
      start: (given) => {
        controller = given;
      },
      cancel: ended,
    });
    const end = () => {
      ended();
      try {
        controller.close();
      } catch {
        // Its reader is gone already.
      }
    };
    this.#listener = { controller, end };
    controller.enqueue(encoder.encode(`${this.line}\n`));
    return new Response(body);
  }

  #tell() {
    // The end of a lease is an occasion, too.
    const next = Math.min(this.#messages.firstLeaseEnd(), ...this.#times.values());
    if (next === this.#next) return;
    this.#next = next;
    this.#serial++;
    try {
      this.#listener?.controller.enqueue(encoder.encode(`${this.line}\n`));
    } catch {
      this.#listener = null;
    }
  }
}
