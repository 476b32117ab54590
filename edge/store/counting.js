// What scripts did in this store, told to the agent as a line of output a second. The script's id comes in a
// header that the runtime of the caller adds, beside what opens the binding (door.js); whoever comes without
// one is no script and is not counted.

const HEADER = "x-skerry-script-id";
const OPERATIONS = "skerry-operations ";
const TELL_MS = 1000;
// A request that was to tell may end before it does.
const LATE_MS = 5000;

// [reads, writes] by script id.
let counts = new Map();
let telling = -Infinity;

export function scriptOf(request) {
  return request.headers.get(HEADER) ?? "";
}

// `context` has a `waitUntil`: a request's, or an object's.
export function count(script, context, reads, writes) {
  if (!script) return;
  const before = counts.get(script) ?? [0, 0];
  counts.set(script, [before[0] + reads, before[1] + writes]);
  if (Date.now() - telling < LATE_MS) return;
  telling = Date.now();
  context.waitUntil(tell());
}

async function tell() {
  await scheduler.wait(TELL_MS);
  const told = counts;
  counts = new Map();
  telling = -Infinity;
  console.log(OPERATIONS + JSON.stringify([...told].map(([script, [reads, writes]]) => [script, reads, writes])));
}
