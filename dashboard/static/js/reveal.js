// A button that shows what is typed into the password field named by `data-reveal`.

/** @param {HTMLButtonElement} button */
export default function reveal(button) {
  const field = document.getElementById(button.dataset.reveal);
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.textContent = shown ? "Show" : "Hide";
    button.setAttribute("aria-pressed", String(!shown));
  });
  // Browsers and password keepers look for a password field when the form is sent.
  field.form.addEventListener("submit", () => {
    field.type = "password";
  });
}
