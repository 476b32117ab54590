// What a `match` asks for beyond "what you have": only if it changed, or only a part.

const TAG = /^(?:W\/)?"(.*)"$/;
const ONE_RANGE = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i;

const tagOf = (text) => TAG.exec(text.trim())?.[1];

// Whether who asks has it already. `If-None-Match` counts before `If-Modified-Since`.
export function unchanged(asked, headers) {
  const wanted = asked.get("If-None-Match");
  const tag = tagOf(headers.get("ETag") ?? "");
  if (wanted !== null && tag !== undefined) {
    return wanted.trim() === "*" || wanted.split(",").some((one) => tagOf(one) === tag);
  }
  const since = Date.parse(asked.get("If-Modified-Since") ?? "");
  const changed = Date.parse(headers.get("Last-Modified") ?? "");
  return changed <= since;
}

// `{offset, length, whole}`: all of it where the header cannot be understood or names several
// ranges, null where nothing of it is there.
export function rangeOf(header, size) {
  const all = { offset: 0, length: size, whole: true };
  const found = ONE_RANGE.exec(header ?? "");
  if (found === null || (found[1] === "" && found[2] === "")) return all;
  const first = found[1] === "" ? Math.max(size - Number(found[2]), 0) : Number(found[1]);
  const last = found[1] === "" || found[2] === "" ? size - 1 : Math.min(Number(found[2]), size - 1);
  if (found[1] !== "" && found[2] !== "" && Number(found[2]) < first) return all;
  if (first >= size || first > last) return null;
  return { offset: first, length: last - first + 1, whole: false };
}
