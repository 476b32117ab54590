// Checksums of what flows by.

import { badDigest } from "./errors.js";

// The field of a put, how the runtime calls the algorithm, the field's place among the checksums of
// an answer, and how the field is written.
const ALGORITHMS = [
  { field: "md5", name: "MD5", place: "0", hex: (text) => hexOf(Uint8Array.fromBase64(text)) },
  { field: "sha1", name: "SHA-1", place: "1", hex: (text) => text.toLowerCase() },
  { field: "sha256", name: "SHA-256", place: "2", hex: (text) => text.toLowerCase() },
  { field: "sha384", name: "SHA-384", place: "3", hex: (text) => text.toLowerCase() },
  { field: "sha512", name: "SHA-512", place: "4", hex: (text) => text.toLowerCase() },
];

const hexOf = (bytes) => bytes.toHex();

// MD5 always, since it is the etag, and what else `asked` wants to be sure of.
export class Digests {
  #running = [];

  constructor(asked = {}) {
    for (const algorithm of ALGORITHMS) {
      if (algorithm.field !== "md5" && asked[algorithm.field] === undefined) continue;
      const stream = new crypto.DigestStream(algorithm.name);
      this.#running.push({ ...algorithm, stream, writer: stream.getWriter() });
    }
    this.asked = asked;
  }

  async write(chunk) {
    await Promise.all(this.#running.map(({ writer }) => writer.write(chunk)));
  }

  // `{etag, checksums}` in hex; raises badDigest where one is not what was asked for.
  async end() {
    const checksums = {};
    let etag = "";
    for (const { field, name, place, hex, stream, writer } of this.#running) {
      await writer.close();
      const got = hexOf(new Uint8Array(await stream.digest));
      if (field === "md5") etag = got;
      if (this.asked[field] === undefined) continue;
      const wanted = hex(this.asked[field]);
      if (wanted !== got) throw badDigest(name, wanted, got);
      checksums[place] = got;
    }
    return { etag, checksums };
  }
}

// The etag of an object that came in parts: the MD5 of their MD5s, and how many they were.
export async function etagOfParts(etags) {
  const joined = Uint8Array.fromHex(etags.join(""));
  return `${hexOf(new Uint8Array(await crypto.subtle.digest("MD5", joined)))}-${etags.length}`;
}
