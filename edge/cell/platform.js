// Runs beside the customer's script inside its cell, behind a control socket that only the agent
// can open. USER is the script, VERSION_ID says which version this cell is. Scheduled events and batches of
// queues arrive here too, because `env.USER` is the only way to deliver them. The script's calls to other
// scripts pass through `Callee`.
import { WorkerEntrypoint } from "cloudflare:workers";
import { decoded, encoded, encodedError } from "./cloning.js";
import { CALL, collected, watch } from "./subrequests.js";

// Which of its connections to each callee the script's next call takes (edge/runtime/callees.py).
const TURNS = 8;
const turns = new Map();

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (request.method === "GET" && pathname === "/probe") {
      return Response.json({ version_id: env.VERSION_ID });
    }
    if (request.method === "POST" && pathname === "/scheduled") {
      const { cron, scheduledTime } = await request.json();
      // Answers when the handler and what it gave to waitUntil have ended.
      const { outcome } = await env.USER.scheduled({ cron, scheduledTime: new Date(scheduledTime) });
      return Response.json({ outcome });
    }
    if (request.method === "POST" && pathname === "/queue") {
      const { queue, messages, metadata } = await request.json();
      return Response.json(await env.USER.queue(queue, messages.map(received), metadata));
    }
    if (request.method === "POST" && pathname.startsWith("/methods/")) {
      return method(env[`ENTRANCE_${pathname.slice("/methods/".length)}`], await request.text());
    }
    if (pathname.startsWith("/workflows/") && env.WORKFLOWS) return env.WORKFLOWS.fetch(request);
    if (request.method === "POST" && pathname === "/turn") {
      for (const number of await request.json()) turns.set(number, (turnOf(number) + 1) % TURNS);
      return new Response();
    }
    return new Response("not found", { status: 404 });
  },

  // When the script's logs are stored or somebody tails it. The agent reads it from standard output.
  async tail(events) {
    for (const event of events) {
      const subrequests = await collected(event);
      for (const line of told(event, subrequests)) console.log(line);
    }
  },

  tailStream: watch,
};

const decoder = new TextDecoder();

// A message as the runtime hands it to the script; only it can read what was sent as `v8`.
function received({ id, timestamp, attempts, format, body }) {
  const message = { id, timestamp: new Date(timestamp), attempts };
  const bytes = Uint8Array.fromBase64(body);
  if (format === "text") message.body = decoder.decode(bytes);
  else if (format === "json") message.body = JSON.parse(decoder.decode(bytes));
  else if (format === "bytes") message.body = bytes.buffer;
  else message.serializedBody = bytes;
  return message;
}

// A method of the script's that a function in AWS calls, or a property that it reads.
async function method(entrance, asked) {
  try {
    const [name, parameters] = decoded(asked);
    // What the binding itself can do, such as delivering events, is not for scripts.
    if (name in Object.getPrototypeOf(entrance)) throw new TypeError(`The RPC receiver does not implement the method "${name}".`);
    const value = await (parameters ? entrance[name](...parameters) : entrance[name]);
    try {
      return new Response(encoded({ value }));
    } finally {
      value?.[Symbol.dispose]?.();
    }
  } catch (error) {
    return new Response(encodedError(error));
  }
}

function turnOf(number) {
  return turns.get(number) ?? 0;
}

// What a service binding of the script leads to: whatever is asked of it is asked of the callee.
export class Callee extends WorkerEntrypoint {
  constructor(ctx, env) {
    super(ctx, env);
    const { number, apart } = ctx.props;
    const callee = () => env[`CALLEE_${number}_${turnOf(number)}`];
    return new Proxy(this, {
      get(target, key) {
        if (key === "fetch") return (request) => fetchFrom(callee(), request, apart);
        if (Reflect.has(target, key)) return Reflect.get(target, key);
        // What objects.js calls of an object: its gate has one method for all.
        return String(key).startsWith(CALL) ? callee().invoke : callee()[key];
      },
    });
  }
}

// A request that is passed on carries how often that happened. No visitor can set it: the front
// deletes what begins with x-skerry.
const HOPS = "x-skerry-hops";
const MOST_HOPS = 16;

// On every answer of a callee in a cell of its own that came out of the script. workerd's 500 for what the
// script threw lacks it; within one process an exception is one.
const MARKER = "x-skerry";

async function fetchFrom(callee, request, apart) {
  const hops = (Number(request.headers.get(HOPS)) || 0) + 1;
  if (hops > MOST_HOPS) {
    return new Response("error code: 1019", { status: 500, headers: { "content-type": "text/plain" } });
  }
  const counted = new Request(request);
  counted.headers.set(HOPS, String(hops));
  const answer = await callee.fetch(counted);
  if (!apart) return answer;
  if (!answer.headers.has(MARKER)) throw new Error("The Worker that was called threw an exception.");
  const passed = new Response(answer.body, answer);
  passed.headers.delete(MARKER);
  return passed;
}

// Of an event's JSON: what an invocation may log on Cloudflare.
const LONGEST = 256 * 1024;
// Of one of its lines, before the rest is cut off.
const LONGEST_LINE = 64 * 1024;
// Of the letters that go into one line of output, which may have three bytes each.
const PART = 16 * 1024;
const HALF = /[\ud800-\udbff]$/;
let last = 0;

function told(event, subrequests) {
  const parts = partsOf(whole(event, subrequests));
  const id = ++last;
  return parts.map((part, index) => `skerry-tail ${index + 1}/${parts.length} ${id} ${part}`);
}

function partsOf(text) {
  const parts = [];
  for (let at = 0; at < text.length; at += parts.at(-1).length) {
    const part = text.slice(at, at + PART);
    // It must not end within a letter of two halves.
    parts.push(at + PART < text.length && HALF.test(part) ? part.slice(0, -1) : part);
  }
  return parts;
}

// What is counted of the script's objects is printed among what it prints (operations.js).
const COUNTED = "skerry-operations ";

function whole(event, subrequests) {
  const counts = ({ message }) => String(message).startsWith(COUNTED);
  let text = JSON.stringify(event);
  if (text.includes(COUNTED)) {
    const found = JSON.parse(text);
    text = JSON.stringify({ ...found, logs: found.logs?.filter((line) => !counts(line)) });
  }
  if (subrequests) text = `${text.slice(0, -1)},"subrequests":${JSON.stringify(subrequests)}}`;
  if (text.length <= LONGEST) return text;
  const shortened = { ...JSON.parse(text), truncated: true };
  const lines = shortened.logs ?? [];
  shortened.logs = [];
  if (JSON.stringify(shortened).length > LONGEST) shortened.exceptions = [];
  let room = LONGEST - JSON.stringify(shortened).length;
  for (const line of lines) {
    const said = JSON.stringify(line);
    const kept = said.length <= LONGEST_LINE ? line : { ...line, message: [said.slice(0, LONGEST_LINE) + " [cut off]"] };
    room -= Math.min(said.length, LONGEST_LINE) + 200;
    if (room < 0) break;
    shortened.logs.push(kept);
  }
  return JSON.stringify(shortened);
}
