// Takes data points of the script's Analytics Engine bindings from the runtime and prints each as a
// line, which the agent reads (edge/agent/records/points.py). The binding's props name its dataset.
//
// The runtime's message is JSON: `timestamp` in nanoseconds since 1970, `index1` and `blob1` to
// `blob20` as lists of bytes, `double1` to `double20`. What breaks Cloudflare's limits it has dropped.

const POINT = "skerry-point ";
const MOST = 20;

const decoder = new TextDecoder();
const text = (bytes) => decoder.decode(new Uint8Array(bytes));

export default {
  async fetch(request, env, ctx) {
    const sent = await request.json();
    const blobs = [];
    const doubles = [];
    for (let number = 1; number <= MOST; number++) {
      blobs.push(text(sent[`blob${number}`] ?? []));
      // NaN and the infinities come as text, and no sum could go on after them.
      const value = Number(sent[`double${number}`]);
      doubles.push(Number.isFinite(value) ? value : 0);
    }
    const at = Math.floor(Number(sent.timestamp) / 1000);
    console.log(POINT + JSON.stringify([at, ctx.props.dataset, text(sent.index1), trimmed(blobs, ""), trimmed(doubles, 0)]));
    return new Response(null, { status: 204 });
  },
};

// Without what is empty at the end.
function trimmed(values, nothing) {
  let length = values.length;
  while (length > 0 && values[length - 1] === nothing) length--;
  return values.slice(0, length);
}
