//! What is told to receivers: labels, texts and times, and the same as one JSON object.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use crate::{
    alert::{Alert, AlertKind, AlertState},
    clock::Timestamp,
    mirror::{Diagnosis, Problem},
    output::json as objects,
};

/// Where notices link to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// This sensor's page.
    pub page: String,
    /// The runbook; its sections are named after alerts.
    pub runbook: String,
}

/// Something that began or ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Notice {
    /// What it is: two notices with the same labels are about the same thing.
    pub labels: BTreeMap<&'static str, String>,
    /// Texts for whoever is told.
    pub annotations: BTreeMap<&'static str, String>,
    /// This sensor's page.
    pub page: String,
    /// Begins or ends.
    pub state: AlertState,
    /// When.
    pub time: Timestamp,
    /// All of it as a webhook gets it.
    pub object: Vec<u8>,
}

impl Notice {
    /// Of an alert.
    pub fn of_alert(alert: &Alert, links: &Links) -> Self {
        let finding = &alert.finding;
        let name = match finding.kind {
            AlertKind::Torrent => "FlowSensorTorrent",
            AlertKind::Scan => "FlowSensorScan",
            AlertKind::Fanout => "FlowSensorFanout",
            AlertKind::Count => "FlowSensorTrifectaCount",
            AlertKind::Variance => "FlowSensorTrifectaVariance",
        };
        let source = finding.source.to_string();
        let labels = [("kind", finding.kind.name().to_owned()), ("source", source)];
        let mut object = Vec::with_capacity(512);
        // Writing to memory fails only where an object cannot be written as JSON at all: then it is empty.
        if objects::write_alert(&mut object, alert).is_err() {
            object.clear();
        }
        let severity = finding.kind.severity();
        let notice =
            Self::new(name, severity, &labels, finding.summary.clone(), finding.state, finding.time, links);
        let coverage = format!("{:.4}", alert.coverage);
        let annotations = [
            ("description", format!("{} (score {:.2}, coverage {coverage})", finding.summary, finding.score)),
            ("evidence", finding.evidence.to_string()),
        ];
        Self { object, ..notice.with(annotations) }
    }

    /// Of a problem of the mirror.
    pub fn of_mirror(
        diagnosis: &Diagnosis,
        interface: Option<&str>,
        state: AlertState,
        now: Timestamp,
        links: &Links,
    ) -> Self {
        let problem = diagnosis.problem;
        let (name, severity) = match problem {
            Problem::Silent => ("FlowSensorMirrorSilent", "critical"),
            _ => ("FlowSensorMirrorWrong", "warning"),
        };
        let interface = interface.unwrap_or("all");
        let object = json!({
            "type": "mirror",
            "time": now.to_string(),
            "problem": problem.name(),
            "interface": interface,
            "state": state.name(),
            "evidence": diagnosis.evidence,
            "remedy": problem.remedy(),
        });
        let labels = [("interface", interface.to_owned()), ("problem", problem.name().to_owned())];
        let summary = format!("the mirror is wrong ({}): {}", problem.name(), diagnosis.evidence);
        let notice = Self::new(name, severity, &labels, summary, state, now, links);
        let notice = notice.with([("description", diagnosis.to_string())]);
        Self { object: object.to_string().into_bytes(), ..notice }
    }

    fn new(
        name: &'static str,
        severity: &str,
        labels: &[(&'static str, String); 2],
        summary: String,
        state: AlertState,
        time: Timestamp,
        links: &Links,
    ) -> Self {
        let common = [
            ("alertname", name.to_owned()),
            ("severity", severity.to_owned()),
            ("instance", authority(&links.page).to_owned()),
        ];
        let runbook = format!("{}#{}", links.runbook, name.to_lowercase());
        Self {
            labels: labels.iter().cloned().chain(common).collect(),
            annotations: BTreeMap::from([("summary", summary), ("runbook_url", runbook)]),
            page: links.page.clone(),
            state,
            time,
            object: Vec::new(),
        }
    }

    fn with<const N: usize>(mut self, annotations: [(&'static str, String); N]) -> Self {
        self.annotations.extend(annotations);
        self
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// An alert in the form of Alertmanager's API, version 2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostableAlert<'a> {
    labels: &'a BTreeMap<&'static str, String>,
    annotations: &'a BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator: &'a str,
}

impl<'a> PostableAlert<'a> {
    /// Of a notice that began at `started` and ends, unless it is renewed, at `ends`.
    pub fn of(notice: &'a Notice, started: Timestamp, ends: Timestamp) -> Self {
        let Notice { labels, annotations, page, .. } = notice;
        Self {
            labels,
            annotations,
            starts_at: started.to_string(),
            ends_at: ends.max(started).to_string(),
            generator: page,
        }
    }
}
