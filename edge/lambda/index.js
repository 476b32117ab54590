// What Lambda starts: the handler `index.handler`, for everything that can call a function.
//
// The adapter runs a version as it was uploaded on Lambda's Node.js. The ZIP is made by
// edge/lambda_zip.py; what differs from a cell is in docs/lambda.md.

import { exceptionPage, writeAnswer, writeHttp } from "./answers.js";
import { Context } from "./context.js";
import { isHttp, requestOf } from "./events.js";
import { installGlobals } from "./globals.js";
import { loadScript } from "./loading.js";
import { serveOwn } from "./services.js";
import { isQueue, isScheduled, runQueue, runScheduled } from "./triggers.js";
import { readVersion } from "./version.js";
import { within } from "./workers.js";

const version = readVersion();
installGlobals();
const script = await loadScript(version);
serveOwn(script, version.env);

// What nobody waits for is logged and ends nothing, as in a cell; Node would end the process.
process.on("unhandledRejection", (reason) => console.error("Uncaught (in promise)", reason));
process.on("uncaughtException", (error) => console.error("Uncaught", error));

// So long before its time is up an invocation is answered with the exception page: Lambda would end
// the process, and the visitor would not learn why.
const MARGIN_MS = 500;

// `awslambda` is a global of Lambda's runtime.
export const handler = globalThis.awslambda.streamifyResponse(async (event, stream, lambda) => {
  const context = new Context();
  try {
    if (isHttp(event)) await answerHttp(event, stream, lambda, context);
    else if (event?.skerry === "probe") writeAnswer(stream, { version_id: version.version_id });
    else writeAnswer(stream, await runTrigger(event, lambda, context));
  } finally {
    await context.finished();
  }
});

async function answerHttp(event, stream, lambda, context) {
  const asked = requestOf(event, lambda.awsRequestId);
  let response;
  try {
    response = await inTime(lambda, within(context, () => script.fetch(asked.request, version.env, context)));
    if (!(response instanceof Response)) throw new TypeError("The fetch handler did not return a Response.");
    if (response.bodyUsed) throw new TypeError("The body of the Response has already been used.");
  } catch (error) {
    console.error("Uncaught", error);
    response = exceptionPage(asked.ray);
  }
  await writeHttp(stream, response, asked);
}

async function runTrigger(event, lambda, context) {
  const run = isScheduled(event) ? runScheduled : isQueue(event) ? runQueue : null;
  if (!run) throw new Error("Nothing that Skerry knows calls a function like this.");
  return inTime(lambda, within(context, () => run(event, script, version.env, context)));
}

async function inTime(lambda, answer) {
  const left = lambda.getRemainingTimeInMillis() - MARGIN_MS;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(reject, left, new Error("The script had not answered when its time was up."));
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
