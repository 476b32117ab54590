// One file of the form, and its place in the list of files.
import { mark, openCode, rename, showLine } from "./code.js";

export class File {
  /** @param {HTMLFieldSetElement} fields */
  constructor(fields, nonce, { changed, chosen }) {
    this.fields = fields;
    this.nameField = fields.querySelector("input[name^=name-]");
    this.removed = fields.querySelector("input[name^=remove-]");
    const area = fields.querySelector("textarea");
    this.view = area && openCode(area, this.name, nonce, changed);
    this.tab = document.createElement("li");
    this.button = document.createElement("button");
    this.button.type = "button";
    this.button.addEventListener("click", chosen);
    this.tab.append(this.button);
    fields.addEventListener("input", () => {
      this.refresh();
      changed();
    });
    this.nameField.addEventListener("change", () => this.view && rename(this.view, this.name));
    this.refresh();
  }

  get name() {
    return this.nameField.value.trim() || "New file";
  }

  refresh() {
    this.button.textContent = this.name;
    this.button.classList.toggle("desk__gone", Boolean(this.removed?.checked));
  }

  show(shown) {
    this.fields.hidden = !shown;
    this.button.setAttribute("aria-pressed", String(shown));
    // CodeMirror measures nothing while it is hidden.
    if (shown) this.view?.requestMeasure();
  }

  mark(complaints) {
    if (this.view) mark(this.view, complaints);
    this.button.classList.toggle("desk__wrong", complaints.length > 0);
  }

  goTo(line) {
    if (this.view) showLine(this.view, line);
  }
}
