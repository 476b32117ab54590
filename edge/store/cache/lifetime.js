// How long an answer may be kept, as a cache that serves many (RFC 9111), and as Cloudflare does it:
// `Vary` is not looked at, and an answer that sets a cookie is not kept.

const BY_DEFAULT = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);
const IF_TOLD = new Set([302, 303, 307]);
// Of a connection or of a moment, not of what is kept.
const NOT_KEPT = [
  ...["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"],
  ...["transfer-encoding", "upgrade", "date", "age", "content-length"],
];
// Of the time since the last change, for an answer that does not say how long it is good.
const GUESSED = 0.1;

// `{headers, age, expires}` of what may be kept: seconds it was old already, and the millisecond since
// 1970 at which it is stale. Null for what may not.
export function lifetime(asked, status, answer) {
  const headers = new Headers(answer);
  const rules = directives(headers.get("Cache-Control"));
  if (rules.private !== undefined && /set-cookie/i.test(rules.private)) {
    headers.delete("Set-Cookie");
    delete rules.private;
  }
  if (!mayBeKept(asked, status, headers, rules)) return null;
  const age = whole(headers.get("Age") ?? "0");
  const seconds = good(headers, rules) - age;
  const expires = Date.now() + Math.max(seconds, 0) * 1000;
  for (const name of NOT_KEPT) headers.delete(name);
  return { headers: [...headers], age, expires };
}

function mayBeKept(asked, status, headers, rules) {
  const told = ["max-age", "s-maxage", "public"].some((name) => name in rules) || headers.has("Expires");
  const known = BY_DEFAULT.has(status) || (IF_TOLD.has(status) && told);
  const open = ["must-revalidate", "public", "s-maxage"].some((name) => name in rules);
  return (
    known &&
    !("no-store" in rules) &&
    !("private" in rules) &&
    !headers.has("Set-Cookie") &&
    (open || !asked.has("Authorization"))
  );
}

// For how many seconds from its making.
function good(headers, rules) {
  if ("no-cache" in rules || "proxy-revalidate" in rules) return 0;
  if (!headers.has("Cache-Control") && /no-cache/i.test(headers.get("Pragma") ?? "")) return 0;
  for (const name of ["s-maxage", "max-age"]) if (name in rules) return whole(rules[name]);
  const made = Date.parse(headers.get("Date") ?? "") || Date.now();
  if (headers.has("Expires")) {
    const ends = Date.parse(headers.get("Expires"));
    return Number.isNaN(ends) ? 0 : Math.max((ends - made) / 1000, 0);
  }
  const changed = Date.parse(headers.get("Last-Modified") ?? "");
  return Number.isNaN(changed) ? 0 : Math.max(((made - changed) / 1000) * GUESSED, 0);
}

function directives(text) {
  const found = {};
  for (const part of (text ?? "").split(",")) {
    const [name, value = ""] = part.split("=", 2);
    if (name.trim()) found[name.trim().toLowerCase()] = value.trim().replace(/^"|"$/g, "");
  }
  return found;
}

function whole(text) {
  const number = Number.parseInt(text, 10);
  return Number.isFinite(number) && number > 0 ? number : 0;
}
