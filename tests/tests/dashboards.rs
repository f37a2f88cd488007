//! Prometheus itself reads every query of the dashboards.

use std::{fmt::Write as _, fs, process::Command};

use anyhow::{Context, Result, ensure};
use sensor_tests::{left_out, sensor::workspace};
use serde_json::Value;

/// Grafana's variables, with values that make a query of each.
const VARIABLES: [(&str, &str); 6] = [
    ("$__rate_interval", "1m"),
    ("$__range", "1h"),
    ("$__interval", "15s"),
    ("$job", ".+"),
    ("$instance", ".+"),
    ("$source", "10.0.0.5"),
];

#[test]
fn every_query_of_the_dashboards_parses() -> Result<()> {
    if Command::new("promtool").arg("--version").output().is_err() {
        return left_out("the dashboards' queries: there is no promtool (cargo xtask setup as root)");
    }
    let mut rules = String::from("groups:\n- name: queries\n  rules:\n");
    let mut count = 0;
    for name in ["hunt", "network", "sensor"] {
        let path = workspace().join(format!("dashboards/{name}.json"));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let dashboard: Value = serde_json::from_str(&text)?;
        for target in dashboard["panels"].as_array().context("no panels")?.iter().flat_map(targets) {
            let query = target["expr"].as_str().context("a target without a query")?;
            let query =
                VARIABLES.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value));
            ensure!(!query.contains('$'), "an unknown variable in {query}");
            count += 1;
            // A JSON string is a YAML string.
            writeln!(rules, "  - record: query:{name}:{count}\n    expr: {}", Value::from(query))?;
        }
    }
    ensure!(count > 50, "only {count} queries were found");
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let file = directory.path().join("queries.yml");
    fs::write(&file, &rules).with_context(|| format!("cannot write {}", file.display()))?;
    let output = Command::new("promtool").args(["check", "rules", "--lint=none"]).arg(&file).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "promtool: {said}\n{rules}");
    Ok(())
}

fn targets(panel: &Value) -> impl Iterator<Item = &Value> {
    panel["targets"].as_array().into_iter().flatten()
}
