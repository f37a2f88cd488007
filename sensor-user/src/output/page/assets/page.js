// The page: listens to the sensor's events and shows them. Details of a source are in source.js.

import { highest, sparkline } from "./chart.js";
import { current, follow, refresh, table, told } from "./source.js";
import { certainty, count, duration, kind, moment, node, percent, rate, replace, role, time } from "./text.js";

/** Silence from the sensor after which the page says that it shows the past. */
const STALE = 5000;
/** Time between attempts where the browser makes none itself. */
const RETRY = 3000;
/** Alerts that are over, or began earlier, shown below those that hold. */
const EARLIER = 12;

const place = Object.fromEntries(
  ["version", "connection", "verdict", "troubles", "interfaces", "active", "earlier", "allowed", "sources", "filter"]
    .map((name) => [name, document.getElementById(name)]));

let heard = 0;
let sensor;
let findings;

function listen() {
  const events = new EventSource("/events");
  events.addEventListener("sensor", (event) => {
    heard = Date.now();
    sensor = JSON.parse(event.data);
    showSensor();
    refresh();
  });
  events.addEventListener("findings", (event) => {
    findings = JSON.parse(event.data);
    told(findings.active, findings.recent);
    showFindings();
    refresh(true);
  });
  events.addEventListener("error", () => {
    showConnection();
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RETRY);
  });
}

function showConnection() {
  const silence = Date.now() - heard;
  const live = heard > 0 && silence < STALE;
  place.connection.className = live ? "live" : "stale";
  place.connection.replaceChildren(live
    ? `live, ${time(sensor.time)}`
    : heard === 0 ? "no answer from the sensor yet" : `no news for ${duration(silence)}: what is shown is the past`);
  document.body.classList.toggle("past", !live && heard > 0);
}

function showSensor() {
  place.version.replaceChildren(`${sensor.version} (${sensor.revision})`);
  showConnection();
  replace(place.troubles, sensor.troubles.map((trouble) => node("li", {}, trouble)));
  replace(place.interfaces, sensor.interfaces.map(interfaceCard));
}

function interfaceCard(port) {
  const closed = port.unaccounted === 0;
  const budget = closed
    ? `every frame accounted for: ${count(port.seen)} seen = ${count(port.counted)} counted + ${count(port.ignored)} ignored + ${count(port.lost)} lost`
    : `${count(port.unaccounted)} frames unaccounted for`;
  const reasons = Object.entries(port.reasons).map(([reason, frames]) => `${reason.replaceAll("_", " ")} ${count(frames)}`);
  const fact = (name, value, bad) => node("div", { class: bad ? "bad" : undefined }, node("dt", {}, name), node("dd", {}, value));
  return node("article", {},
    node("h2", {}, port.name),
    node("dl", {},
      fact("XDP mode", port.mode ?? "not attached", port.mode === null),
      fact("link", port.link_up ? "up" : "down", !port.link_up),
      fact("frames", `${rate(port.frames_per_second)}/s`),
      fact("coverage", percent(port.coverage, 2), port.coverage !== null && port.coverage < 0.99),
      fact("flow table", percent(port.table_entries / Math.max(1, port.table_capacity), 1))),
    node("p", { class: closed ? "budget" : "budget bad" }, node("span", { class: "tick" }, closed ? "✓ " : "✗ "), budget,
      reasons.length > 0 ? ` (${reasons.join(", ")})` : ""));
}

function showFindings() {
  showVerdict();
  showAlerts();
  showAllowed();
  showSources();
}

function showVerdict() {
  const { active_count: all, suppressed_count: suppressed, sources } = findings;
  const [active, holding] = [findings.active.filter((alert) => !alert.suppressed), all - suppressed];
  place.verdict.className = holding > 0 ? "verdict alarm" : "verdict calm";
  document.title = holding > 0 ? `(${holding}) flow-sensor` : "flow-sensor";
  if (findings.time === null && holding === 0) return place.verdict.replaceChildren("The first interval is under way.");
  if (holding === 0) {
    const sum = sources.reduce((total, source) => total + source.rate, 0);
    const known = suppressed > 0 ? `Nothing new: ${count(suppressed)} suppressed ${suppressed === 1 ? "alert holds" : "alerts hold"}.` : "Nothing unusual.";
    return place.verdict.replaceChildren(`${known} ${count(sources.length + findings.unlisted)} sources, ${rate(sum)} new connections a second.`);
  }
  if (holding > 1) {
    const machines = new Set(active.map((alert) => alert.source)).size;
    return place.verdict.replaceChildren(machines === 1 ? "1 machine needs a look." : `${count(machines)} machines need a look, the latest since `,
      machines === 1 ? "" : moment(active[0].since), machines === 1 ? "" : ".");
  }
  const [alert] = active;
  place.verdict.replaceChildren(node("strong", {}, alert.source), ` ${kind(alert.kind).says} since `, moment(alert.since),
    alert.told ? `: ${certainty(alert.told.score)}.` : ".");
}

