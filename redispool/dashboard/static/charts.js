// A line over the last minutes, drawn as SVG; the number beside it says the same in words.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300, HEIGHT = 30, MINUTE = 60;
const GAP = 4;                  // seconds between two samples from which on the line is broken

function shape(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

/** An empty chart of so many seconds, with a line for each minute; `draw` fills it. */
export function chart(span) {
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (let ago = MINUTE; ago < span; ago += MINUTE) {
    const x = WIDTH * (1 - ago / span);
    svg.append(shape("line", { x1: x, x2: x, y1: 0, y2: HEIGHT }));
  }
  svg.append(...["away", "area", "curve"].map((kind) => shape("path", { class: kind })));
  return svg;
}

/** Draw the figures at `index` of a history until `now`; `top` is the least height. */
export function draw(svg, history, index, now, span, top) {
  const highest = history.samples.reduce((most, sample) => Math.max(most, sample.values[index]), top);
  const x = (at) => (WIDTH * (1 - (now - at) / span)).toFixed(1);
  const y = (value) => (HEIGHT - 1 - value / highest * (HEIGHT - 3)).toFixed(1);
  const runs = pieces(history.samples).map((samples) => ({
    line: samples.map((sample) => `${x(sample.at)},${y(sample.values[index])}`).join("L"),
    from: x(samples[0].at),
    to: x(samples.at(-1).at),
  }));
  const [away, area, curve] = svg.querySelectorAll("path");
  curve.setAttribute("d", runs.map((run) => `M${run.line}`).join(""));
  area.setAttribute("d", runs.map((run) => `M${run.from},${HEIGHT}L${run.line}L${run.to},${HEIGHT}Z`).join(""));
  away.setAttribute("d", history.outages.map(({ from, to }) => `M${x(from)},0H${x(to)}V${HEIGHT}H${x(from)}Z`).join(""));
}

/** The samples between which nothing was missed. */
function pieces(samples) {
  const found = [];
  samples.forEach((sample, index) => {
    if (index === 0 || sample.at - samples[index - 1].at > GAP) found.push([]);
    found.at(-1).push(sample);
  });
  return found.filter((piece) => piece.length > 1);
}
