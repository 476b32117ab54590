// The theme switch without a reload: the form is sent in the background, the style sheet switched.
const DARK = "(prefers-color-scheme: dark)";
const MEDIA = { system: DARK, light: "not all", dark: "all" };

/** @param {HTMLFormElement} form */
export default function theme(form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form, event.submitter));
    fetch(form.action, { method: "POST", body, redirect: "manual" });
    document.getElementById("tokens-dark").media = MEDIA[event.submitter.value];
    for (const button of form.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button === event.submitter));
    }
  });
}
