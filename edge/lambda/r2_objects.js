// Objects of R2 as scripts see them.

import { writeHttpMetadata } from "./r2_options.js";

const CHECKSUMS = ["md5", "sha1", "sha256", "sha384", "sha512"];
const HTTP = 0;
const CUSTOM = 1;
const BOTH = [HTTP, CUSTOM];

class Checksums {
  #hex;

  constructor(hex) {
    this.#hex = hex;
    for (const name of CHECKSUMS) {
      if (hex[name]) this[name] = Uint8Array.from(Buffer.from(hex[name], "hex")).buffer;
    }
  }

  toJSON() {
    return { ...this.#hex };
  }
}

export class R2Object {
  // `facts` as the store tells them; `http`: what was sent; `told`: what metadata they have.
  constructor(facts, http = undefined, told = BOTH) {
    const known = facts.checksums ?? {};
    const hex = CHECKSUMS.map((name, place) => [name, known[place]]).filter(([, value]) => value);
    this.storageClass = facts.storageClass;
    if (facts.range) this.range = { offset: Number(facts.range.offset ?? 0), length: Number(facts.range.length ?? 0) };
    if (told.includes(CUSTOM)) this.customMetadata = Object.fromEntries((facts.customFields ?? []).map(({ k, v }) => [k, v]));
    if (told.includes(HTTP)) this.httpMetadata = http ?? httpMetadata(facts.httpFields ?? {});
    this.uploaded = new Date(Number(facts.uploaded));
    this.checksums = new Checksums(Object.fromEntries(hex));
    this.httpEtag = `"${facts.etag}"`;
    this.etag = facts.etag;
    this.size = Number(facts.size);
    this.version = facts.version;
    this.key = facts.name;
  }

  writeHttpMetadata(headers) {
    if (this.httpMetadata === undefined) {
      throw new TypeError(
        `HTTP metadata unknown for key \`${this.key}\`. Did you forget to add 'httpMetadata' to \`include\` when listing?`,
      );
    }
    writeHttpMetadata(this.httpMetadata, headers);
  }
}

export class R2ObjectBody extends R2Object {
  #answer;

  constructor(facts, body) {
    super(facts);
    this.#answer = new Response(body);
  }

  get body() {
    return this.#answer.body;
  }

  get bodyUsed() {
    return this.#answer.bodyUsed;
  }

  async arrayBuffer() {
    return this.#unused().arrayBuffer();
  }

  async bytes() {
    return new Uint8Array(await this.arrayBuffer());
  }

  async text() {
    return this.#unused().text();
  }

  async json() {
    return this.#unused().json();
  }

  async blob() {
    return new Blob([await this.arrayBuffer()], { type: this.httpMetadata.contentType });
  }

  #unused() {
    if (!this.bodyUsed) return this.#answer;
    throw new TypeError("Body has already been used. It can only be used once. Use tee() first if you need to read it twice.");
  }
}

function httpMetadata({ cacheExpiry, ...fields }) {
  return cacheExpiry === undefined ? fields : { ...fields, cacheExpiry: new Date(Number(cacheExpiry)) };
}
