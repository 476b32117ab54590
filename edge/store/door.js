// Who may use what. A binding comes with `name.mac` in a header that the runtime of the caller adds
// where no script can see or change it; the mac is HMAC-SHA-256 of the name, in hex, under a key that
// this store and its agent have, and no other account's store.

const HEADER = "x-skerry-binding";
const REMEMBERED = 10_000;

const names = new Map();

// What the request may use, null when it may use nothing.
export async function opened(request, env) {
  const ticket = request.headers.get(HEADER) ?? "";
  let name = names.get(ticket);
  if (name === undefined) {
    name = await checked(ticket, env.KEY);
    if (name === null) return null;
    if (names.size >= REMEMBERED) names.clear();
    names.set(ticket, name);
  }
  return name;
}

async function checked(ticket, key) {
  const at = ticket.lastIndexOf(".");
  const mac = bytes(ticket.slice(at + 1));
  if (at < 1 || mac === null) return null;
  const name = ticket.slice(0, at);
  const good = await crypto.subtle.verify("HMAC", key, mac, new TextEncoder().encode(name));
  return good ? name : null;
}

function bytes(hex) {
  if (!/^[0-9a-f]{64}$/.test(hex)) return null;
  return Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
}
