//! The text format of Prometheus, as far as the sensor writes it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<Series>);

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Metric name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
    /// As it was written.
    pub line: String,
}

impl Metrics {
    /// Reads an exposition. Label values with commas, braces or quotes in them are beyond it.
    pub fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let series = lines.map(|line| series(line).with_context(|| format!("no series: {line}")));
        Ok(Self(series.collect::<Result<_>>()?))
    }

    /// Series called `name` whose labels include `labels`.
    pub fn series<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Series> {
        let has = |series: &Series, (label, value): &(&str, &str)| {
            series.labels.get(*label).is_some_and(|found| found == value)
        };
        self.0
            .iter()
            .filter(move |series| series.name == name && labels.iter().all(|label| has(series, label)))
    }

    /// Sum of the series called `name` whose labels include `labels`; 0 where there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name, labels).map(|series| series.value).fold(0.0, |sum, value| sum + value)
    }

    /// The sum of counters, which are whole numbers.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let sum = self.sum(name, labels);
        ensure!(sum >= 0.0 && sum.fract() == 0.0 && sum < 2_f64.powi(53), "{name} {labels:?} is {sum}");
        // Through text: a cast would hide what the line above has excluded.
        format!("{sum:.0}").parse().with_context(|| format!("{name} is {sum}"))
    }
}

fn series(line: &str) -> Option<Series> {
    let (left, value) = line.rsplit_once(' ')?;
    let (name, labels) = left.split_once('{').unwrap_or((left, "}"));
    let pairs = labels.strip_suffix('}')?.split(',').filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| {
        let (label, value) = pair.split_once('=')?;
        Some((label.to_owned(), value.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    });
    let labels = labels.collect::<Option<_>>()?;
    Some(Series { name: name.to_owned(), labels, value: value.parse().ok()?, line: line.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_their_labels() -> Result<()> {
        let metrics = Metrics::parse(
            "# HELP f Frames.\n# TYPE f counter\nf{interface=\"a\",outcome=\"counted\"} 5\n\
             f{interface=\"b\",outcome=\"counted\"} 7\nf{interface=\"b\",outcome=\"lost\"} 1\nup 1\n",
        )?;
        assert_eq!(metrics.count("f", &[("outcome", "counted")])?, 12);
        assert_eq!(metrics.count("f", &[("interface", "b"), ("outcome", "lost")])?, 1);
        assert_eq!(metrics.count("up", &[])?, 1);
        assert_eq!(metrics.series("g", &[]).count(), 0);
        Ok(())
    }
}
