// A row of links that scrolls sideways on a phone: the current one is brought into view, also when the
// phone is turned.

/** @param {HTMLElement} row */
export default function current(row) {
  const link = row.querySelector("[aria-current]");
  if (!link) return;
  const bring = () => {
    const [box, place] = [row.getBoundingClientRect(), link.getBoundingClientRect()];
    row.scrollLeft += place.left + place.width / 2 - (box.left + box.width / 2);
  };
  new ResizeObserver(bring).observe(row);
}
