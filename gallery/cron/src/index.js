// `scheduled` is called at the times of the Worker's cron triggers, without any visitor. What is
// remembered here lasts as long as the process does: keep what must stay in a database.

let last = null;

export default {
  async scheduled(controller, env, ctx) {
    last = { cron: controller.cron, at: new Date(controller.scheduledTime).toISOString() };
    console.log(`Called at ${last.at} by ${last.cron}`);
    // Work that may go on after this function has returned.
    ctx.waitUntil(tidyUp());
  },

  fetch() {
    const text = last ? `Ran last at ${last.at} (${last.cron}).` : "Has not run yet.";
    return new Response(`${text}\n`);
  },
};

async function tidyUp() {
  console.log("Everything is tidy.");
}
