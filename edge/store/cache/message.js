// The answer in the body of a PUT: HTTP/1.1's head, and behind it the bytes as they are.

const CHUNK = 64 * 1024;
const LARGEST_HEAD = 128 * 1024;
const END = [13, 10, 13, 10];

const decoder = new TextDecoder("latin1");

export class TooLarge extends Error {}

// What is left of a stream of which `head` was read already. Raises TooLarge beyond `largest` bytes.
export class Rest {
  #passed = 0;

  constructor(head, reader, largest = Infinity) {
    this.head = head;
    this.reader = reader;
    this.largest = largest;
  }

  async readAtLeast(least, view) {
    if (this.head.byteLength === 0) return this.#counted(await this.reader.readAtLeast(least, view));
    const size = Math.min(this.head.byteLength, view.byteLength);
    view.set(this.head.subarray(0, size));
    this.head = this.head.subarray(size);
    return this.#counted({ value: view.subarray(0, size), done: false });
  }

  // The sender waits for an answer until all it sent is read.
  async drain() {
    this.head = new Uint8Array(0);
    while (!(await this.reader.read(new Uint8Array(CHUNK))).done);
  }

  #counted(read) {
    this.#passed += read.value?.byteLength ?? 0;
    if (this.#passed > this.largest) throw new TooLarge();
    return read;
  }
}

// `{status, headers, rest, size}`; the size is null where nobody said how long the whole is.
export async function message(reader, length) {
  let read = new Uint8Array(0);
  let end = -1;
  while (end < 0) {
    const { value, done } = await reader.read(new Uint8Array(CHUNK));
    if (done || read.byteLength > LARGEST_HEAD) throw new Error("This is no HTTP message.");
    const from = Math.max(read.byteLength - END.length, 0);
    read = joined(read, value);
    end = endOfHead(read, from);
  }
  const [first, ...lines] = decoder.decode(read.subarray(0, end)).split("\r\n");
  const headers = new Headers(lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
  const start = end + END.length;
  const size = length === null ? null : Number(length) - start;
  return { status: Number(first.split(" ")[1]), headers, rest: new Rest(read.subarray(start), reader), size };
}

// Up to `most` bytes.
export async function beginning(rest, most) {
  const found = new Uint8Array(most);
  let size = 0;
  while (size < most) {
    const room = new Uint8Array(most - size);
    const { value, done } = await rest.readAtLeast(room.byteLength, room);
    if (value !== undefined) {
      found.set(value, size);
      size += value.byteLength;
    }
    if (done || value === undefined || value.byteLength === 0) break;
  }
  return joined(found.subarray(0, size), rest.head);
}

function joined(one, two) {
  const both = new Uint8Array(one.byteLength + two.byteLength);
  both.set(one);
  both.set(two, one.byteLength);
  return both;
}

function endOfHead(bytes, from) {
  for (let at = bytes.indexOf(13, from); at >= 0; at = bytes.indexOf(13, at + 1)) {
    if (END.every((byte, place) => bytes[at + place] === byte)) return at;
  }
  return -1;
}
