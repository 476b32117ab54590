// Which page is shown is in the address; links change it without asking the server for a new page.

const page = document.querySelector("#page");

addEventListener("popstate", show);
addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || link.origin !== location.origin || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  history.pushState({}, "", link.href);
  show();
});

async function show() {
  const id = location.pathname.match(/^\/rooms\/([a-z]+)$/)?.[1];
  if (id) return showRoom(id);
  if (location.pathname !== "/") return fill(heading("There is no such page"));
  const rooms = await (await fetch("/api/rooms")).json();
  const list = document.createElement("ul");
  list.append(...rooms.map(roomLink));
  fill(heading("Rooms"), list);
}

async function showRoom(id) {
  const answer = await fetch(`/api/rooms/${id}`);
  if (!answer.ok) return fill(heading("There is no such room"));
  const { name, windows } = await answer.json();
  const text = document.createElement("p");
  text.textContent = windows === 1 ? "It has one window." : `It has ${windows} windows.`;
  fill(heading(name), text);
}

function roomLink({ id, name }) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = `/rooms/${id}`;
  link.textContent = name;
  item.append(link);
  return item;
}

function heading(text) {
  const element = document.createElement("h1");
  element.textContent = text;
  return element;
}

function fill(...elements) {
  page.replaceChildren(...elements);
  document.title = `${elements[0].textContent} · House`;
}

show();
