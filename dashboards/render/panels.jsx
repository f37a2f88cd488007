// A dashboard's panels, drawn by Grafana's own components from what Prometheus answers. Grafana's core, which
// fills in variables and applies field options, is not on npm: the parts of it that these dashboards need are here.

import { Component } from "react";
import { createRoot } from "react-dom/client";
import {
  FieldType, ThemeContext, applyFieldOverrides, createTheme, dateTime, getFieldDisplayValues, standardTransformers,
  standardTransformersRegistry, toDataFrame, transformDataFrame,
} from "@grafana/data";
import { BigValue, GlobalStyles, PanelChrome, PortalContainer, Table, TimeSeries } from "@grafana/ui";
import { lastValueFrom } from "rxjs";

const WIDTH = 1424;
const CELL = { width: WIDTH / 24, height: 38 };
const theme = createTheme({ colors: { mode: "dark" } });
const parameters = new URLSearchParams(location.search);
const seconds = Number(parameters.get("seconds"));
const now = Math.floor(Date.now() / 1000);
const range = { from: dateTime((now - seconds) * 1000), to: dateTime(now * 1000), raw: { from: `now-${seconds}s`, to: "now" } };
const step = Math.max(1, Math.ceil(seconds / 400));
const problems = [];

// Some are there under two names.
standardTransformersRegistry.setInit(() => [...new Set(Object.values(standardTransformers))].map((transformation) => ({
  id: transformation.id, name: transformation.name, transformation: async () => transformation, aliasIds: [], editor: () => null, imageDark: "", imageLight: "",
})));

/** Fills in variables; those without a value stand for all, as Grafana's allValue does. */
function fill(text) {
  // As Grafana has it where the data source says that it scrapes every 15 s.
  const builtin = { __rate_interval: `${Math.max(60, 4 * step)}s`, __interval: `${step}s`, __range: `${seconds}s` };
  return text.replace(/\$\{?(\w+)\}?/g, (whole, name) => builtin[name] ?? parameters.get(name) ?? ".+");
}

function legend(format, labels) {
  if (format && format !== "__auto") return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? "");
  return Object.keys(labels).length > 0 ? JSON.stringify(labels) : "value";
}

async function query(target, _, targets) {
  const expression = encodeURIComponent(fill(target.expr));
  const path = target.instant ? `query?time=${now}` : `query_range?start=${now - seconds}&end=${now}&step=${step}`;
  const answer = await (await fetch(`/api/v1/${path}&query=${expression}`)).json();
  if (answer.status !== "success") throw new Error(`${target.expr}: ${answer.error}`);
  return target.format === "table" ? [rows(targets.length > 1 ? `Value #${target.refId}` : "Value", answer.data.result)] : answer.data.result.map((one) => line(target, one));
}

function rows(value, result) {
  const names = [...new Set(result.flatMap((one) => Object.keys(one.metric)))];
  return toDataFrame({ fields: [
    { name: "Time", type: FieldType.time, values: result.map((one) => one.value[0] * 1000) },
    ...names.map((name) => ({ name, type: FieldType.string, values: result.map((one) => one.metric[name] ?? "") })),
    { name: value, type: FieldType.number, values: result.map((one) => Number(one.value[1])) },
  ] });
}

/** One series, with a null where samples are missing so that the line breaks there. */
function line(target, one) {
  const samples = new Map((one.values ?? [one.value]).map(([at, value]) => [at, Number(value)]));
  const times = one.values ? Array.from({ length: Math.floor(seconds / step) + 1 }, (_, n) => now - seconds + n * step) : [...samples.keys()];
  const name = legend(target.legendFormat, one.metric);
  return toDataFrame({ refId: target.refId, name, fields: [
    { name: "Time", type: FieldType.time, values: times.map((at) => at * 1000) },
    { name: "Value", type: FieldType.number, labels: one.metric, config: { displayNameFromDS: name }, values: times.map((at) => samples.get(at) ?? null) },
  ] });
}

async function load(panel) {
  let frames = (await Promise.all(panel.targets.map(query))).flat();
  const named = (frame, field) => field.config.displayNameFromDS ?? frame.name ?? field.name;
  if (panel.transformations) frames = await lastValueFrom(transformDataFrame(panel.transformations, frames));
  for (const frame of frames) for (const field of frame.fields) configure(panel, field, named(frame, field));
  const replaceVariables = (text) => text;
  frames = applyFieldOverrides({ data: frames, fieldConfig: { defaults: {}, overrides: [] }, theme, replaceVariables, timeZone: "browser" });
  frames.forEach((frame, index) => frame.fields.forEach((field) => { field.state = { ...field.state, seriesIndex: index }; }));
  return frames;
}

