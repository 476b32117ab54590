// Counts what the script's Durable Objects read and write, and prints the sums, which the agent reads
// (edge/agent/records/operations.py). It is in the script's own isolate, as their storage is, and is evaluated
// before the script: what it uses is taken here, so that the script cannot put anything else in its place.

const { apply, construct, defineProperty, getOwnPropertyDescriptor, getPrototypeOf } = Reflect;
const { bind, call } = Function.prototype;
const { captureStackTrace } = Error;
const { isArray } = Array;
const { keys } = Object;
const { now } = Date;
const { queueMicrotask, setTimeout } = globalThis;
const { get: find, set: keep } = WeakMap.prototype;
const print = console.log.bind(console);

const OPERATIONS = "skerry-operations ";
const TELL_MS = 1000;
// An object that was to tell may be reset before it does.
const LATE_MS = 5000;
// So many cursors of an object are kept, whose rows are read off later, when the script has read them.
const HELD = 256;

let reads = 0;
let writes = 0;
let later = (act) => setTimeout(act, TELL_MS);
// Of each object's `sql`: the runtime lets no object touch what another one has open.
const holders = new WeakMap();
// Who tells when no cursor is kept.
const anybody = holder();
let rowsRead;
let rowsWritten;
const watched = { storage: false, transaction: false, kv: false, sql: false };

// The class as the runtime gets it: the script's own, whose first object shows where its storage's methods are.
// A timer lets an invocation of an object last until it is over, so where invocations are told (`told`), there
// is none.
export function counting(found, told) {
  if (told) later = queueMicrotask;
  if (typeof found !== "function") return found ?? {};
  return new Proxy(found, {
    __proto__: null,
    construct(target, args) {
      watch(args[0].storage);
      return construct(target, args);
    },
  });
}

function watch(storage) {
  once("storage", () => {
    operations(getPrototypeOf(storage));
    before(getPrototypeOf(storage), "transaction", (act) => (transaction, ...rest) => {
      once("transaction", () => operations(getPrototypeOf(transaction)));
      return act(transaction, ...rest);
    });
  });
  once("kv", () => operations(getPrototypeOf(storage.kv)));
  once("sql", () => after(getPrototypeOf(storage.sql), "exec", (sql, _, cursor) => hold(sql, cursor)));
}

// A class without SQLite has no `sql`, and another class of the script may have it.
function once(name, act) {
  if (watched[name]) return;
  try {
    act();
    watched[name] = true;
  } catch {}
}

function operations(prototype) {
  const read = (_, asked) => { reads += many(asked); };
  const written = (_, asked) => { writes += many(asked); };
  after(prototype, "get", read);
  after(prototype, "list", () => read());
  after(prototype, "put", (_, asked) => written(_, typeof asked === "object" ? keys(asked) : asked));
  after(prototype, "delete", written);
  after(prototype, "deleteAll", () => written());
  after(prototype, "getAlarm", () => read());
  after(prototype, "setAlarm", () => written());
  after(prototype, "deleteAlarm", () => written());
}

function many(asked) {
  return isArray(asked) ? asked.length : 1;
}

function holder() {
  // No array: a script may have put a setter where its next element goes.
  return { __proto__: null, cursors: { __proto__: null }, held: 0, telling: -Infinity };
}

// Answers who is to tell of it.
function hold(sql, cursor) {
  if (!rowsRead) {
    const prototype = getPrototypeOf(cursor);
    rowsRead = bound(getOwnPropertyDescriptor(prototype, "rowsRead").get);
    rowsWritten = bound(getOwnPropertyDescriptor(prototype, "rowsWritten").get);
  }
  let own = apply(find, holders, [sql]);
  if (!own) {
    own = holder();
    apply(keep, holders, [sql, own]);
  }
  if (own.held === HELD) readOff(own);
  own.cursors[own.held++] = cursor;
  return own;
}

function bound(getter) {
  return apply(bind, call, [getter]);
}

function readOff(own) {
  while (own.held > 0) {
    const cursor = own.cursors[--own.held];
    own.cursors[own.held] = null;
    try {
      reads += rowsRead(cursor);
      writes += rowsWritten(cursor);
    } catch {} // of an object that was reset
  }
}

function tellSoon(own) {
  const at = now();
  if (at - own.telling < LATE_MS) return;
  own.telling = at;
  later(() => tell(own));
}

function tell(own) {
  readOff(own);
  own.telling = -Infinity;
  if (reads + writes > 0) print(`${OPERATIONS}[${reads},${writes}]`);
  reads = writes = 0;
}

// `act` hears of each call that did not throw, and may answer who tells of it.
function after(prototype, name, act) {
  replace(prototype, name, (native) => function counted(...args) {
    let found;
    try {
      found = apply(native, this, args);
    } catch (error) {
      // Its stack is the script's.
      captureStackTrace(error, counted);
      throw error;
    }
    try {
      tellSoon(act(this, args[0], found) ?? anybody);
    } catch {} // what was done is done, counted or not
    return found;
  });
}

// `change` makes another function of the one that is given to the method.
function before(prototype, name, change) {
  replace(prototype, name, (native) => function (act, ...rest) {
    return apply(native, this, [typeof act === "function" ? change(act) : act, ...rest]);
  });
}

function replace(prototype, name, make) {
  const known = getOwnPropertyDescriptor(prototype, name);
  if (!known) return;
  const value = make(known.value);
  defineProperty(value, "name", { value: name, configurable: true });
  defineProperty(value, "length", { value: known.value.length, configurable: true });
  defineProperty(prototype, name, { ...known, value });
}
