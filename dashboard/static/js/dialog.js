// A link that opens the dialog named by `data-dialog` instead of the page that does the same.

/** @param {HTMLAnchorElement} link */
export default function dialog(link) {
  const box = document.getElementById(link.dataset.dialog);
  link.setAttribute("aria-haspopup", "dialog");
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    box.showModal();
  });
  box.querySelector("[data-close]")?.addEventListener("click", (event) => {
    event.preventDefault();
    box.close();
  });
}
