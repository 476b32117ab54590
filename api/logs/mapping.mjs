// Where the frames of stacks come from in the sources: {maps, stacks} in, the stacks out.
// Node's own reader of source maps does it. A process of its own, which may be ended: what it reads
// was written by whoever uploaded the script.

import { SourceMap } from "node:module";
import { text } from "node:stream/consumers";

const FRAME = /^(?<indent>\s*at )(?:(?<called>.+?) \()?(?:file:\/\/\/)?(?<module>[^()\s]+?):(?<line>\d+):(?<column>\d+)\)?$/;

const { maps, stacks } = JSON.parse(await text(process.stdin));
const read = new Map();

function mapOf(module) {
  if (!read.has(module)) {
    let found = null;
    try {
      const given = maps[`${module}.map`];
      if (given !== undefined) found = new SourceMap(JSON.parse(given));
    } catch {
      // A map that is none: its frames stay as they are.
    }
    read.set(module, found);
  }
  return read.get(module);
}

function mapped(frame) {
  const parts = FRAME.exec(frame)?.groups;
  const map = parts && mapOf(parts.module);
  const entry = map?.findEntry(Number(parts.line) - 1, Number(parts.column) - 1);
  if (!entry?.originalSource) return frame;
  const place = `${entry.originalSource}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  return parts.called ? `${parts.indent}${parts.called} (${place})` : `${parts.indent}${place}`;
}

process.stdout.write(JSON.stringify(stacks.map((stack) => stack.split("\n").map(mapped).join("\n"))));
