// The `ctx` of one invocation.

export class Context {
  #waiting = new Set();

  props = {};

  waitUntil(promise) {
    const settled = Promise.resolve(promise)
      .catch((error) => console.error("Uncaught (in waitUntil)", error))
      .finally(() => this.#waiting.delete(settled));
    this.#waiting.add(settled);
  }

  // There is nothing behind a function that could answer in its place.
  passThroughOnException() {}

  // Lambda freezes the process as soon as the handler has returned, so it returns after all of this.
  async finished() {
    while (this.#waiting.size) await Promise.all(this.#waiting);
  }
}
