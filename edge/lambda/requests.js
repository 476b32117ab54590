// Request, Response and fetch as scripts know them: Node's own, with what workerd has besides.

const Native = { Request: globalThis.Request, Response: globalThis.Response, fetch: globalThis.fetch };
const cfs = new WeakMap();
const encodedByScript = new WeakSet();
const whole = new WeakSet();

class WorkerRequest extends Native.Request {
  constructor(input, init) {
    super(input, streamed(init));
    const cf = init?.cf ?? cfs.get(input);
    if (cf) cfs.set(this, cf);
    const body = init?.body ?? null;
    if (body === null ? whole.has(input) : !(body instanceof ReadableStream)) whole.add(this);
  }

  static [Symbol.hasInstance](value) {
    return value instanceof Native.Request;
  }

  get cf() {
    return cfs.get(this);
  }

  clone() {
    const clone = Object.setPrototypeOf(super.clone(), WorkerRequest.prototype);
    if (cfs.has(this)) cfs.set(clone, cfs.get(this));
    if (whole.has(this)) whole.add(clone);
    return clone;
  }
}

class WorkerResponse extends Native.Response {
  constructor(body, init) {
    if (init?.webSocket) throw new TypeError("WebSockets cannot be accepted on AWS Lambda.");
    super(body, init);
    if (init?.encodeBody === "manual" || encodedByScript.has(init)) encodedByScript.add(this);
  }

  static [Symbol.hasInstance](value) {
    return value instanceof Native.Response;
  }

  get webSocket() {
    return null;
  }
}

export function encodesItself(response) {
  return encodedByScript.has(response);
}

// A visitor's request. Redirects are the visitor's to follow when a script passes it on.
export function incoming(address, init, cf) {
  return new WorkerRequest(address, { ...init, redirect: "manual", cf });
}

// What a script asks by a binding, and what it is answered.
export function asked(input, init) {
  return init === undefined && input instanceof WorkerRequest ? input : new WorkerRequest(input, init);
}

export function answered(body, init) {
  return new WorkerResponse(body, init);
}

// Whether the body of a request was given in one piece, so that it has a length and can be sent twice.
export function isWhole(request) {
  return whole.has(request);
}

export function installRequests() {
  globalThis.Request = named(WorkerRequest, "Request");
  globalThis.Response = named(WorkerResponse, "Response");
  globalThis.fetch = (input, init) => Native.fetch(input, streamed(init));
  Headers.prototype.getAll = function getAll(name) {
    if (name.toLowerCase() !== "set-cookie") throw new TypeError('getAll() can only be used with the header name "Set-Cookie".');
    return this.getSetCookie();
  };
}

// Node wants to be told that a stream is sent while it is read.
function streamed(init) {
  return init?.body instanceof ReadableStream ? { duplex: "half", ...init } : init;
}

function named(constructor, name) {
  return Object.defineProperty(constructor, "name", { value: name });
}
