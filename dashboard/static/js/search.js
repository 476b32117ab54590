// Sends what a person typed (or the browser restored) before htmx listened to the field.

/** @param {HTMLInputElement} input */
export default function search(input) {
  document.addEventListener(
    "htmx:load",
    () => {
      if (input.value !== input.defaultValue) window.htmx.trigger(input, "search");
    },
    { once: true },
  );
}
