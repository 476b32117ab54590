// A binding that leads out of AWS: to the store of a Skerry node, in the protocol that the runtime's own
// bindings speak there, or to another script (services.js). Skerry's API lets it in with a credential that
// opens this version's bindings and nothing else (api/targets/remote.py).

const fetch = globalThis.fetch; // before a script can replace it

// Skerry's address and the credential; set with the configuration of the function (edge/lambda_zip.py).
const variables = ["BINDINGS_URL", "BINDINGS_CREDENTIAL"];
const [url, credential] = variables.map((name) => process.env[name] ?? "");
for (const name of variables) delete process.env[name];

// What the status line of a store says does not survive HTTP/2, and HTTP servers of Python.
const REASON = "x-skerry-reason";
// An answer of Skerry's own, which asked no store.
const REFUSED = "x-skerry-refused";
// A process that was frozen finds the connections that it kept closed. Nothing was done then.
const CLOSED = new Set(["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"]);

export class Remote {
  #address;

  constructor(name) {
    this.#address = `${url}/${encodeURIComponent(name)}`;
  }

  // The answer, whatever its status; `again`: that doing it twice is the same as doing it once.
  async ask(method, path, { headers = {}, body, signal, again = false } = {}) {
    const streams = body instanceof ReadableStream;
    const init = {
      method,
      body,
      signal,
      headers: { ...headers, authorization: `Bearer ${credential}` },
      redirect: "error",
      ...(streams && { duplex: "half" }),
    };
    for (let left = again && !streams ? 1 : 0; ; left--) {
      try {
        return await taken(await fetch(this.#address + path, init));
      } catch (error) {
        if (left > 0 && CLOSED.has(error.cause?.code)) continue;
        if (!(error instanceof TypeError)) throw error; // a refusal, or what the script's own stream threw
        const reason = error.cause?.message || error.message;
        throw new Error(`Skerry could not be reached from AWS Lambda: ${reason}`, { cause: error });
      }
    }
  }
}

async function taken(answer) {
  const refused = answer.headers.get(REFUSED);
  if (refused === null) return answer;
  await answer.body?.cancel();
  throw new Error(refused);
}

// What a store says of an answer.
export function reasonOf(answer) {
  return answer.headers.get(REASON) || answer.statusText;
}

// Text for a header: JSON with every letter outside of ASCII escaped.
export function asciiJson(value) {
  return JSON.stringify(value).replace(/[\u0080-\uffff]/g, (letter) => {
    return "\\u" + letter.charCodeAt(0).toString(16).padStart(4, "0");
  });
}

// The text of a header that may hold UTF-8, which `Headers` reads as Latin-1.
export function utf8(header) {
  return Buffer.from(header, "latin1").toString();
}

// Whatever the runtime takes for bytes.
export function isBytes(value) {
  return value instanceof ArrayBuffer || ArrayBuffer.isView(value);
}

export function bytesOf(value) {
  if (typeof value === "string") return Buffer.from(value);
  return value instanceof ArrayBuffer ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}
