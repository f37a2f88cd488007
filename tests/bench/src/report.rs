//! Medians, ratios, and the one table.

use std::fmt::{self, Display, Formatter};

/// The middle of some measurements.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The median of the ratios of each round.
#[must_use]
pub fn ratio(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    median(&ratios)
}

/// A bound that a figure must keep.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// At most.
    Most(f64),
    /// At least.
    Least(f64),
}

impl Bar {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Most(bound) => value <= bound,
            Self::Least(bound) => value >= bound,
        }
    }
}

impl Display for Bar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Most(bound) => write!(f, "≤ {bound}"),
            Self::Least(bound) => write!(f, "≥ {bound}"),
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    bar: Option<Bar>,
    remark: String,
}

/// All lines so far.
#[derive(Clone, Debug, Default)]
pub struct Report(Vec<Row>);

impl Report {
    /// A figure that a bar is set for. `remark` says what it is made of.
    pub fn held(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        bar: Bar,
        remark: impl Into<String>,
    ) {
        self.add(Row { what: what.into(), value, unit, bar: Some(bar), remark: remark.into() });
    }

    /// A figure for the record.
    pub fn noted(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        remark: impl Into<String>,
    ) {
        self.add(Row { what: what.into(), value, unit, bar: None, remark: remark.into() });
    }

    fn add(&mut self, row: Row) {
        eprintln!("{row}");
        self.0.push(row);
    }

    /// How many bars are not kept.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.0.iter().filter(|row| row.verdict() == "no").count()
    }
}

impl Row {
    fn verdict(&self) -> &'static str {
        match self.bar {
            None => "",
            Some(bar) if bar.holds(self.value) => "yes",
            Some(_) => "no",
        }
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bar = self.bar.map(|bar| bar.to_string()).unwrap_or_default();
        let digits = if self.value.abs() >= 100.0 { 0 } else { 2 };
        let Self { what, value, unit, remark, .. } = self;
        write!(f, "| {what} | {value:.digits$} {unit} | {bar} | {} | {remark} |", self.verdict())
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | bar | kept | made of |\n|---|---|---|---|---|")?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_the_mean_of_the_two_middle_ones() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_bar_counts_as_missed_only_beyond_its_bound() {
        let mut report = Report::default();
        report.held("at most", 1.0, "", Bar::Most(1.0), "");
        report.held("at least", 1.0, "", Bar::Least(1.0), "");
        assert_eq!(report.missed(), 0);
        report.held("too much", 1.1, "", Bar::Most(1.0), "");
        assert_eq!(report.missed(), 1);
    }
}
