// All files of the form: one is shown at a time; complaints of the runtime go to their lines.
import { File } from "./file.js";
import { Leaving } from "./leaving.js";

export class Desk {
  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    this.unsaved = "unsaved" in form.dataset;
    this.tabs = form.querySelector("[data-tabs]");
    this.tabs.hidden = false;
    this.tabs.append(this.adding());
    this.files = [];
    for (const fields of form.querySelectorAll("[data-file]")) this.open(fields);
    this.choose(this.files[0]);
    this.complain(document.getElementById("problems") ?? form);
    document.addEventListener("htmx:afterSwap", (event) => this.swapped(event));
    new Leaving(form, () => {
      this.unsaved = false;
    });
    addEventListener("beforeunload", (event) => this.unsaved && event.preventDefault());
  }

  open(fields) {
    const file = new File(fields, this.form.dataset.nonce, {
      changed: () => {
        this.unsaved = true;
      },
      chosen: () => this.choose(file),
    });
    this.files.push(file);
    this.tabs.lastElementChild.before(file.tab);
    return file;
  }

  adding() {
    const [item, button] = ["li", "button"].map((name) => document.createElement(name));
    button.type = "button";
    button.textContent = "+ Add a file";
    button.addEventListener("click", () => this.add());
    item.append(button);
    return item;
  }

  add() {
    const template = this.form.querySelector("[data-new]");
    const holder = document.createElement("template");
    holder.innerHTML = template.innerHTML.replaceAll("NEXT", this.files.length);
    const fields = holder.content.firstElementChild;
    template.before(fields);
    this.choose(this.open(fields)).nameField.focus();
  }

  choose(chosen) {
    for (const file of this.files) file.show(file === chosen);
    return chosen;
  }

  /** What the server says about the code, marked in it. @param {Element} said */
  complain(said) {
    const found = [...said.querySelectorAll("[data-complaint]")].map((item) => ({
      item,
      file: this.files.find((file) => file.name === item.dataset.file),
      line: Number(item.dataset.line),
      column: Number(item.dataset.column),
      message: item.querySelector("p").textContent,
    }));
    for (const file of this.files) file.mark(found.filter((one) => one.file === file));
    for (const one of found) {
      const jump = one.item.querySelector("[data-jump]");
      jump.hidden = false;
      jump.addEventListener("click", () => this.choose(one.file)?.goTo(one.line));
    }
    if (found.length) this.choose(found[0].file)?.goTo(found[0].line);
  }

  swapped(event) {
    const outcome = document.getElementById("outcome");
    if (event.detail.target.id === "outcome" || event.detail.elt === outcome) this.complain(outcome);
  }
}
