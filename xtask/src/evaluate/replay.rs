//! What the sensor says about a capture, read from its JSON lines.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One alert that began.
#[derive(Clone, Debug)]
pub struct Alert {
    pub kind: String,
    /// Seconds since the epoch.
    pub time: f64,
    pub summary: String,
}

/// One local host of a capture.
#[derive(Debug, Default)]
pub struct Host {
    pub address: String,
    /// Seconds of the intervals in which it was heard.
    pub seconds: f64,
    pub new_connections: u64,
    /// The highest torrent score of any interval or alert.
    pub score: f64,
    pub alerts: Vec<Alert>,
    /// When each new peer on a port that is no service was first contacted, in order; only where asked for.
    pub peers: Vec<f64>,
}

impl Host {
    /// The first alert of a kind.
    pub fn alert(&self, kind: &str) -> Option<&Alert> {
        self.alerts.iter().find(|alert| alert.kind == kind)
    }
}

/// All local hosts of a capture, and why reading ended before its end, if it did.
pub struct Outcome {
    pub hosts: Vec<Host>,
    pub problem: Option<String>,
}

/// Replays a capture, with `options` for the sensor.
pub fn hosts(sensor: &Path, file: &Path, options: &[String]) -> Result<Outcome> {
    let (lines, problem) = lines(sensor, file, options, None)?;
    let mut hosts = BTreeMap::<String, Host>::new();
    for line in &lines {
        match line["type"].as_str() {
            Some("interval") => {
                let seconds = line["seconds"].as_f64().unwrap_or(0.0);
                for row in line["sources"].as_array().into_iter().flatten() {
                    let host = host_of(&mut hosts, row)?;
                    host.seconds += seconds;
                    host.new_connections += row["new_connections"].as_u64().unwrap_or(0);
                    host.score = host.score.max(row["torrent_score"].as_f64().unwrap_or(0.0));
                }
            }
            Some("alert") if line["state"] == "firing" => {
                let kind = line["kind"].as_str().context("an alert without kind")?.to_owned();
                let alert = Alert {
                    time: time(line)?,
                    summary: line["summary"].as_str().unwrap_or_default().to_owned(),
                    kind,
                };
                let host = host_of(&mut hosts, line)?;
                if alert.kind == "torrent" {
                    host.score = host.score.max(line["score"].as_f64().unwrap_or(0.0));
                }
                host.alerts.push(alert);
            }
            _ => {}
        }
    }
    Ok(Outcome { hosts: hosts.into_values().collect(), problem })
}

/// When each peer of `host` was first contacted.
pub fn peers(sensor: &Path, file: &Path, options: &[String], host: &str) -> Result<Vec<f64>> {
    let (lines, _) = lines(sensor, file, options, Some(host))?;
    let mut seen = HashSet::new();
    let steps = lines.iter().filter(|line| line["type"] == "step");
    let first = steps.filter(|step| step["peer"].as_str().is_some_and(|peer| seen.insert(peer.to_owned())));
    first.map(time).collect()
}

fn host_of<'a>(hosts: &'a mut BTreeMap<String, Host>, row: &Value) -> Result<&'a mut Host> {
    let address = row["source"].as_str().context("a source without address")?.to_owned();
    let host = hosts.entry(address.clone()).or_default();
    host.address = address;
    Ok(host)
}

fn lines(
    sensor: &Path,
    file: &Path,
    options: &[String],
    why: Option<&str>,
) -> Result<(Vec<Value>, Option<String>)> {
    let mut command = Command::new(sensor);
    command.args(["replay", "--format", "json"]).args(options);
    if let Some(host) = why {
        command.args(["--why", host, "--kind", "torrent"]);
    }
    let output = command.arg(file).output().with_context(|| format!("cannot run {}", sensor.display()))?;
    let text = String::from_utf8(output.stdout).context("the sensor's output is not text")?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // A damaged capture is an error of the sensor, but what it read before the damage counts.
    if !output.status.success() && lines.last().is_none_or(|line| line["type"] != "summary") {
        bail!("flow-sensor replay failed: {said}");
    }
    Ok((lines, (!output.status.success()).then_some(said)))
}

/// Seconds since the epoch of an object's `time`, which is RFC 3339 in UTC.
fn time(object: &Value) -> Result<f64> {
    let text = object["time"].as_str().context("an object without time")?;
    seconds(text).with_context(|| format!("{text} is no time"))
}

fn seconds(text: &str) -> Option<f64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute) = (number(11..13)?, number(14..16)?);
    let second: f64 = text.get(17..)?.trim_end_matches('Z').parse().ok()?;
    // Days since the epoch in the proleptic Gregorian calendar, counting years from March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    let whole = i32::try_from(days * 24 + hour).ok()?;
    Some(f64::from(whole) * 3600.0 + f64::from(i32::try_from(minute * 60).ok()?) + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_the_epoch() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000Z", 0.0),
            ("2000-03-01T00:00:00Z", 951_868_800.0),
            ("2024-02-29T12:30:15.250Z", 1_709_209_815.25),
        ] {
            let measured = seconds(text).unwrap();
            assert!((measured - expected).abs() < 1e-6, "{text}: {measured}");
        }
        assert_eq!(seconds("yesterday"), None);
    }
}
