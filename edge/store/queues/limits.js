// Cloudflare's limits of messages (cloudflare-docs, queues/platform/limits), and its codes for what is
// beyond them (queues/reference/error-codes).

export const LARGEST_MESSAGE = 128_000;
// 256 KB, and the room that Cloudflare leaves for what surrounds the bodies.
export const LARGEST_BATCH = 288_000;
export const MOST_MESSAGES = 100;
export const LONGEST_DELAY_SECONDS = 86_400;

export const FORMATS = ["text", "bytes", "json", "v8"];

export class Refused extends Error {
  constructor(status, code, cause) {
    super(cause);
    Object.assign(this, { status, code });
  }

  // As the runtime's binding reads it: the words of the status become the message of the error.
  response() {
    const { status, code, message } = this;
    const headers = { "CF-Queues-Error-Code": `${code}`, "CF-Queues-Error-Cause": message };
    return Response.json({ code, error: message }, { status, statusText: message, headers });
  }
}

export const tooLarge = (code, cause) => new Refused(413, code, cause);
const malformed = (code, cause) => new Refused(400, code, cause);

// Seconds, or undefined where none were given.
export function checkedDelay(value) {
  if (value === null || value === undefined || value === "") return undefined;
  const seconds = Number(value);
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > LONGEST_DELAY_SECONDS) {
    throw malformed(10203, `message delay ${value} is not between 0 and ${LONGEST_DELAY_SECONDS}`);
  }
  return seconds;
}

export function checkedFormat(value) {
  const format = value ?? "v8";
  if (!FORMATS.includes(format)) {
    throw malformed(10203, `message content type ${value} is none of ${FORMATS.join(", ")}`);
  }
  return format;
}

export function checkedMessages(messages) {
  if (messages.length > MOST_MESSAGES) {
    throw tooLarge(10206, `batch message count of ${messages.length} exceeds limit of ${MOST_MESSAGES}`);
  }
  let total = 0;
  for (const { body } of messages) {
    if (body.byteLength > LARGEST_MESSAGE) {
      throw tooLarge(
        10204,
        `message length of ${body.byteLength} bytes exceeds limit of ${LARGEST_MESSAGE}`,
      );
    }
    total += body.byteLength;
  }
  if (total > LARGEST_BATCH) {
    throw tooLarge(10205, `batch size of ${total} bytes exceeds limit of ${LARGEST_BATCH}`);
  }
  return messages;
}
