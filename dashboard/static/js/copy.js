// A button that copies the text of the element (or field) named by `data-copy`, and says so.
const SHOWN_MS = 2000;

/** @param {HTMLButtonElement} button */
export default function copy(button) {
  const label = button.querySelector("span");
  const said = label.textContent;
  let timer = 0;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    label.textContent = (await write(source)) ? "Copied" : "Press Ctrl+C";
    announce(label.textContent);
    clearTimeout(timer);
    timer = setTimeout(() => {
      label.textContent = said;
    }, SHOWN_MS);
  });
}

/** Without TLS, outside loopback, there is no clipboard: the text is selected instead. */
async function write(source) {
  try {
    await navigator.clipboard.writeText((source.value ?? source.textContent).trim());
    return true;
  } catch {
    if (source.select) source.select();
    else getSelection().selectAllChildren(source);
    return false;
  }
}

function announce(text) {
  document.getElementById("announcer").textContent = text;
}
