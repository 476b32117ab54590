// Values on their way between a function in AWS and a method in a cell: JSON of what can be cloned. Both have
// this file. What is not JSON's own is `[kind, parts]`.

const VIEWS = new Map(
  [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, BigInt64Array]
    .concat([BigUint64Array, Float32Array, Float64Array, DataView])
    .map((view) => [view.name, view]),
);
const ERRORS = new Map([EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((one) => [one.name, one]));
const KINDS = {
  Array: { tell: (array, tell) => Array.from(array, tell), make: (parts, make) => parts.map(make) },
  Object: {
    tell: (object, tell) => Object.entries(object).map(([key, value]) => [key, tell(value)]),
    make: (parts, make) => Object.fromEntries(parts.map(([key, value]) => [key, make(value)])),
  },
  Map: {
    tell: (map, tell) => Array.from(map, ([key, value]) => [tell(key), tell(value)]),
    make: (parts, make) => new Map(parts.map(([key, value]) => [make(key), make(value)])),
  },
  Set: { tell: (set, tell) => Array.from(set, tell), make: (parts, make) => new Set(parts.map(make)) },
  Date: { tell: (date) => date.getTime(), make: (time) => new Date(time ?? NaN) },
  RegExp: { tell: ({ source, flags }) => [source, flags], make: (parts) => new RegExp(...parts) },
  ArrayBuffer: { tell: (buffer) => base64(new Uint8Array(buffer)), make: (text) => bytes(text).buffer },
  Error: {
    tell: ({ name, message, stack }) => [String(name), String(message), String(stack)],
    make: ([name, message, stack]) => Object.assign(new (ERRORS.get(name) ?? Error)(message), { stack }),
  },
  DOMException: { tell: ({ message, name }) => [message, name], make: (parts) => new DOMException(...parts) },
};
const PIECE = 0x8000; // arguments that a function surely takes

// Throws a DataCloneError for what cannot cross.
export function encoded(value) {
  return JSON.stringify(told(value, []));
}

export function decoded(text) {
  return made(JSON.parse(text));
}

// Of whatever was thrown.
export function encodedError(error) {
  return encoded({ error: error instanceof Error ? error : new Error(String(error)) });
}

function told(value, around) {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isFinite(value) && !Object.is(value, -0)) return value;
  if (typeof value === "number") return ["number", Object.is(value, -0) ? "-0" : String(value)];
  if (value === undefined) return ["undefined"];
  if (typeof value === "bigint") return ["bigint", String(value)];
  if (typeof value !== "object") throw refusal(`A ${typeof value}`);
  if (around.includes(value)) throw refusal("An object that contains itself");
  return toldObject(value, [...around, value]);
}

function toldObject(value, around) {
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (VIEWS.has(kind)) return [kind, base64(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))];
  const prototype = Object.getPrototypeOf(value);
  const plain = kind !== "Object" || prototype === Object.prototype || prototype === null;
  if (!plain || !Object.hasOwn(KINDS, kind)) throw refusal(`An object of type ${value.constructor?.name ?? kind}`);
  return [kind, KINDS[kind].tell(value, (inner) => told(inner, around))];
}

function made(told) {
  if (!Array.isArray(told)) return told;
  const [kind, parts] = told;
  if (kind === "undefined") return undefined;
  if (kind === "number") return Number(parts);
  if (kind === "bigint") return BigInt(parts);
  if (VIEWS.has(kind)) return new (VIEWS.get(kind))(bytes(parts).buffer);
  return KINDS[kind].make(parts, made);
}

function refusal(what) {
  return new DOMException(`${what} cannot pass between AWS Lambda and a node: only what can be cloned can.`, "DataCloneError");
}

function base64(view) {
  let text = "";
  for (let at = 0; at < view.length; at += PIECE) text += String.fromCharCode(...view.subarray(at, at + PIECE));
  return btoa(text);
}

function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
