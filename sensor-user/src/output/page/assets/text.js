// Values as text, and text as nodes. Everything that came from the network passes through `node`, which
// makes text nodes of strings: nothing here ever parses markup.

/** An element with attributes and children; strings become text. */
export function node(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
  return element;
}

/** Replaces what `container` holds, keeping what the reader has unfolded and where the keyboard is. */
export function replace(container, ...children) {
  const open = new Set([...container.querySelectorAll("details[open]")].map((details) => details.dataset.key));
  const focus = container.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  container.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null));
  for (const details of container.querySelectorAll("details")) {
    if (open.has(details.dataset.key)) details.open = true;
  }
  if (focus !== undefined) {
    [...container.querySelectorAll("[data-key]")].find((element) => element.dataset.key === focus)?.focus();
  }
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** Milliseconds since the epoch as local time, with the day unless it is today. */
export function time(at) {
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  return today ? clock.format(date) : `${day.format(date)}, ${clock.format(date)}`;
}

export const minute = (at) => short.format(new Date(at));

/** A time with its full form for those who need it. */
export function moment(at) {
  return node("time", { datetime: new Date(at).toISOString(), title: new Date(at).toISOString() }, time(at));
}

/** A length of time in its two largest units. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export const count = (value) => Math.round(value).toLocaleString("en-US");

/** A rate with as many digits as say something; a dash for what is not known. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  return value < 0.1 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : count(value);
}

/** A ratio in percent; never 100 % unless it is. */
export function percent(ratio, digits = 0) {
  if (ratio === null || ratio === undefined) return "–";
  const scale = 10 ** digits;
  const value = ratio < 1 ? Math.floor(ratio * 100 * scale) / scale : 100;
  return `${value.toFixed(ratio < 1 ? digits : 0)} %`;
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** How sure the sensor is, in words. One half is what it takes to be named. */
export function certainty(score) {
  return score >= 0.9 ? "very sure" : score >= 0.7 ? "sure" : "likely";
}

/** What an alert's kind says of its source. */
export const KINDS = {
  torrent: { name: "torrent client", says: "behaves like a torrent client" },
  scan: { name: "scan", says: "is scanning" },
  fanout: { name: "burst", says: "opens unexplained bursts of connections" },
  count: { name: "count", says: "talks to more places at once than the configured rule allows" },
  variance: { name: "variance", says: "has a variance of frames per place outside the configured rule" },
};

export const kind = (name) => KINDS[name] ?? { name, says: `has an alert of kind ${name}` };

/** What a machine is taken for, in words. */
export const role = (name) => name.replaceAll("_", " ");

const SERVICES = {
  21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "dns", 80: "http", 110: "pop3", 123: "ntp", 135: "msrpc",
  139: "netbios", 143: "imap", 161: "snmp", 389: "ldap", 443: "https", 445: "smb", 587: "submission", 636: "ldaps",
  853: "dns/tls", 993: "imaps", 1433: "mssql", 3306: "mysql", 3389: "rdp", 3478: "stun", 5060: "sip", 5222: "xmpp",
  5432: "postgres", 5900: "vnc", 6379: "redis", 6881: "bittorrent", 8080: "http-alt", 8443: "https-alt", 51413: "transmission",
};

/** What a port is usually for. */
export const service = (port) => SERVICES[port] ?? "";
