// Figures over the whole run, drawn as SVG.

import { at, compact, element, numbers, seconds, time } from "./dom.js";

const CHARTS = [
  ["Rows written per second", "rowsPerSecond", value => numbers.format(Math.round(value))],
  ["Lag", "lagSeconds", seconds],
  ["Keys pending", "pendingKeys", value => compact.format(value)],
  ["Write and commit", "writeSeconds", seconds],
];
const WIDTH = 300;
const HEIGHT = 80;

function shape(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Runs of neighbouring points. An unknown value is a gap, never 0.
function runs(values, top) {
  const found = [];
  let run = [];
  const x = index => (values.length > 1 ? index / (values.length - 1) * WIDTH : WIDTH);
  for (const [index, value] of [...values, null].entries()) {
    if (value !== null) {
      run.push([x(index), HEIGHT - 2 - value / top * (HEIGHT - 6)]);
      continue;
    }
    if (run.length === 1) run.unshift([Math.max(0, run[0][0] - 1), run[0][1]]);
    if (run.length) found.push(run);
    run = [];
  }
  return found;
}

function picture(values, top, label) {
  const made = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label });
  made.append(shape("path", { class: "base", d: `M0 ${HEIGHT - 1}H${WIDTH}` }));
  for (const run of runs(values, top)) {
    const line = run.map(point => point.map(each => each.toFixed(1)).join(" ")).join("L");
    const floor = HEIGHT - 1;
    made.append(shape("path", { class: "area", d: `M${run[0][0].toFixed(1)} ${floor}L${line}V${floor}Z` }),
      shape("path", { class: "line", d: `M${line}` }));
  }
  return made;
}

function chart([title, field, text], samples) {
  const values = samples.map(each => each[field]);
  const there = values.filter(value => value !== null);
  const now = !values.length ? "-" : values.at(-1) === null ? "unknown" : text(values.at(-1));
  const highest = there.length ? `highest ${text(Math.max(...there))}` : "";
  const caption = element("figcaption");
  caption.append(element("span", title), element("strong", now));
  const range = element("div", undefined, "range");
  range.append(...[samples.length ? time(samples[0].time) : "", highest, samples.length ? time(samples.at(-1).time) : ""].map(each => element("span", each)));
  const made = element("figure");
  made.append(caption, picture(values, Math.max(...there, 0) || 1, `${title}: ${highest ? `now ${now}, ${highest}` : "nothing yet"}`), range);
  return made;
}

export const drawCharts = samples => at("charts").replaceChildren(...CHARTS.map(each => chart(each, samples)));
