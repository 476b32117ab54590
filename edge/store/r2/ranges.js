// Which bytes of an object a read wants.

import { invalidRange } from "./errors.js";

// `{offset, length}` of what is asked for; all of it where the header cannot be understood or names
// several ranges.
export function wanted({ range, rangeHeader }, size) {
  if (rangeHeader !== undefined) return ofHeader(rangeHeader, size) ?? { offset: 0, length: size };
  if (range === undefined) return { offset: 0, length: size };
  if (range.suffix !== undefined) return last(Number(range.suffix), size);
  const offset = Number(range.offset ?? 0);
  const length = Math.min(Number(range.length ?? size - offset), size - offset);
  if (offset > size || length <= 0) throw invalidRange();
  return { offset, length };
}

function last(suffix, size) {
  if (suffix <= 0) throw invalidRange();
  const length = Math.min(suffix, size);
  return { offset: size - length, length };
}

function ofHeader(header, size) {
  const found = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header);
  if (found === null || (found[1] === "" && found[2] === "")) return null;
  if (found[1] === "") return found[2] === "0" ? null : last(Number(found[2]), size);
  const first = Number(found[1]);
  const end = found[2] === "" ? size - 1 : Math.min(Number(found[2]), size - 1);
  if (first >= size || end < first) return null;
  return { offset: first, length: end - first + 1 };
}

// The pieces that hold a range, with what of each: `[{blob, offset, length, whole}]`.
export function cut(pieces, { offset, length }) {
  const found = [];
  let start = 0;
  for (const [blob, size] of pieces) {
    const from = Math.max(offset, start);
    const to = Math.min(offset + length, start + size);
    if (from < to) {
      const part = { blob, offset: from - start, length: to - from };
      found.push({ ...part, whole: part.length === size });
    }
    start += size;
  }
  return found;
}
