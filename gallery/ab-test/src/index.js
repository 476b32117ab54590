const COOKIE = "variant";
const THIRTY_DAYS_S = 30 * 24 * 60 * 60;

// Instead of writing the pages here you can fetch them: `a: () => fetch("https://…/a")`.
const variants = {
  a: () => page("Variant A", "Sign up today."),
  b: () => page("Variant B", "Try it free for a month."),
};

export default {
  async fetch(request, env, ctx) {
    const kept = keptVariant(request);
    const variant = kept ?? choose(Number(env.PERCENT_B));
    const response = await variants[variant]();

    // Made new, because the headers of a fetched response cannot be changed.
    const answer = new Response(response.body, response);
    answer.headers.set("X-Variant", variant);
    // Caches must not hand one visitor's variant to another.
    answer.headers.set("Cache-Control", "private, no-store");
    if (!kept) {
      answer.headers.append(
        "Set-Cookie",
        `${COOKIE}=${variant}; Max-Age=${THIRTY_DAYS_S}; Path=/; HttpOnly; SameSite=Lax`,
      );
    }
    return answer;
  },
};

function keptVariant(request) {
  const cookies = request.headers.get("Cookie") ?? "";
  const found = cookies.match(new RegExp(`(?:^|;\\s*)${COOKIE}=([^;]*)`))?.[1];
  // Visitors can write anything into a cookie.
  return Object.hasOwn(variants, found) ? found : undefined;
}

function choose(percentB) {
  return Math.random() * 100 < percentB ? "b" : "a";
}

function page(title, text) {
  const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<h1>${title}</h1>
<p>${text}</p>
`;
  return new Response(html, { headers: { "Content-Type": "text/html; charset=utf-8" } });
}
