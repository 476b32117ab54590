// Draws the table beside it: the first column is the time, every other one a line.
const HEIGHT = 220;
const COLOURS = ["--color-accent", "--color-danger", "--color-moving"];

/** @param {HTMLElement} element */
export default async function chart(element) {
  const { default: UPlot } = await import("../vendor/uplot-1.6.32.min.js");
  const [canvas, table] = ["canvas", "table"].map((name) =>
    element.querySelector(`[data-chart="${name}"]`),
  );
  const names = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent);
  const rows = [...table.querySelectorAll("tbody tr")].reverse();
  const data = names.map((_, column) => rows.map((row) => value(row.children[column])));
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
  const axis = { stroke: token("--color-quiet"), grid: { stroke: token("--color-line") } };
  const lines = names.slice(1).map((label, index) => ({
    label,
    stroke: token(COLOURS[index]),
    width: 2,
    dash: index ? [4 * index, 4] : undefined,
    value: (_, number) => (number === null ? "–" : `${number} ${element.dataset.unit}`),
  }));
  canvas.hidden = false;
  const plot = new UPlot(
    {
      width: canvas.clientWidth,
      height: HEIGHT,
      series: [{ label: names[0] }, ...lines],
      axes: [axis, { ...axis, size: 60 }],
      scales: { y: { range: (_, least, most) => [0, Math.max(most ?? 0, 1) * 1.05] } },
    },
    data,
    canvas,
  );
  new ResizeObserver(() => plot.setSize({ width: canvas.clientWidth, height: HEIGHT })).observe(
    canvas,
  );
}

/** What is missing is a gap. */
function value(cell) {
  const text = cell.dataset.value;
  return text === "" ? null : Math.round(Number(text) * 10) / 10;
}
