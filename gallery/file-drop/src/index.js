// Files in an R2 bucket. Everybody sees and downloads them; who knows the password uploads and deletes.

export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/") return page(env, searchParams.get("after") ?? undefined);
    const name = decodeURIComponent(pathname.slice("/files/".length));
    if (!pathname.startsWith("/files/") || name === "") return text("There is no such page.", 404);

    if (request.method === "GET" || request.method === "HEAD") return download(request, env, name);
    if (!allowed(request, env)) {
      const headers = { "WWW-Authenticate": 'Basic realm="files"' };
      return text("Give the password to change files.", 401, headers);
    }
    if (request.method === "PUT") return upload(request, env, name);
    if (request.method === "DELETE") {
      await env.FILES.delete(name);
      return new Response(null, { status: 204 });
    }
    return text("Use GET, PUT or DELETE.", 405, { Allow: "GET, HEAD, PUT, DELETE" });
  },
};

// The body streams into the bucket and is never held, whatever its size.
async function upload(request, env, name) {
  const object = await env.FILES.put(name, request.body ?? "", { httpMetadata: request.headers });
  return Response.json({ name, size: object.size, etag: object.etag }, { status: 201 });
}

// Ranges and `If-None-Match` are answered by the bucket.
async function download(request, env, name) {
  const object = await env.FILES.get(name, { range: request.headers, onlyIf: request.headers });
  if (object === null) return text("There is no such file.", 404);
  const headers = new Headers();
  object.writeHttpMetadata(headers);
  headers.set("ETag", object.httpEtag);
  // Shown by nobody's browser: what somebody uploaded could be a page that acts as this site.
  headers.set("Content-Disposition", "attachment");
  if (!("body" in object)) return new Response(null, { status: 304, headers });
  const { offset, length } = object.range;
  if (length === object.size) return new Response(object.body, { headers });
  headers.set("Content-Range", `bytes ${offset}-${offset + length - 1}/${object.size}`);
  return new Response(object.body, { status: 206, headers });
}

function allowed(request, env) {
  const encoder = new TextEncoder();
  const sent = encoder.encode(request.headers.get("Authorization") ?? "");
  const wanted = encoder.encode(`Basic ${btoa(`files:${env.PASSWORD}`)}`);
  return sent.byteLength === wanted.byteLength && crypto.subtle.timingSafeEqual(sent, wanted);
}

async function page(env, after) {
  const list = await env.FILES.list({ limit: 100, cursor: after });
  const rows = list.objects.map(
    ({ key, size }) => `<li><a href="/files/${encodeURIComponent(key)}">${escape(key)}</a> ${size} bytes</li>`,
  );
  const next = list.truncated ? `<p><a href="/?after=${encodeURIComponent(list.cursor)}">More</a></p>` : "";
  const body = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Files</title>
<h1>Files</h1>
${rows.length > 0 ? `<ul>${rows.join("")}</ul>` : "<p>Nothing has been uploaded yet.</p>"}
${next}
<form>
  <p><label>File <input type="file" name="file" required></label></p>
  <p><label>Password <input type="password" name="password" required></label></p>
  <button>Upload</button> <output></output>
</form>
<script type="module">
  document.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { file, password } = event.target.elements;
    const [chosen] = file.files;
    const answer = await fetch("/files/" + encodeURIComponent(chosen.name), {
      method: "PUT",
      body: chosen,
      headers: { Authorization: "Basic " + btoa("files:" + password.value) },
    });
    if (answer.ok) location.reload();
    else document.querySelector("output").textContent = await answer.text();
  });
</script>
</html>`;
  return new Response(body, { headers: { "Content-Type": "text/html; charset=utf-8" } });
}

function escape(name) {
  return name.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function text(words, status, headers = {}) {
  return new Response(`${words}\n`, { status, headers });
}
