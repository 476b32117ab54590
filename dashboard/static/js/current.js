// A row of links that scrolls sideways on a phone: the current one is brought into view.

/** @param {HTMLElement} row */
export default function current(row) {
  const link = row.querySelector("[aria-current]");
  if (!link) return;
  const [box, place] = [row.getBoundingClientRect(), link.getBoundingClientRect()];
  row.scrollLeft += place.left + place.width / 2 - (box.left + box.width / 2);
}
