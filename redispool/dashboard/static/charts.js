// A line over the last minutes, drawn as SVG; the number beside it says the same in words.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240, HEIGHT = 30;

/** An empty chart; `draw` fills it. */
export function chart() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const kind of ["area", "curve"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    svg.append(path);
  }
  return svg;
}

/** Draw `values`, the newest last; `slots` is how many fill the width, `top` the least height. */
export function draw(svg, values, slots, top) {
  const highest = Math.max(top, ...values);
  const step = WIDTH / (slots - 1);
  const left = WIDTH - (values.length - 1) * step;
  const points = values.map((value, index) =>
    `${(left + index * step).toFixed(1)},${(HEIGHT - 1 - value / highest * (HEIGHT - 3)).toFixed(1)}`);
  const [area, curve] = svg.querySelectorAll("path");
  curve.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
  area.setAttribute("d", points.length > 1
    ? `M${left.toFixed(1)},${HEIGHT}L${points.join("L")}L${WIDTH},${HEIGHT}Z` : "");
}
