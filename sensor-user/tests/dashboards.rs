//! The dashboards as Grafana imports them, against the metrics that there are and the rules of Grafana's own
//! dashboard-linter.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use sensor_user::output::metrics::family::{self, Family, Kind};
use serde_json::Value;

const DASHBOARDS: [&str; 3] = ["hunt", "network", "sensor"];
const DATA_SOURCE: &str = "${datasource}";
const PANELS: [&str; 3] = ["stat", "table", "timeseries"];

fn dashboard(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards").join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every dashboard, every panel that shows something, with a name for messages.
fn panels() -> Vec<(String, Value)> {
    let of = |name: &'static str| {
        let mut dashboard = dashboard(name);
        let Value::Array(panels) = dashboard["panels"].take() else { panic!("{name} must have panels") };
        panels.into_iter().filter(|panel| panel["type"] != "row").map(move |panel| {
            let title = panel["title"].as_str().unwrap_or_default();
            (format!("{name}, {title:?}"), panel)
        })
    };
    DASHBOARDS.into_iter().flat_map(of).collect()
}

fn queries(panel: &Value) -> Vec<&str> {
    let targets = panel["targets"].as_array().expect("a panel must have targets");
    targets.iter().map(|target| target["expr"].as_str().expect("a target must have a query")).collect()
}

/// A selector: its metric, and the labels that it matches with what.
#[derive(Debug)]
struct Selector<'a> {
    metric: &'a str,
    matchers: BTreeMap<&'a str, &'a str>,
}

/// The selectors of a query: `metric{label=~"value",...}`. None of ours has a brace or a comma in a value.
fn selectors(query: &str) -> Vec<Selector<'_>> {
    query
        .match_indices('{')
        .map(|(open, _)| {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let begin = query[..open].rfind(|c| !is_name(c)).map_or(0, |at| at + 1);
            let close = open + query[open..].find('}').expect("braces must match");
            let matchers = query[open + 1..close].split(',').map(|matcher| {
                let at = matcher.find(['=', '!']).expect("a matcher must compare");
                matcher.split_at(at)
            });
            Selector { metric: &query[begin..open], matchers: matchers.collect() }
        })
        .collect()
}

/// The family that `name` belongs to; histograms have three names more.
fn family_of(name: &str) -> Option<&'static Family> {
    let is = |family: &&Family| match family.kind {
        Kind::Histogram => {
            ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(family.name))
        }
        Kind::Counter | Kind::Gauge => family.name == name,
    };
    family::ALL.iter().find(is)
}

#[test]
fn every_query_selects_metrics_and_labels_that_exist() {
    for (panel, value) in panels() {
        for query in queries(&value) {
            let selectors = selectors(query);
            let named = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let named = named.filter(|word| word.starts_with("flowsensor_") || word.starts_with("process_"));
            assert_eq!(named.count(), selectors.len(), "{panel}: a metric without selector in {query}");
            assert!(!selectors.is_empty(), "{panel}: {query}");
            for Selector { metric, matchers } in selectors {
                let family = family_of(metric).unwrap_or_else(|| panic!("{panel}: there is no {metric}"));
                let known =
                    |label: &&str| family.labels.contains(label) || ["job", "instance"].contains(label);
                assert!(matchers.keys().all(known), "{panel}: {metric} has no such label: {matchers:?}");
            }
        }
    }
}

#[test]
fn every_query_is_of_the_chosen_jobs_and_instances() {
    for (panel, value) in panels() {
        for query in queries(&value) {
            for Selector { metric, matchers } in selectors(query) {
                for (label, wanted) in [("job", "=~\"$job\""), ("instance", "=~\"$instance\"")] {
                    assert_eq!(matchers.get(label), Some(&wanted), "{panel}: {metric} in {query}");
                }
                // Every process that Prometheus scrapes has these.
                let foreign = metric.starts_with("process_");
                assert!(
                    !foreign || query.contains("on (job, instance) flowsensor_build_info{"),
                    "{panel}: {query}"
                );
            }
        }
    }
}

