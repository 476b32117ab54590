// One file of the form, and its place in the list of files.
import { mark, openCode, rename, setText, showLine } from "./code.js";

const BYTES = /\.(wasm|bin)$/i;

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
    fields.querySelector("[data-take]")?.addEventListener("change", (event) => this.take(event.target));
    this.refresh();
  }

  /** A file of the machine: text goes into the editor, bytes are sent as they are. */
  async take(input) {
    const [chosen] = input.files;
    if (chosen && !this.nameField.value.trim()) this.nameField.value = chosen.name;
    this.refresh();
    rename(this.view, this.name);
    const bytes = Boolean(chosen) && BYTES.test(this.name);
    this.view.dom.hidden = bytes;
    const said = this.fields.querySelector("[data-taken]");
    said.hidden = !bytes;
    if (bytes) {
      said.textContent = `${chosen.name}, ${chosen.size.toLocaleString("en")} bytes`;
    } else if (chosen) {
      setText(this.view, await chosen.text());
      input.value = "";
    }
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
