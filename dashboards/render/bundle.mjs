// Bundles the panels for the browser into bundle/.

import * as esbuild from "esbuild";

// Its ES module lost the default export that @grafana/ui imports.
const scrollbars = {
  name: "scrollbars",
  setup(build) {
    build.onResolve({ filter: /^react-custom-scrollbars-2$/ }, () => ({ path: "scrollbars", namespace: "shim" }));
    build.onLoad({ filter: /.*/, namespace: "shim" }, () => ({
      contents: `const { Scrollbars } = require("react-custom-scrollbars-2/lib/index.js");
        module.exports = Object.assign(Scrollbars, { __esModule: true, Scrollbars, default: Scrollbars });`,
      resolveDir: process.cwd(),
    }));
  },
};

await esbuild.build({
  entryPoints: ["panels.jsx"],
  outfile: "bundle/panels.js",
  bundle: true,
  minify: true,
  format: "esm",
  jsx: "automatic",
  plugins: [scrollbars],
  conditions: ["import", "module", "browser"],
  define: { "process.env.NODE_ENV": '"production"', global: "globalThis" },
  loader: { ".svg": "dataurl", ".png": "dataurl", ".woff": "dataurl", ".woff2": "dataurl", ".ttf": "dataurl" },
  logLevel: "error",
});