#[test]
fn rates_are_of_counters_over_the_rate_interval_and_counters_only_in_rates() {
    for (panel, value) in panels() {
        for query in queries(&value) {
            for (at, _) in query.match_indices("rate(") {
                let argument = &query[at..query[at..].find(']').map_or(query.len(), |end| at + end + 1)];
                assert!(argument.ends_with("[$__rate_interval]"), "{panel}: {argument}");
            }
            for Selector { metric, .. } in selectors(query) {
                let counts = family_of(metric).is_some_and(|family| family.kind != Kind::Gauge);
                let begin = query.find(metric).expect("the metric came from the query");
                // `timestamp` asks when a counter was there, not what it counted.
                let grown = ["rate(", "increase(", "timestamp("].iter().any(|f| query[..begin].ends_with(f));
                assert!(!counts || grown, "{panel}: {metric} in {query}");
            }
        }
    }
}

#[test]
fn panels_say_what_they_show_in_which_unit_and_from_the_chosen_source() {
    let mut titles = BTreeSet::new();
    for (panel, value) in panels() {
        for field in ["title", "description"] {
            assert!(value[field].as_str().is_some_and(|text| !text.trim().is_empty()), "{panel}: {field}");
        }
        assert!(PANELS.contains(&value["type"].as_str().unwrap_or_default()), "{panel}: {}", value["type"]);
        assert!(value["fieldConfig"]["defaults"]["unit"].is_string(), "{panel}: no unit");
        let targets = value["targets"].as_array().into_iter().flatten();
        for source in targets.map(|target| &target["datasource"]).chain([&value["datasource"]]) {
            assert_eq!(source["uid"], DATA_SOURCE, "{panel}");
        }
        assert!(titles.insert(panel.clone()), "{panel} is there twice");
    }
}

#[test]
fn panels_lie_side_by_side_within_24_columns() {
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("a dashboard must have panels") {
            let [x, y, w, h] = ["x", "y", "w", "h"]
                .map(|side| panel["gridPos"][side].as_u64().expect("a side must be a whole number"));
            assert!(x + w <= 24, "{name}: {}", panel["title"]);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{name}: {} lies over another panel", panel["title"]);
            }
            assert!(
                ids.insert(panel["id"].as_u64()),
                "{name}: {} has the id of another panel",
                panel["title"]
            );
        }
    }
}

#[test]
fn dashboards_can_be_imported_anywhere_and_chosen_by_source_job_and_instance() {
    let mut uids = BTreeSet::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert!(uids.insert(dashboard["uid"].to_string()), "{name}: the uid of another");
        assert!(dashboard["id"].is_null() && dashboard["editable"] == false, "{name}");
        assert!(
            dashboard["schemaVersion"].as_u64().is_some_and(|version| version <= 39),
            "Grafana 10 reads 39"
        );
        let variables = dashboard["templating"]["list"].as_array().expect("there must be variables");
        let variable = |wanted: &str| {
            let found = variables.iter().find(|variable| variable["name"] == wanted);
            found.unwrap_or_else(|| panic!("{name}: no variable {wanted}"))
        };
        let source = variable("datasource");
        assert_eq!(
            (&source["type"], &source["query"]),
            (&"datasource".into(), &"prometheus".into()),
            "{name}"
        );
        for (wanted, label) in [("job", "Job"), ("instance", "Instance")] {
            let variable = variable(wanted);
            assert_eq!(variable["label"], label, "{name}");
            assert_eq!((&variable["multi"], &variable["allValue"]), (&true.into(), &".+".into()), "{name}");
        }
        for variable in variables.iter().filter(|variable| variable["type"] == "query") {
            assert_eq!(variable["datasource"]["uid"], DATA_SOURCE, "{name}: {}", variable["name"]);
            assert_eq!(variable["refresh"], 2, "{name}: {} must follow the time range", variable["name"]);
        }
    }
}
