// Two drawings: the last ten minutes in a row of the table, and with axes in the detail of a source.

import { minute, rate, svg } from "./text.js";

const PERIOD = 600;

/** The highest rate of several sources, so that their sparklines share one scale. */
export function highest(sources) {
  return Math.max(1, ...sources.flatMap((source) => source.points.map(([, value]) => value)));
}

/** Ten minutes of rates on a square-root scale up to `most`: quiet sources stay visible beside a burst. */
export function sparkline(points, most, label) {
  const [width, height] = [120, 26];
  const x = (age) => (width * (1 - Math.min(age, PERIOD) / PERIOD)).toFixed(1);
  const y = (value) => (height - 1 - (height - 3) * Math.sqrt(value / most)).toFixed(1);
  const line = points.map(([age, value]) => `${x(age)},${y(value)}`);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark", role: "img", preserveAspectRatio: "none" },
    svg("title", {}, label));
  if (line.length > 0) {
    const [from, to] = [x(points[0][0]), x(points.at(-1)[0])];
    drawing.append(
      svg("path", { class: "area", d: `M${from},${height} L${line.join(" ")} L${to},${height}Z` }),
      svg("path", { class: "line", d: `M${line.join(" ")}` + (line.length === 1 ? " h1" : "") }),
    );
  }
  return drawing;
}

/** A step that divides the axis up to `most` into two to five round pieces. */
function step(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [0.2, 0.5, 1, 2, 5].map((factor) => factor * power).find((size) => most / size <= 5);
}

/** A source's timeline: rate, the answered part of it, and its mean with three standard deviations. */
export function timeline(detail, alerts, width) {
  const height = 190;
  const edge = { left: 38, right: 8, top: 10, bottom: 22 };
  const moments = detail.timeline;
  const end = moments.at(-1)?.time ?? detail.time;
  const begin = end - PERIOD * 1000;
  const tops = moments.map((at) => Math.max(at.rate, Math.min((at.mean ?? 0) + 3 * (at.deviation ?? 0), 2 * at.rate)));
  const most = Math.max(0.5, ...tops) * 1.05;
  const x = (at) => edge.left + ((width - edge.left - edge.right) * Math.max(0, at - begin)) / (end - begin);
  const y = (value) => height - edge.bottom - ((height - edge.top - edge.bottom) * Math.min(value, most)) / most;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, class: "timeline", role: "img" },
    svg("title", {}, `New connections a second of ${detail.source} in the last ten minutes`));
  drawing.append(...axes({ x, y, begin, end, most, width, height, edge }));
  const known = moments.filter((at) => at.mean !== null && at.deviation !== null);
  const point = (at, value) => `${x(at.time).toFixed(1)},${y(Math.max(0, value)).toFixed(1)}`;
  if (known.length > 1) {
    const upper = known.map((at) => point(at, at.mean + 3 * at.deviation));
    const lower = known.map((at) => point(at, at.mean - 3 * at.deviation)).reverse();
    drawing.append(svg("path", { class: "band", d: `M${upper.concat(lower).join(" ")}Z` }));
    drawing.append(svg("path", { class: "mean", d: `M${known.map((at) => point(at, at.mean)).join(" ")}` }));
  }
  if (moments.length > 0) {
    const along = (value) => `M${moments.map((at) => point(at, value(at))).join(" ")}` + (moments.length === 1 ? " h2" : "");
    drawing.append(svg("path", { class: "answered", d: along((at) => at.answered) }));
    drawing.append(svg("path", { class: "line", d: along((at) => at.rate) }));
  }
  for (const alert of alerts.filter((alert) => alert.time >= begin && alert.time <= end + 15000)) {
    const at = Math.min(x(alert.time), width - edge.right).toFixed(1);
    drawing.append(svg("path", { class: `mark ${alert.state}`, d: `M${at},${edge.top} V${height - edge.bottom}` },
      svg("title", {}, `${alert.kind} alert ${alert.state}: ${alert.summary}`)));
  }
  return drawing;
}

function* axes({ x, y, begin, end, most, width, height, edge }) {
  const size = step(most);
  for (let value = 0; value <= most; value += size) {
    yield svg("path", { class: "grid", d: `M${edge.left},${y(value)} H${width - edge.right}` });
    yield svg("text", { x: edge.left - 5, y: y(value) + 4, "text-anchor": "end" }, value === 0 ? "0/s" : rate(value));
  }
  const two = 120000;
  for (let at = Math.ceil(begin / two) * two; at <= end; at += two) {
    const anchor = x(at) > width - 30 ? "end" : "middle";
    yield svg("text", { x: x(at), y: height - 6, "text-anchor": anchor }, minute(at));
  }
}