/** The panel's defaults, then those overrides that match; `a.b` names a nested option. */
function configure(panel, field, name) {
  if (field.type === FieldType.time && panel.type === "timeseries") return;
  const { defaults, overrides } = panel.fieldConfig;
  const plain = field.type === FieldType.number ? structuredClone(defaults) : { custom: structuredClone(defaults.custom) };
  field.config = { ...plain, ...field.config, custom: { ...plain.custom, ...field.config.custom } };
  const ends = (field.config.thresholds?.steps ?? []).map((limit, index) => ({ ...limit, value: index === 0 ? -Infinity : limit.value }));
  field.config.thresholds = { mode: "absolute", steps: ends.length > 0 ? ends : [{ color: "green", value: -Infinity }] };
  for (const { matcher, properties } of overrides) {
    const known = field.config.displayName ?? name;
    const matches = matcher.id === "byName" ? [known, field.name].includes(matcher.options) : new RegExp(matcher.options).test(known);
    if (!matches) continue;
    for (const { id, value } of properties) {
      const keys = id.split(".");
      const last = keys.pop();
      keys.reduce((object, key) => (object[key] ??= {}), field.config)[last] = value;
    }
  }
}

function Body({ panel, frames, width, height }) {
  const replaceVariables = (text) => text;
  if (frames.every((frame) => frame.length === 0)) {
    problems.push(`${panel.title}: no data`);
    return <div>No data</div>;
  }
  if (panel.type === "timeseries") {
    return <TimeSeries frames={frames} width={width} height={height} timeRange={range} timeZone="browser" options={{}}
      legend={panel.options.legend} replaceVariables={replaceVariables} />;
  }
  if (panel.type === "table") return <Table data={frames[0]} width={width} height={height} />;
  const values = getFieldDisplayValues({ fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions,
    replaceVariables, theme, data: frames, sparkline: true, timeZone: "browser" });
  const { colorMode, graphMode, textMode } = panel.options;
  return (
    <div style={{ display: "flex" }}>
      {values.map((value, index) => (
        <BigValue key={index} width={width / values.length} height={height} value={value.display} theme={theme}
          sparkline={graphMode === "none" ? undefined : value.sparkline} colorMode={colorMode} graphMode={graphMode}
          textMode={textMode} />
      ))}
    </div>
  );
}

class Guard extends Component {
  state = {};

  static getDerivedStateFromError(error) {
    return { error };
  }

  componentDidCatch(error) {
    problems.push(`${this.props.title}: ${error.message}`);
  }

  render() {
    return this.state.error ? <pre>{String(this.state.error)}</pre> : this.props.children;
  }
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const style = { position: "absolute", left: x * CELL.width, top: y * CELL.height };
  if (panel.type === "row") return <h4 style={{ ...style, color: "#ccccdc", margin: "8px 4px" }}>{fill(panel.title)}</h4>;
  return (
    <div style={style}>
      <PanelChrome title={fill(panel.title)} description={panel.description} width={w * CELL.width - 8} height={h * CELL.height - 8}>
        {(width, height) => <Guard title={panel.title}><Body panel={panel} frames={panel.frames} width={width} height={height} /></Guard>}
      </PanelChrome>
    </div>
  );
}

const dashboard = await (await fetch("/dashboard.json")).json();
for (const panel of dashboard.panels.filter((panel) => panel.type !== "row")) {
  panel.frames = await load(panel).catch((error) => {
    problems.push(`${panel.title}: ${error.message}`);
    return [];
  });
}
const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * CELL.height;
createRoot(document.getElementById("root")).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <PortalContainer />
    <h2 style={{ color: "#ccccdc", margin: "0 4px 8px" }}>{dashboard.title}</h2>
    <div style={{ position: "relative", width: WIDTH, height: bottom }}>
      {dashboard.panels.map((panel) => <Panel key={panel.id} panel={panel} />)}
    </div>
  </ThemeContext.Provider>,
);
// The charts draw in animation frames of their own.
setTimeout(() => Object.assign(window, { problems, rendered: true }), 2500);
