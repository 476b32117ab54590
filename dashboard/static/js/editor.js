// The code editor: its parts are loaded on its own page only.

/** @param {HTMLFormElement} form */
export default async function editor(form) {
  const { Desk } = await import("./editor/desk.js");
  new Desk(form);
}
