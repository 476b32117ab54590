// A form that takes a moment: its button says so, and a second click sends nothing.

/** @param {HTMLFormElement} form */
export default function busy(form) {
  const button = form.querySelector("button[type=submit]");
  const said = button.textContent;
  form.addEventListener("submit", (event) => {
    if (button.hasAttribute("aria-disabled")) {
      event.preventDefault();
      return;
    }
    button.setAttribute("aria-disabled", "true");
    button.textContent = form.dataset.busy;
  });
  // The back button may bring this very page back.
  window.addEventListener("pageshow", () => {
    button.removeAttribute("aria-disabled");
    button.textContent = said;
  });
}
