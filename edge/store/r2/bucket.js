// A bucket: one Durable Object, which knows where everything is and lets the bytes flow by.

import { DurableObject } from "cloudflare:workers";
import { Blobs } from "./blobs.js";
import { hold } from "./conditions.js";
import { Digests } from "./digests.js";
import { entityTooLarge, invalidArgument, noSuchBucket, preconditionFailed } from "./errors.js";
import { checkKey, checkMetadata, LARGEST_UPLOAD, MOST_KEYS } from "./limits.js";
import { list } from "./listing.js";
import { Uploads } from "./multipart.js";
import { newRow, Objects } from "./objects.js";
import { answered, answerOf, readingRequest, refused, stored, streamed, writingRequest } from "./protocol.js";
import { cut, wanted } from "./ranges.js";
import { filesOf } from "../shared.js";

export class Bucket extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.#open();
  }

  ping() {}

  async fetch(request) {
    try {
      if (request.method === "GET") return this.#read(readingRequest(request));
      return await this.#write(request);
    } catch (problem) {
      return refused(problem);
    }
  }

  // The end of a bucket, if it has no objects. What is being written at this moment is refused.
  async destroy() {
    if (this.objects.totals().objects > 0) return "not empty";
    await this.ctx.storage.deleteAll();
    this.#open();
    const answer = await filesOf(this.env).fetch(`http://blobs/${this.ctx.id}`, { method: "DELETE" });
    return answer.ok || answer.status === 404 ? "ended" : "left over";
  }

  #open() {
    this.blobs = new Blobs(filesOf(this.env), this.ctx, this.ctx.id.toString());
    this.objects = new Objects(this.ctx, this.blobs);
    this.uploads = new Uploads(this.ctx, this.blobs, this.objects);
    this.objects.open();
    this.uploads.open();
    this.blobs.open();
  }

  #read(asked) {
    switch (asked.method) {
      case "head": {
        checkKey(asked.object);
        const row = this.objects.facts(asked.object);
        return answered(answerOf(row, { offset: 0, length: row.size }));
      }
      case "get":
        return this.#get(asked);
      case "list":
        return answered(list(this.ctx.storage.sql, asked));
      case "listUploads":
        return answered({ uploads: this.uploads.list(asked.prefix ?? "") });
      case "listParts":
        return answered({ parts: this.uploads.parts(asked.object, asked.uploadId) });
      case "totals":
        return answered(this.objects.totals());
      default:
        throw invalidArgument(`There is no reading method "${asked.method}".`);
    }
  }

  #get(asked) {
    checkKey(asked.object);
    refuseSsec(asked);
    const object = this.objects.whole(asked.object);
    if (!hold(asked.onlyIf, object)) {
      throw preconditionFailed(answerOf(object, { offset: 0, length: object.size }));
    }
    const range = wanted(asked, object.size);
    const parts = cut(object.pieces, range);
    const { response, poured } = streamed(answerOf(object, range), range.length, (writable) =>
      this.blobs.pour(parts, writable),
    );
    this.ctx.waitUntil(poured);
    return response;
  }

  async #write(request) {
    const { asked, reader, size } = await writingRequest(request);
    try {
      if (size !== null && size > LARGEST_UPLOAD) throw entityTooLarge();
      return await this.#change(asked, reader, size);
    } catch (problem) {
      // Who is still sending would take an answer that comes early for a broken connection.
      const here = size > LARGEST_UPLOAD || (await drain(reader));
      if (!here) return new Response(null, { status: 499 });
      throw problem;
    }
  }

  async #change(asked, reader, size) {
    switch (asked.method) {
      case "put":
        return answered(answerOf(await this.#put(asked, reader, size)));
      case "delete":
        this.#delete(asked);
        return new Response(null);
      case "createMultipartUpload":
        checkWritten(asked);
        return answered(this.uploads.create(asked.object, stored(asked)));
      case "uploadPart":
        refuseSsec(asked);
        return answered(await this.uploads.uploadPart(asked, reader, size));
      case "completeMultipartUpload": {
        const row = await this.uploads.complete(asked.object, asked.uploadId, asked.parts ?? []);
        return answered(answerOf(row));
      }
      case "abortMultipartUpload":
        this.uploads.abort(asked.object, asked.uploadId);
        return new Response(null);
      default:
        throw invalidArgument(`There is no writing method "${asked.method}".`);
    }
  }

  async #put(asked, reader, size) {
    checkWritten(asked);
    const blobs = this.blobs;
    const blob = blobs.take();
    try {
      const digests = new Digests(asked);
      const written = await blobs.write(blob, reader, size, digests);
      if (blobs !== this.blobs) throw noSuchBucket();
      if (written > LARGEST_UPLOAD) throw entityTooLarge();
      const { etag, checksums } = await digests.end();
      const row = newRow(asked.object, written, etag, checksums, stored(asked));
      return this.objects.put(row, [[blob, written]], asked.onlyIf);
    } catch (problem) {
      blobs.discard([blob]);
      throw problem;
    }
  }

  #delete({ object, objects }) {
    const keys = objects ?? [object];
    if (keys.length > MOST_KEYS) {
      throw invalidArgument(`At most ${MOST_KEYS} objects can be deleted at once.`);
    }
    keys.forEach(checkKey);
    this.objects.delete(keys);
  }
}

function checkWritten(asked) {
  checkKey(asked.object);
  checkMetadata(asked.customFields);
  refuseSsec(asked);
}

// Storing something readable that was to be encrypted would be worse than to refuse it.
function refuseSsec({ ssec }) {
  if (ssec !== undefined) {
    throw invalidArgument("Encryption with customer-provided keys (SSE-C) is not available on Skerry.");
  }
}

// Whether the sender is there to its end.
async function drain(reader) {
  try {
    while (!(await reader.read(new Uint8Array(64 * 1024))).done);
    return true;
  } catch {
    return false;
  }
}
