// Requests that the front of a node passes on because the node cannot run the script. They carry what
// the visitor asked for, and a secret: anybody may call a function's URL.

import { timingSafeEqual } from "node:crypto";

const SECRET = Buffer.from(process.env.FRONT_SECRET ?? ""); // edge/lambda_zip.py
delete process.env.FRONT_SECRET;
const PREFIX = "x-skerry-";

// `{host, client, scheme, ray}` of the visitor; null when nobody of ours passed the request on.
export function fronted(pairs) {
  const found = Object.fromEntries(pairs.map(([name, value]) => [name.toLowerCase(), value]));
  const given = Buffer.from(found[`${PREFIX}front`] ?? "");
  if (SECRET.length === 0 || given.length !== SECRET.length || !timingSafeEqual(given, SECRET)) return null;
  const told = ["host", "client", "scheme", "ray"].map((name) => [name, found[PREFIX + name]]);
  return Object.fromEntries(told);
}
