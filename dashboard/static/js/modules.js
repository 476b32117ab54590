// Attaches behaviour: `data-module="copy"` gets copy.js, also in fragments that htmx brings in.
import busy from "./busy.js";
import chart from "./chart.js";
import copy from "./copy.js";
import current from "./current.js";
import dialog from "./dialog.js";
import editor from "./editor.js";
import palette from "./palette.js";
import poll from "./poll.js";
import reveal from "./reveal.js";
import search from "./search.js";
import tail from "./tail.js";
import theme from "./theme.js";

const behaviours = {
  busy, chart, copy, current, dialog, editor, palette, poll, reveal, search, tail, theme,
};
const attached = new WeakSet();

/** @param {ParentNode} root */
function attach(root) {
  const found = [...root.querySelectorAll("[data-module]")];
  if (root instanceof Element && root.matches("[data-module]")) found.push(root);
  for (const element of found) {
    if (attached.has(element)) continue;
    attached.add(element);
    behaviours[element.dataset.module]?.(element);
  }
}

attach(document);
document.addEventListener("htmx:load", (event) => attach(event.detail.elt));
