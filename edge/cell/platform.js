// Runs beside the customer's script inside its cell, behind a control socket that only the agent
// can open. USER is the script, VERSION_ID says which version this cell is. Scheduled events arrive
// here too, because `env.USER` is the only way to deliver them.

export default {
  async fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (request.method === "GET" && pathname === "/probe") {
      return Response.json({ version_id: env.VERSION_ID });
    }
    if (request.method === "POST" && pathname === "/scheduled") {
      const { cron, scheduledTime } = await request.json();
      // Answers when the handler and what it gave to waitUntil have ended.
      const { outcome } = await env.USER.scheduled({ cron, scheduledTime: new Date(scheduledTime) });
      return Response.json({ outcome });
    }
    return new Response("not found", { status: 404 });
  },

  // Only while somebody tails the script. The agent reads it from standard output.
  tail(events) {
    for (const event of events) console.log(TAIL + told(event));
  },
};

const TAIL = "skerry-tail ";
// What the agent reads as one line; a script that logs more is shown without its logs.
const LONGEST = 60000;

function told(event) {
  const text = JSON.stringify(event);
  if (text.length <= LONGEST) return text;
  const logs = [{ message: ["[too long to be shown]"], level: "warn", timestamp: event.eventTimestamp }];
  return JSON.stringify({ ...JSON.parse(text), logs, truncated: true });
}