function showAlerts() {
  const { active, recent, active_count: holding } = findings;
  replace(place.active,
    active.length === 0 ? node("p", { class: "faint" }, "No alert holds.") : active.map(alertCard),
    holding > active.length ? node("p", { class: "faint" }, `and ${count(holding - active.length)} more`) : undefined);
  const holds = (event) => active.some((alert) => alert.told && alert.told.time === event.time && alert.source === event.source);
  const earlier = recent.filter((event) => !holds(event)).slice(0, EARLIER);
  replace(place.earlier, earlier.length === 0 ? undefined : node("details", { "data-key": "earlier" },
    node("summary", {}, `Earlier (${count(earlier.length)})`),
    node("ul", { class: "log" }, earlier.map((event) => node("li", {},
      moment(event.time), " ", node("span", { class: "badge over" }, `${kind(event.kind).name} ${event.state === "firing" ? "began" : "over"}`),
      " ", event.summary)))));
}

function alertCard(alert) {
  const { told: began } = alert;
  const key = `${alert.kind} ${alert.source}`;
  const { suppressed } = alert;
  return node("article", { class: `alert ${suppressed ? "suppressed" : alert.kind}` },
    node("h3", {},
      node("span", { class: `badge ${suppressed ? "over" : alert.kind}` }, kind(alert.kind).name), " ",
      link(alert.source, `card ${key}`),
      suppressed ? [" ", node("span", { class: "badge over" }, "suppressed")] : undefined),
    suppressed ? node("p", { class: "faint" }, `Nobody is told until ${time(suppressed.until)}: ${suppressed.reason}`) : undefined,
    node("p", { class: "facts" }, "since ", moment(alert.since), ` (${duration(sensor.time - alert.since)})`,
      began ? ` · ${certainty(began.score)}, score ${began.score.toFixed(2)} · ${percent(began.coverage, 2)} of the frames seen` : ""),
    began ? node("p", {}, began.summary) : node("p", { class: "faint" }, "Its evidence is in the alert log: too many alerts came since."),
    suppressed ? undefined : node("p", { class: "next" }, node("b", {}, "Next: "), next(alert)),
    began ? node("details", { "data-key": `why ${key}` }, node("summary", {}, "Why: the evidence when it began"), evidence(began.evidence)) : undefined);
}

/** What the detectors are not told: an entry that is too wide blinds them without a word. */
function showAllowed() {
  const { allowed } = findings;
  replace(place.allowed, allowed.length === 0 ? undefined : node("details", { "data-key": "allowed" },
    node("summary", {}, `Allowed: kept from the detectors (${count(allowed.length)})`),
    table(["reason", "entry", "contacts"], allowed, (entry) => [
      node("td", {}, entry.reason), node("td", {}, entryOf(entry)), node("td", { class: "number" }, count(entry.contacts)),
    ])));
}

/** An entry of `allow` in words. */
function entryOf({ source, destination, ports, kind: of }) {
  const to = destination || ports.length > 0 ? ` to ${destination ?? "any"}` : "";
  const on = ports.length > 0 ? `, ${ports.length === 1 ? "port" : "ports"} ${ports.join(", ")}` : "";
  return `${source ?? "any"}${to}${on}${of ? `, ${of} only` : ""}`;
}

const code = (text) => node("code", {}, text);

/** What to look at next. */
function next(alert) {
  const socket = alert.told?.evidence.shared_socket?.port;
  const port = alert.told?.evidence.port;
  switch (alert.kind) {
    case "torrent":
      return [`open ${alert.source} for its peers and ports, then name the program on that machine: `,
        code(socket ? `ss -lunp 'sport = :${socket}'` : "ss -tunp"), " (Windows: ", code("netstat -abn"), ")."];
    case "scan":
      return `ask whether ${alert.source} is a scanner or monitor of yours. If not, take it off the network: worms look like this. ` +
        `Then check who answered${port ? ` on port ${port}` : ""}: open it for the list.`;
    default:
      return `open ${alert.source}: one port points to a service or a loop of retries, many ports and peers to a program that searches.`;
  }
}

const WORDS = { not: "ruled out", met: "holds" };
const word = (key) => WORDS[key] ?? key.replaceAll("_", " ");

/** Columns that read best in this order, before others. */
const ORDER = ["not", "value", "limit", "met", "peer", "port", "protocol", "time"];

