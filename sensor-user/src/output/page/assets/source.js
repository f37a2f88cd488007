// One source in detail, beside the lists: who it is, since when, how sure, whom it talks to.

import { timeline } from "./chart.js";
import { bytes, certainty, count, duration, kind, moment, node, percent, rate, replace, role, service } from "./text.js";

/** Least time between two questions for the same source. */
const REFRESH = 2000;

const panel = document.getElementById("detail");
let shown;
let asked = 0;
let alerts = { active: [], recent: [] };

/** Address of the source that is shown, if any. */
export const current = () => shown;

/** Shows the source that the address bar names after `#`, or none. */
export function follow() {
  const wanted = decodeURIComponent(location.hash.slice(1)) || undefined;
  if (wanted === shown) return;
  shown = wanted;
  panel.hidden = shown === undefined;
  if (shown !== undefined) {
    replace(panel, head(shown), node("p", { class: "faint" }, "asking the sensor"));
    refresh(true);
    panel.scrollIntoView({ block: "nearest" });
  }
}

/** Alerts as the last event told them. */
export function told(active, recent) {
  alerts = { active, recent };
}

/** Asks for the source again, unless that was just done. */
export async function refresh(now = false) {
  if (shown === undefined || (!now && Date.now() - asked < REFRESH)) return;
  asked = Date.now();
  const address = shown;
  try {
    const response = await fetch(`/api/sources/${encodeURIComponent(address)}`);
    if (address !== shown) return;
    if (response.ok) show(await response.json());
    else replace(panel, head(address), node("p", {}, response.status === 404
      ? "It has been idle for ten minutes or more, is not one of the local networks, or has no place of its own."
      : `The sensor answers with status ${response.status}.`));
  } catch {
    // The connection says so itself, and the next event asks again.
  }
}

function head(address, ...more) {
  return node("div", { class: "title" },
    node("h2", {}, address, more),
    node("a", { href: "#", class: "close", "aria-label": "Close", "data-key": "close" }, "×"));
}

function show(detail) {
  const own = alerts.active.filter((alert) => alert.source === detail.source);
  const events = alerts.recent.filter((alert) => alert.source === detail.source);
  const width = Math.max(280, panel.clientWidth - 32);
  replace(panel,
    head(detail.source, ...own.map((alert) => node("span", { class: `badge ${alert.kind}` }, kind(alert.kind).name))),
    sentence(detail, own),
    roles(detail),
    timeline(detail, events, width),
    legend(),
    numbers(detail),
    contacts(detail));
}

function sentence(detail, own) {
  if (own.length === 0) {
    const opened = detail.rate > 0 ? `opens ${rate(detail.rate)} new connections a second` : "opened no new connection in the last interval";
    return node("p", {}, `No alert. It ${opened}; ${usual(detail)}.`);
  }
  return node("p", { class: "lead" }, own.map((alert) => [
    `It ${kind(alert.kind).says} since `, moment(alert.since), ` (${duration(detail.time - alert.since)}), `,
    alert.suppressed ? `suppressed (${alert.suppressed.reason}), ` : "",
    alert.told ? `${certainty(alert.told.score)}: score ${alert.told.score.toFixed(2)}, ${percent(alert.told.coverage, 2)} of the frames seen. ` : "",
  ]));
}

/** What it is taken for, and what that changes in the judgement of it. */
function roles(detail) {
  if (detail.roles.length === 0) return undefined;
  return node("ul", { class: "roles" }, detail.roles.map((one) => node("li", {},
    node("span", { class: "role" }, role(one.role)), " since ", moment(one.since), `: ${one.because}; ${one.effect}.`)));
}

function usual(detail) {
  if (detail.mean === null) return "its usual rate is not known yet";
  const deviation = detail.deviation === null ? "" : ` ± ${rate(detail.deviation)}`;
  return `its mean over the window is ${rate(detail.mean)}${deviation}`;
}

function legend() {
  return node("p", { class: "legend" },
    node("span", { class: "key line" }, "new connections a second"),
    node("span", { class: "key answered" }, "answered"),
    node("span", { class: "key band" }, "mean ± 3 standard deviations"),
    node("span", { class: "key mark" }, "alert"));
}

function numbers(detail) {
  const pairs = [
    ["last interval", `${count(detail.rate * detail.seconds)} new in ${rate(detail.seconds)} s`],
    ["new peers, ports", `${count(detail.peers)}, ${count(detail.ports)}`],
    ["not answered", percent(detail.unanswered)],
    ["torrent score", detail.score.toFixed(2)],
    ["variance / mean", rate(detail.dispersion)],
    ["sent, received", `${bytes(detail.bytes_out)}, ${bytes(detail.bytes_in)}`],
  ];
  return node("dl", { class: "numbers" }, pairs.map(([name, value]) => node("div", {}, node("dt", {}, name), node("dd", {}, value))));
}

function contacts(detail) {
  if (detail.recent === 0) return node("p", { class: "faint" }, "No new connection in the last ten minutes.");
  const { answered, refused, unreachable, silent } = detail.outcomes;
  return [
    node("h3", {}, `Its last ${count(detail.recent)} new connections`),
    node("p", {}, "Since ", moment(detail.recent_since), `, to ${count(detail.distinct_peers)} peers on ${count(detail.distinct_ports)} ports: `,
      `${count(answered)} answered, ${count(refused)} refused, ${count(unreachable)} unreachable, ${count(silent)} without an answer so far.`),
    node("h3", {}, "Top peers"),
    table(["peer", "port", "new", "answered", "last"], detail.top_peers, (peer) => [
      node("td", { class: "address" }, peer.peer),
      node("td", { class: "ports" }, peer.ports.join(" ") + (peer.more_ports > 0 ? ` +${peer.more_ports}` : "")),
      node("td", { class: "number" }, count(peer.connections)),
      node("td", { class: "number" }, outcome(peer)),
      node("td", { class: "number" }, moment(peer.last)),
    ]),
    rest(detail.distinct_peers - detail.top_peers.length, "peers"),
    node("h3", {}, "Top ports"),
    table(["port", "usually", "new", "peers", "answered"], detail.top_ports, (port) => [
      node("td", {}, `${port.port}/${port.protocol}`),
      node("td", {}, service(port.port)),
      node("td", { class: "number" }, count(port.connections)),
      node("td", { class: "number" }, count(port.peers)),
      node("td", { class: "number" }, outcome(port)),
    ]),
    rest(detail.distinct_ports - detail.top_ports.length, "ports"),
  ];
}

function outcome(row) {
  if (row.answered > 0) return `${row.answered} of ${row.connections}`;
  return row.refused > 0 ? "refused" : row.unreachable > 0 ? "unreachable" : "no";
}

function rest(more, what) {
  return more > 0 ? node("p", { class: "faint" }, `and ${count(more)} more ${what}`) : undefined;
}

export function table(titles, rows, cells) {
  const numeric = new Set(["new", "peers", "answered", "last", "contacts"]);
  return node("table", {},
    node("thead", {}, node("tr", {}, titles.map((title) => node("th", { scope: "col", class: numeric.has(title) ? "number" : undefined }, title)))),
    node("tbody", {}, rows.map((row) => node("tr", {}, cells(row)))));
}
