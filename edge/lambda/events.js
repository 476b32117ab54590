// The four forms in which a visitor's request reaches a function, and the Request each stands for:
// a function URL and API Gateway's HTTP API (both "2.0"), API Gateway's REST API, a load balancer.

import { randomBytes } from "node:crypto";

import { fronted } from "./front.js";
import { incoming } from "./requests.js";

// What a visitor may not claim, as at the front of a node.
const DELETED = /^(x-skerry|cf-|true-client-ip$)/;
const REGION = (process.env.AWS_REGION ?? "lambda").toUpperCase();
const WITHOUT_BODY = new Set(["GET", "HEAD"]);

export function isHttp(event) {
  return Boolean(event?.requestContext && (event.requestContext.http || event.httpMethod));
}

// `ray` names the invocation; `streams` says whether the caller takes an answer piece by piece, and
// `form` which caller it is.
export function requestOf(event, requestId) {
  const read = event.requestContext.http ? second(event) : event.requestContext.elb ? balanced(event) : first(event);
  const front = fronted(read.headers);
  const own = (requestId ?? randomBytes(8).toString("hex")).replaceAll("-", "").slice(0, 16);
  const ray = front?.ray ?? `${own}-${REGION}`;
  const headers = new Headers();
  for (const [name, value] of read.headers) if (!DELETED.test(name.toLowerCase())) headers.append(name, value);
  if (front) headers.set("host", front.host);
  const scheme = front?.scheme ?? read.scheme ?? "https";
  tell(headers, front?.client ?? read.client, ray, scheme);
  const body = WITHOUT_BODY.has(read.method) || event.body == null ? null : bodyOf(event);
  const address = `${scheme}://${headers.get("host") ?? "localhost"}${target(read)}`;
  const cf = { colo: REGION, httpProtocol: read.protocol ?? "HTTP/1.1", ...tls(headers) };
  const request = incoming(address, { method: read.method, headers, body }, cf);
  return { request, ray, streams: read.streams, form: read.form };
}

function second(event) {
  const { http, stage, domainName } = event.requestContext;
  const headers = Object.entries(event.headers ?? {});
  if (event.cookies?.length) headers.push(["cookie", event.cookies.join("; ")]);
  const prefix = stage && stage !== "$default" ? `/${stage}` : "";
  const path = event.rawPath.startsWith(`${prefix}/`) ? event.rawPath.slice(prefix.length) : event.rawPath;
  return {
    form: "second",
    streams: /\.lambda-url\./.test(domainName ?? ""),
    method: http.method,
    path,
    query: event.rawQueryString ?? "",
    headers,
    client: http.sourceIp,
    protocol: http.protocol,
  };
}

function first(event) {
  const several = event.multiValueHeaders ?? listed(event.headers);
  const query = event.multiValueQueryStringParameters ?? listed(event.queryStringParameters);
  return {
    form: "first",
    streams: false,
    method: event.httpMethod,
    path: event.path,
    query: pairs(query)
      .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
      .join("&"),
    headers: pairs(several),
    client: event.requestContext.identity?.sourceIp,
    protocol: event.requestContext.protocol,
  };
}

function balanced(event) {
  const several = event.multiValueHeaders ?? listed(event.headers);
  const query = event.multiValueQueryStringParameters ?? listed(event.queryStringParameters);
  const headers = pairs(several);
  const found = (wanted) => headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
  return {
    form: event.multiValueHeaders ? "balanced-several" : "balanced",
    streams: false,
    method: event.httpMethod,
    path: event.path,
    // A load balancer passes the query on as it was sent.
    query: pairs(query)
      .map(([name, value]) => (value === "" ? name : `${name}=${value}`))
      .join("&"),
    headers,
    client: found("x-forwarded-for")?.split(",").at(-1).trim(),
    scheme: found("x-forwarded-proto"),
  };
}

function listed(values) {
  return Object.fromEntries(Object.entries(values ?? {}).map(([name, value]) => [name, [value]]));
}

function pairs(several) {
  return Object.entries(several ?? {}).flatMap(([name, values]) => values.map((value) => [name, value]));
}

// API Gateway hands over a path that it has decoded.
function target({ path, query }) {
  const escaped = path.replaceAll("?", "%3F").replaceAll("#", "%23");
  return escaped + (query ? `?${query}` : "");
}

function tell(headers, client, ray, scheme) {
  if (client) {
    for (const name of ["cf-connecting-ip", "x-forwarded-for", "x-real-ip"]) headers.set(name, client);
  }
  headers.set("cf-ray", ray);
  headers.set("cf-visitor", JSON.stringify({ scheme }));
  headers.set("x-forwarded-proto", scheme);
}

function tls(headers) {
  const version = headers.get("x-amzn-tls-version") ?? "";
  return { tlsVersion: version, tlsCipher: headers.get("x-amzn-tls-cipher-suite") ?? "" };
}

function bodyOf(event) {
  return Buffer.from(event.body, event.isBase64Encoded ? "base64" : "utf8");
}
