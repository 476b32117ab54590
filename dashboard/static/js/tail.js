// Invocations of a Worker as they happen. Whatever a script printed goes onto the page as text.
const ROWS = 1000;
const SUMMARY_MS = 3000;

/** @param {HTMLElement} element */
export default function tail(element) {
  const part = (name) => element.querySelector(`[data-tail="${name}"]`);
  const [list, pause, summary] = ["list", "pause", "summary"].map(part);
  const counts = { shown: 0, failed: 0, dropped: 0 };
  let paused = false;
  let said = "Connecting …";
  part("command").hidden = true;
  list.hidden = pause.hidden = false;

  const source = new EventSource(element.dataset.stream);
  const say = (text) => (said = text);
  const on = (kind, act) => source.addEventListener(kind, (event) => act(JSON.parse(event.data)));
  on("listening", () => say("Waiting for requests."));
  on("dropped", (count) => (counts.dropped += count));
  on("refused", (message) => source.close() ?? say(message));
  on("ended", () => source.close() ?? say("This view has ended. Load the page again to go on."));
  on("events", (events) => {
    for (const event of events) {
      counts.shown += 1;
      counts.failed += event.outcome !== "ok";
      if (!paused) list.prepend(row(event));
    }
    while (list.children.length > ROWS) list.lastChild.remove();
  });
  source.onerror = () => say("Connecting again …");

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
  });
  const tell = () => (summary.textContent = counts.shown || counts.dropped ? sum(counts) : said);
  tell();
  setInterval(tell, SUMMARY_MS);
}

function sum({ shown, failed, dropped }) {
  const lost = dropped ? `, ${dropped} dropped: more came than can be shown` : "";
  return `${shown} shown, ${failed} of them failed${lost}.`;
}

function row(event) {
  const item = document.createElement("div");
  const head = [new Date(event.at).toLocaleTimeString(), event.outcome, event.status, event.about, event.ray].filter(Boolean);
  item.append(line("tail__head", head.join("  ")));
  for (const one of event.logs) item.append(line(`tail__${one.level}`, one.text));
  for (const text of event.exceptions) item.append(line("tail__error", text));
  return item;
}

function line(name, text) {
  const found = document.createElement("pre");
  found.className = name;
  found.textContent = text;
  return found;
}
