//! What is written about metrics and alerts against what there is.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use sensor_user::output::metrics::family;
use serde::Deserialize;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The texts of all files in `dashboards/` that a server reads, by name.
fn dashboards() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = fs::read_dir(root().join("dashboards"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| ["yml", "json"].iter().any(|end| name.ends_with(&format!(".{end}"))))
        .map(|name| (name.clone(), read(&format!("dashboards/{name}"))))
        .collect();
    files.sort();
    files
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

fn rules(path: &str) -> Vec<Rule> {
    let rules: Rules = serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// Every word that could be the name of a metric or of a recorded series.
fn words(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    text.split(|c| !is_name(c)).filter(|word| !word.is_empty()).collect()
}

/// The metrics of ours that `text` names; recorded series, which have colons, are not among them.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_metric = |word: &&str| {
        let ours = word.starts_with("flowsensor_") || word.starts_with("process_");
        ours && !word.contains(':') && !word.ends_with('_')
    };
    let base = |word| {
        let ends = ["_bucket", "_sum", "_count"];
        ends.iter().find_map(|end| str::strip_suffix(word, end)).unwrap_or(word)
    };
    words(text).into_iter().filter(is_metric).map(base).collect()
}

#[test]
fn every_metric_used_in_dashboards_exists() {
    let known: BTreeSet<&str> = family::ALL.iter().map(|family| family.name).collect();
    let mut used = BTreeSet::new();
    let files = dashboards();
    for (name, text) in &files {
        for metric in metrics_in(text) {
            assert!(known.contains(metric), "{name} uses {metric}, which the sensor does not export");
            used.insert(metric);
        }
    }
    assert!(used.len() > 10, "the search must find metrics: {used:?}");
}

#[test]
fn every_recorded_series_used_in_dashboards_is_recorded() {
    let recorded: BTreeSet<String> =
        rules("dashboards/rules.yml").into_iter().filter_map(|rule| rule.record).collect();
    assert!(!recorded.is_empty());
    for (name, text) in dashboards() {
        for word in words(&text)
            .into_iter()
            .filter(|word| word.contains(":flowsensor_") || word.starts_with("flowsensor_threshold:"))
        {
            assert!(recorded.contains(word), "{name} uses {word}, which rules.yml does not record");
        }
    }
}

#[test]
fn every_metric_is_documented_as_it_is() {
    let mut table = String::from("| metric | type | labels | help |\n|---|---|---|---|\n");
    for family in family::ALL {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (family.name, family.kind.name(), labels.join(", "));
        writeln!(table, "| `{name}` | {kind} | {labels} | {} |", family.help).unwrap();
    }
    let page = read("docs/metrics.md");
    let written: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
    assert!(written == table.lines().collect::<Vec<_>>(), "the table in docs/metrics.md must be\n\n{table}");
}

#[test]
fn every_alert_says_how_urgent_it_is_and_has_its_section_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let sections: BTreeSet<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut alerts = BTreeSet::new();
    for rule in rules("dashboards/alerts.yml") {
        let alert = rule.alert.expect("alerts.yml must hold alerts only");
        let severity = rule.labels.get("severity").map(String::as_str);
        assert!(matches!(severity, Some("critical" | "warning" | "info")), "{alert}: {severity:?}");
        for annotation in ["summary", "description"] {
            assert!(rule.annotations.contains_key(annotation), "{alert} has no {annotation}");
        }
        let begin = r#"{{ or $externalLabels.runbook "docs/runbook.md" }}"#;
        let link = format!("{begin}#{}", alert.to_lowercase());
        assert_eq!(rule.annotations.get("runbook_url"), Some(&link), "{alert}");
        assert!(sections.contains(alert.as_str()), "docs/runbook.md has no section {alert}");
        alerts.insert(alert);
    }
    for section in sections {
        assert!(alerts.contains(section), "docs/runbook.md speaks of {section}, which is no alert");
    }
}

#[test]
fn every_alert_is_tested_both_ways() {
    #[derive(Deserialize)]
    struct Tests {
        tests: Vec<Test>,
    }
    #[derive(Deserialize)]
    struct Test {
        alert_rule_test: Vec<Case>,
    }
    #[derive(Deserialize)]
    struct Case {
        alertname: String,
        exp_alerts: Vec<serde_json::Value>,
    }
    let tests: Tests = serde_saphyr::from_str(&read("dashboards/alerts_test.yml")).unwrap();
    let cases: Vec<Case> = tests.tests.into_iter().flat_map(|test| test.alert_rule_test).collect();
    let tested = |fires: bool| -> BTreeSet<&str> {
        let cases = cases.iter().filter(|case| case.exp_alerts.is_empty() != fires);
        cases.map(|case| case.alertname.as_str()).collect()
    };
    let (fires, holds) = (tested(true), tested(false));
    for alert in rules("dashboards/alerts.yml").into_iter().filter_map(|rule| rule.alert) {
        assert!(fires.contains(alert.as_str()), "no case in which {alert} fires");
        assert!(holds.contains(alert.as_str()), "no case in which {alert} must not fire");
    }
}
