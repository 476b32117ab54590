// One line for each route: method, path, handler. `:id` is handed to the handler.
const routes = [
  ["GET", "/", index],
  ["GET", "/books", listBooks],
  ["POST", "/books", createBook],
  ["GET", "/books/:id", showBook],
].map(([method, pathname, handler]) => ({
  method,
  handler,
  pattern: new URLPattern({ pathname }),
}));

const books = [
  { id: 1, title: "The Sea, the Sea", author: "Iris Murdoch" },
  { id: 2, title: "To the Lighthouse", author: "Virginia Woolf" },
];

export default {
  async fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    const here = routes.filter((route) => route.pattern.test({ pathname }));
    if (here.length === 0) {
      return Response.json({ error: `There is nothing at ${pathname}.` }, { status: 404 });
    }
    const route = here.find((route) => route.method === request.method);
    if (!route) {
      const allow = here.map((route) => route.method).join(", ");
      return Response.json(
        { error: `${pathname} answers ${allow}, not ${request.method}.` },
        { status: 405, headers: { Allow: allow } },
      );
    }
    const params = route.pattern.exec({ pathname }).pathname.groups;
    return route.handler(request, params, env, ctx);
  },
};

function index() {
  const known = routes.map(({ method, pattern }) => `${method} ${pattern.pathname}`);
  return Response.json({ routes: known });
}

function listBooks() {
  return Response.json(books);
}

function showBook(request, { id }) {
  const book = books.find((book) => book.id === Number(id));
  if (!book) return Response.json({ error: `There is no book ${id}.` }, { status: 404 });
  return Response.json(book);
}

async function createBook(request) {
  const sent = await request.json().catch(() => null);
  if (typeof sent?.title !== "string" || typeof sent?.author !== "string") {
    return Response.json({ error: "Send JSON with a title and an author." }, { status: 400 });
  }
  // Nothing is kept: a Worker forgets its variables when it is restarted. Use a database for that.
  const book = { id: books.length + 1, title: sent.title, author: sent.author };
  return Response.json(book, { status: 201, headers: { Location: `/books/${book.id}` } });
}
