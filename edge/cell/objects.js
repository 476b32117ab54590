// A binding to the Durable Objects of another Worker, in the cell that calls. IDS is a namespace of this
// cell's with the same key, which makes the same ids and has no objects. FETCHER leads to the gate in the
// owner's cell (gate.js), past the platform worker, NAME is the binding's.

// No visitor can send them: the front deletes what begins with x-skerry.
const OBJECT = "x-skerry-object";
const THREW = "x-skerry-threw";
// The runtime tells a call by the method that is called here, so that says what the script called, and
// subrequests.js reads it. The platform worker makes `invoke` of it.
const CALL = "skerry-object ";

class DurableObjectNamespace {
  #fetcher;
  #ids;
  #binding;

  constructor(fetcher, ids, binding) {
    this.#fetcher = fetcher;
    this.#ids = ids;
    this.#binding = binding;
  }
  get [Symbol.toStringTag]() { return "DurableObjectNamespace"; }
  idFromName(name) { return this.#ids.idFromName(name); }
  idFromString(id) { return this.#ids.idFromString(id); }
  newUniqueId(options) { return this.#ids.newUniqueId(options); }
  get(id, options) { return this.#stub(this.#ids.get(id, options)); }
  getByName(name, options) { return this.#stub(this.#ids.getByName(name, options)); }
  jurisdiction(name) { return new DurableObjectNamespace(this.#fetcher, this.#ids.jurisdiction(name), this.#binding); }
  #stub(own) { return stubOf(this.#fetcher, own, this.#binding); }
}

// Of an object: what the stub of this cell's says of itself, and everything else asked of the owner.
function stubOf(fetcher, { id, name }, binding) {
  const who = [`${id}`, name];
  const own = {
    id,
    name,
    fetch: (input, init) => fetchFrom(fetcher, who, new Request(input, init)),
    [Symbol.toStringTag]: "DurableObject",
  };
  const act = (path, args) => fetcher[CALL + JSON.stringify([binding, path.join(".")])](who, path, args);
  return new Proxy(own, {
    get(target, key) {
      if (typeof key === "symbol" || key === "then" || key in target) return target[key];
      // Without RPC, as before the date 2024-04-03, an object has no methods.
      return fetcher[CALL] && member(act, [key]);
    },
  });
}

// Called, it is a method; awaited, a property; and it has members of its own.
function member(act, path) {
  return new Proxy((...args) => act(path, args), {
    get(target, key) {
      if (typeof key === "symbol" || key in Object.prototype) return target[key];
      if (key !== "then" && key !== "catch" && key !== "finally") return member(act, [...path, key]);
      return (...args) => Promise.resolve(act(path))[key](...args);
    },
  });
}

async function fetchFrom(fetcher, who, request) {
  const { protocol } = new URL(request.url);
  request.headers.set(OBJECT, encodeURIComponent(JSON.stringify([who, protocol])));
  const answer = await fetcher.fetch(request);
  const threw = answer.headers.get(THREW);
  if (threw === null) return answer;
  const { name, message, ...flags } = JSON.parse(decodeURIComponent(threw));
  const kind = /^[A-Z]\w*Error$/.test(name) ? globalThis[name] : null;
  throw Object.assign(new (kind ?? Error)(message), flags);
}

export default ({ FETCHER, IDS, NAME }) => new DurableObjectNamespace(FETCHER, IDS, NAME);
