const PAUSE_MS = 300;
const LINES = [
  "The tide goes out,",
  "the rocks come up,",
  "the birds come back,",
  "the tide comes in.",
];

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    switch (pathname) {
      case "/":
        return new Response(PAGE, { headers: { "Content-Type": "text/html; charset=utf-8" } });
      case "/events":
        return stream("text/event-stream", events());
      case "/text":
        return stream("text/plain; charset=utf-8", lines());
      default:
        return new Response("Try /, /events or /text.\n", { status: 404 });
    }
  },
};

// An event is a few lines of text and an empty line; a browser's EventSource reads them.
async function* events() {
  let id = 0;
  for await (const line of lines()) yield `id: ${++id}\ndata: ${line.trim()}\n\n`;
  // Without a word of goodbye the browser would take the end for an accident and connect again.
  yield "event: end\ndata:\n\n";
}

async function* lines() {
  for (const line of LINES) {
    yield `${line}\n`;
    await scheduler.wait(PAUSE_MS);
  }
}

// Each piece goes out when it is made; when the visitor leaves, the generator is stopped.
function stream(type, pieces) {
  const body = ReadableStream.from(pieces).pipeThrough(new TextEncoderStream());
  return new Response(body, { headers: { "Content-Type": type, "Cache-Control": "no-store" } });
}

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Server-sent events</title>
<h1>Server-sent events</h1>
<ol id="events" aria-live="polite"></ol>
<script>
  const source = new EventSource("/events");
  source.onmessage = ({ data }) => {
    const line = document.createElement("li");
    line.textContent = data;
    document.getElementById("events").append(line);
  };
  source.addEventListener("end", () => source.close());
</script>
`;
