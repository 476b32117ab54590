// Stands before static assets that people seek in: workerd's own server of assets knows no ranges
// (RFC 9110, section 14). NEXT is that server. What a script answers passes untouched.

// The ETag that workerd gives a file; a script's answers have none of this form.
const FILE = /^"[0-9a-f]{16}-[0-9a-f]+-[0-9a-f]+"$/;
const ONE_RANGE = /^bytes=(\d*)-(\d*)$/;

export default {
  async fetch(request, env) {
    const response = await env.NEXT.fetch(request);
    const tag = response.headers.get("etag") ?? "";
    if (response.status !== 200 || !FILE.test(tag)) return response;
    const size = Number(response.headers.get("content-length"));
    const headers = new Headers(response.headers);
    headers.set("accept-ranges", "bytes");
    const range = request.method === "GET" ? wanted(request.headers, tag, size) : null;
    if (range === null) return new Response(response.body, { headers });
    if (range.length <= 0) return unsatisfiable(response, size);
    headers.set("content-range", `bytes ${range.start}-${range.start + range.length - 1}/${size}`);
    return new Response(part(response.body, range), { status: 206, headers });
  },
};

// Null when the whole file is the right answer.
function wanted(headers, tag, size) {
  const found = ONE_RANGE.exec(headers.get("range") ?? "");
  const condition = headers.get("if-range");
  if (!found || found[0] === "bytes=-" || (condition !== null && condition !== tag)) return null;
  const [, first, last] = found;
  if (first === "") return { start: Math.max(size - Number(last), 0), length: Math.min(Number(last), size) };
  if (last !== "" && Number(last) < Number(first)) return null;
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  return { start: Number(first), length: end - Number(first) + 1 };
}

function unsatisfiable(response, size) {
  response.body?.cancel();
  return new Response(null, { status: 416, headers: { "content-range": `bytes */${size}` } });
}

function part(body, { start, length }) {
  const { readable, writable } = new FixedLengthStream(length);
  copy(body.getReader(), writable.getWriter(), start, length).catch(() => {}); // the visitor left
  return readable;
}

async function copy(reader, writer, skipped, length) {
  let [skip, left] = [skipped, length];
  while (left > 0) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The file ended early.");
    const piece = value.subarray(skip, skip + left);
    skip = Math.max(skip - value.length, 0);
    left -= piece.length;
    if (piece.length) await writer.write(piece);
  }
  await Promise.all([writer.close(), reader.cancel()]);
}