function columns(row) {
  const position = (key) => (ORDER.indexOf(key) + ORDER.length + 1) % (ORDER.length + 1);
  return Object.keys(row).sort((a, b) => position(a) - position(b));
}

/** An evidence object: single values, then a table for each list. Which there are is the detector's business. */
function evidence(object) {
  const entries = Object.entries(object).filter(([, value]) => value !== null);
  const lists = entries.filter(([, value]) => Array.isArray(value) && value.length > 0);
  const others = entries.filter(([, value]) => !Array.isArray(value));
  return node("div", { class: "evidence" },
    node("dl", {}, others.map(([key, value]) => node("div", {}, node("dt", {}, word(key)), node("dd", {}, valueOf(value))))),
    lists.map(([key, rows]) => [
      node("h4", {}, word(key)),
      typeof rows[0] === "object"
        ? table(columns(rows[0]).map(word), rows, (row) => columns(rows[0]).map((key) => node("td", {}, valueOf(row[key]))))
        : node("p", {}, rows.map(valueOf).join(", ")),
    ]));
}

function valueOf(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return time(Date.parse(value));
  if (Array.isArray(value)) return value.map(valueOf).join(", ");
  if (value !== null && typeof value === "object") {
    return Object.entries(value).filter(([, part]) => part !== null).map(([key, part]) => `${word(key)} ${valueOf(part)}`).join(", ");
  }
  return String(value ?? "–");
}

function link(address, key) {
  const attributes = { href: `#${encodeURIComponent(address)}`, class: "address", "data-key": key };
  if (address === current()) attributes["aria-current"] = "true";
  return node("a", attributes, address);
}

function showSources() {
  const wanted = place.filter.value.trim();
  const sources = findings.sources.filter((source) => source.source.includes(wanted));
  const most = highest(findings.sources);
  const column = (title, says, wide) => node("th", { scope: "col", class: `number${wide ? " wide" : ""}`, title: says }, title);
  const empty = findings.places === 0 ? "max_sources is 0: no source is followed."
    : findings.time === null ? "The first interval is under way." : wanted ? "No source matches." : "No source has traffic.";
  replace(place.sources, sources.length === 0 ? node("p", { class: "faint" }, empty) : node("table", { class: "sources" },
    node("thead", {}, node("tr", {},
      node("th", { scope: "col" }, "source"),
      node("th", { scope: "col", title: "Square-root scale, the same for all sources" }, "last 10 min"),
      column("total", "New connections in the last ten minutes"),
      column("now /s", "New connections a second in the last interval"),
      column("mean /s", "Mean and standard deviation over the window", true),
      column("peers", "New external peers in the last interval", true),
      column("ports", "Distinct ports among the new connections", true),
      column("unansw.", "Share of the new connections without an answer"),
      column("score", "Torrent score; from 0.5 on it is named", true))),
    node("tbody", {}, sources.map((source) => sourceRow(source, most)))), footnote());
}

function sourceRow(source, most) {
  const number = (value, wide) => node("td", { class: `number${wide ? " wide" : ""}` }, value);
  const mean = rate(source.mean) + (source.deviation === null ? "" : ` ± ${rate(source.deviation)}`);
  const peak = Math.max(0, ...source.points.map(([, value]) => value));
  const row = node("tr", { class: source.alerts.length > 0 ? "alarm" : undefined },
    node("td", {}, link(source.source, `row ${source.source}`), " ",
      source.alerts.map((name) => node("span", { class: `badge ${name}` }, kind(name).name)),
      source.role_names.map((name) => node("span", { class: "role" }, role(name)))),
    node("td", { class: "drawing" }, sparkline(source.points, most, `at most ${rate(peak)} new connections a second`)),
    number(count(source.total)), number(rate(source.rate)), number(mean, true), number(count(source.peers), true),
    number(count(source.ports), true), number(percent(source.unanswered)), number(source.score.toFixed(2), true));
  row.addEventListener("click", () => { location.hash = encodeURIComponent(source.source); });
  return row;
}

function footnote() {
  const { unlisted, without_place: others, without_place_new: opened } = findings;
  if (unlisted + others === 0) return undefined;
  const parts = [unlisted > 0 ? `${count(unlisted)} quieter sources are not listed` : "",
    others > 0 ? `${count(others)} have no place of their own and opened ${count(opened)} new connections together` : ""];
  return node("p", { class: "faint" }, `${parts.filter(Boolean).join("; ")}.`);
}

place.filter.addEventListener("input", () => findings && showSources());
addEventListener("hashchange", () => { follow(); if (findings) { showAlerts(); showSources(); } });
addEventListener("resize", () => refresh(true));
setInterval(showConnection, 1000);
follow();
listen();
