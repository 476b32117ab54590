// The places that were found: which one is chosen, and going there.

export class Choice {
  /** @param {HTMLDialogElement} box @param {HTMLInputElement} input */
  constructor(box, input) {
    this.box = box;
    this.input = input;
    this.at = 0;
  }

  get options() {
    return [...this.box.querySelectorAll("[role=option]")];
  }

  /** @param {number} next goes around at both ends */
  choose(next) {
    const all = this.options;
    this.at = all.length ? (next + all.length) % all.length : 0;
    for (const [index, option] of all.entries()) {
      option.setAttribute("aria-selected", String(index === this.at));
    }
    const chosen = all[this.at];
    if (chosen) this.input.setAttribute("aria-activedescendant", chosen.id);
    else this.input.removeAttribute("aria-activedescendant");
    chosen?.scrollIntoView({ block: "nearest" });
  }

  /** @param {boolean} elsewhere in a new tab */
  go(elsewhere, option = this.options[this.at]) {
    if (!option) return;
    this.box.close();
    if (elsewhere) open(option.dataset.href, "_blank", "noopener");
    else location.assign(option.dataset.href);
  }
}
