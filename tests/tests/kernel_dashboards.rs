//! Every panel of every dashboard shows something of a real run, asked of a real Prometheus.

use std::{
    fmt, fs,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    browsing,
    client::Client,
    http,
    paging::Pager,
    prometheus::{Prometheus, Scrape, now},
    require_root,
    sensor::{self, Sensor, workspace},
    swarm,
    topology::{CLIENT, MIRROR, Office},
};
use serde_json::Value;

const DAY: Duration = Duration::from_hours(24);
/// How much of the run becomes the past.
const PAST: Duration = Duration::from_secs(15);
/// How long panels may take to show something. Subqueries look at every half minute only.
const PATIENCE: Duration = Duration::from_secs(75);
/// What a panel shows in this test, and how fine.
const RANGE: Duration = Duration::from_mins(5);
const STEP: Duration = Duration::from_secs(5);
/// A configuration with something of everything that has a panel.
const CONFIG: &str = "
interval: 5s
allow:
  - {source: 10.77.0.20, ports: [80, 443], kind: fanout, reason: our reader}
suppress:
  - {source: 10.77.0.30, kind: scan, until: '2099-01-01T00:00:00Z', reason: our scanner}
notify:
  webhook: ['http://127.0.0.1:9099/']
";

#[test]
fn every_panel_and_every_variable_shows_something_of_a_real_run() -> Result<()> {
    require_root()?;
    let office = Office::new()?;
    let _web = browsing::serve(&office.internet)?;
    let _swarm = swarm::start(&office.internet)?;
    let _pager = Pager::start(&office.sensor, |_, _| ())?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let config = directory.path().join("flow-sensor.yml");
    fs::write(&config, CONFIG).with_context(|| format!("cannot write {}", config.display()))?;
    let config = config.to_str().context("a temporary path must be text")?;
    let sensor = Sensor::start(&office.sensor, &["--interface", MIRROR, "--config", config])?;
    let _reader = browsing::browse(&office.browser)?;
    let _client = Client::Aria2.start(&office.client, directory.path())?;
    let past = scrape_for(&office, PAST)?;
    let prometheus = Prometheus::start(&office.sensor, &past, &[2 * DAY, DAY])?;

    let mut questions = Vec::new();
    for name in ["hunt", "network", "sensor"] {
        let path = workspace().join(format!("dashboards/{name}.json"));
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        questions.extend(questions_of(name, &serde_json::from_str(&text)?)?);
    }
    ensure!(questions.len() > 50, "only {} queries were found", questions.len());
    let begin = Instant::now();
    loop {
        let mut unanswered = Vec::new();
        for question in questions {
            if !question.has_data(&prometheus)? {
                unanswered.push(question);
            }
        }
        if unanswered.is_empty() {
            break;
        }
        let names: Vec<String> = unanswered.iter().map(Question::to_string).collect();
        ensure!(begin.elapsed() < PATIENCE, "no data for {}\n{}", names.join("\n"), sensor.log()?);
        questions = unanswered;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

fn scrape_for(office: &Office, period: Duration) -> Result<Vec<Scrape>> {
    let begin = Instant::now();
    let mut scrapes = Vec::new();
    while begin.elapsed() < period {
        let response = office.sensor.inside(|| http::get(sensor::ADDRESS, "/metrics"))?;
        scrapes.push((now()?, response.body));
        thread::sleep(Duration::from_secs(1));
    }
    Ok(scrapes)
}

/// What Grafana would ask.
struct Question {
    /// Of which panel or variable.
    of: String,
    asks: Asks,
}

enum Asks {
    /// A panel's query, over a range.
    Range(String),
    /// A panel's query, for this moment.
    Now(String),
    /// The values that a label has in a selector: a variable.
    Label { selector: String, label: String },
}

fn questions_of(name: &str, dashboard: &Value) -> Result<Vec<Question>> {
    let mut questions = Vec::new();
    for variable in dashboard["templating"]["list"].as_array().context("no variables")? {
        if variable["type"] != "query" {
            continue;
        }
        let query = variable["query"]["query"].as_str().context("a variable without a query")?;
        let arguments = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (selector, label) = arguments
            .and_then(|text| text.rsplit_once(", "))
            .with_context(|| format!("cannot read {query}"))?;
        let of = format!("{name}, ${}", variable["name"].as_str().unwrap_or_default());
        let asks = Asks::Label { selector: fill_in(selector), label: label.to_owned() };
        questions.push(Question { of, asks });
    }
    for panel in dashboard["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = fill_in(target["expr"].as_str().context("a target without a query")?);
            let asks = if target["instant"] == true { Asks::Now(query) } else { Asks::Range(query) };
            questions.push(Question { of: format!("{name}, {}", panel["title"]), asks });
        }
    }
    Ok(questions)
}

/// The query with the dashboard's variables filled in: all jobs and instances, the machine with the client.
fn fill_in(query: &str) -> String {
    let client = IpAddr::from(CLIENT).to_string();
    [
        ("$__rate_interval", "20s"),
        ("$__range", "5m"),
        ("$__interval", "5s"),
        ("$job", ".+"),
        ("$instance", ".+"),
        ("$source", &client),
    ]
    .iter()
    .fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
}

impl Question {
    fn has_data(&self, prometheus: &Prometheus<'_>) -> Result<bool> {
        Ok(match &self.asks {
            Asks::Range(query) => prometheus.query(query, RANGE, STEP)?.iter().any(has_number),
            Asks::Now(query) => prometheus.query_now(query)?.iter().any(has_number),
            Asks::Label { selector, label } => !prometheus.label_values(selector, label)?.is_empty(),
        })
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asks {
            Asks::Range(query) | Asks::Now(query) => write!(f, "{}: {query}", self.of),
            Asks::Label { selector, label } => write!(f, "{}: {label} of {selector}", self.of),
        }
    }
}

/// Whether a series has a value that is a number.
fn has_number(series: &Value) -> bool {
    let number = |sample: &Value| sample[1].as_str().is_some_and(|value| value != "NaN");
    number(&series["value"]) || series["values"].as_array().into_iter().flatten().any(number)
}
