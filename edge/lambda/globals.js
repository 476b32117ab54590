// What a script finds as globals in a cell and Node lacks.

import { createHash, timingSafeEqual } from "node:crypto";

import { installRequests } from "./requests.js";
import { FixedLengthStream, IdentityTransformStream } from "./streams.js";

const MD5 = /^md5$/i;

export function installGlobals() {
  installRequests();
  installCrypto();
  const navigator = { userAgent: "Cloudflare-Workers", language: "en", hardwareConcurrency: 1 };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true, enumerable: true });
  Object.assign(globalThis, { FixedLengthStream, IdentityTransformStream, self: globalThis, scheduler, caches });
  installEvents();
}

const scheduler = {
  wait: (delay, { signal } = {}) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const timer = setTimeout(resolve, delay);
      signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)));
    }),
};

// A cache that keeps nothing: each process would have one of its own, and Lambda ends them at will.
const cache = {
  match: async () => undefined,
  put: async (_, response) => void (await response.body?.cancel()),
  delete: async () => false,
};
const caches = { default: cache, open: async () => cache };

function installEvents() {
  const target = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener", "dispatchEvent"]) {
    globalThis[name] ??= target[name].bind(target);
  }
}

function installCrypto() {
  const { subtle } = globalThis.crypto;
  const digest = subtle.digest.bind(subtle);
  subtle.digest = async (algorithm, data) =>
    MD5.test(algorithm?.name ?? algorithm) ? exact(createHash("md5").update(bytes(data)).digest()) : digest(algorithm, data);
  subtle.timingSafeEqual = (left, right) => {
    if (left.byteLength !== right.byteLength) throw new TypeError("Input buffers must have the same byte length.");
    return timingSafeEqual(bytes(left), bytes(right));
  };
  globalThis.crypto.DigestStream = DigestStream;
}

class DigestStream extends WritableStream {
  constructor(algorithm) {
    const hash = createHash((algorithm?.name ?? algorithm).replace("-", "").toLowerCase());
    let count = 0;
    let settle;
    const digest = new Promise((resolve, reject) => (settle = { resolve, reject }));
    digest.catch(() => {}); // whoever aborts the stream need not ask for the digest
    super({
      write(piece) {
        const data = typeof piece === "string" ? Buffer.from(piece) : bytes(piece);
        count += data.byteLength;
        hash.update(data);
      },
      close: () => settle.resolve(exact(hash.digest())),
      abort: (reason) => settle.reject(reason),
    });
    Object.defineProperty(this, "digest", { value: digest });
    Object.defineProperty(this, "bytesWritten", { get: () => BigInt(count) });
  }
}

function bytes(data) {
  return ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
}

function exact(buffer) {
  return Uint8Array.from(buffer).buffer;
}
