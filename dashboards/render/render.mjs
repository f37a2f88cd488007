// Renders a dashboard against a running Prometheus: node render.mjs PROMETHEUS DASHBOARD PNG [SECONDS] [NAME=VALUE]...
//
// SECONDS is the length of the shown range (default 900); NAME=VALUE sets a variable of the dashboard.

import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import puppeteer from "puppeteer-core";

const [prometheus, dashboard, png, seconds = "900", ...variables] = process.argv.slice(2);
const WIDTH = 1440;
const TYPES = { ".js": "text/javascript", ".css": "text/css", ".json": "application/json" };
const PAGE = `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="/bundle/panels.css">
<body style="background:#111217;margin:8px"><div id="root"></div><script type="module" src="/bundle/panels.js"></script>`;

const server = http.createServer((request, response) => {
  const file = request.url === "/dashboard.json" ? dashboard : path.join(".", path.normalize(request.url.split("?")[0]));
  if (request.url.startsWith("/api/")) {
    http.get(prometheus + request.url, (answer) => {
      response.writeHead(answer.statusCode, { "content-type": "application/json" });
      answer.pipe(response);
    }).on("error", () => response.writeHead(502).end());
  } else if (request.url.startsWith("/?")) {
    response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
  } else if (fs.existsSync(file)) {
    response.writeHead(200, { "content-type": TYPES[path.extname(file)] ?? "text/plain" }).end(fs.readFileSync(file));
  } else {
    response.writeHead(404).end();
  }
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

const profile = fs.mkdtempSync(path.join(os.tmpdir(), "render-"));
const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  userDataDir: profile,
  args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let failed = true;
try {
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.error(String(error.stack)));
  await page.setViewport({ width: WIDTH, height: 900 });
  const query = new URLSearchParams([["seconds", seconds], ...variables.map((pair) => pair.split("=", 2))]);
  await page.goto(`http://127.0.0.1:${server.address().port}/?${query}`);
  await page.waitForFunction("window.rendered", { timeout: 60_000 });
  const problems = await page.evaluate("window.problems");
  problems.forEach((problem) => console.error(problem));
  failed = problems.length > 0;
  await page.screenshot({ path: png, fullPage: true });
} finally {
  await browser.close();
  server.close();
  fs.rmSync(profile, { recursive: true, force: true });
}
process.exitCode = failed ? 1 : 0;
