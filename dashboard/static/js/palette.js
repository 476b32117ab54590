// The command palette: Ctrl-K, ⌘K or its link opens it, arrows choose, Enter goes there.
import { Choice } from "./palette/choice.js";

const held = (event) => event.ctrlKey || event.metaKey;

/** @param {HTMLAnchorElement} link */
export default function palette(link) {
  const box = document.getElementById("palette");
  const input = box.querySelector("input");
  const choice = new Choice(box, input);
  // What is shown may still belong to fewer letters than were typed: Enter waits for the rest.
  let [waiting, going] = [false, null];

  const keys = {
    ArrowDown: () => choice.choose(choice.at + 1),
    ArrowUp: () => choice.choose(choice.at - 1),
    Enter: (event) => {
      if (waiting) going = held(event);
      else choice.go(held(event));
    },
  };

  function asked() {
    [waiting, going] = [true, null];
  }

  function toggle(event) {
    event.preventDefault();
    if (box.open) {
      box.close();
      return;
    }
    asked();
    box.showModal();
    input.select();
    window.htmx.trigger(input, "search");
  }

  link.addEventListener("click", (event) => held(event) || event.shiftKey || toggle(event));
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() === "k" && held(event) && !event.shiftKey && !event.altKey) toggle(event);
  });
  input.addEventListener("input", asked);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key](event);
  });
  box.addEventListener("htmx:afterSwap", () => {
    choice.choose(0);
    waiting = box.querySelector("[data-search]").dataset.search !== input.value.trim();
    if (!waiting && going !== null) choice.go(going);
  });
  box.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) choice.go(held(event), option);
    else if (event.target === box) box.close(); // beside it
  });
}
