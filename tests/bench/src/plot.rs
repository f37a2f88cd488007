//! The growth curve as a drawing: cost of a frame against live flows, both axes logarithmic.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    frames::{Candidate, Costs},
    kernel::Baseline,
    report::median,
};

/// Where it is measured: 1 flow to 4 million.
pub const CURVE: [u32; 9] = [1, 1 << 8, 1 << 10, 1 << 13, 1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 22];

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Nanoseconds at the lower and upper edge.
const RANGE: (f64, f64) = (1.0, 2000.0);

const LINES: [(Candidate, &str, &str); 5] = [
    (Candidate::Baseline(Baseline::LruPerCpuHash), "LRU_PERCPU_HASH", "#b07aa1"),
    (Candidate::Baseline(Baseline::PerCpuHash), "PERCPU_HASH", "#e15759"),
    (Candidate::Sensor, "flow-sensor", "#1f77b4"),
    (Candidate::Baseline(Baseline::Floor), "floor", "#8c8c8c"),
    (Candidate::Baseline(Baseline::Parse), "parse only", "#bbbbbb"),
];

fn x(flows: u32) -> f64 {
    let last = f64::from(CURVE[CURVE.len() - 1]).log2();
    LEFT + f64::from(flows).log2() / last * (WIDTH - LEFT - RIGHT)
}

fn y(nanoseconds: f64) -> f64 {
    let (low, high) = (RANGE.0.ln(), RANGE.1.ln());
    let share = (nanoseconds.clamp(RANGE.0, RANGE.1).ln() - low) / (high - low);
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

/// Draws the medians of known flows into an SVG file.
pub fn draw(path: &Path, points: &[(u32, Costs)]) -> Result<()> {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">A frame of a known flow: ns, net of an empty program, against \
         live flows</text>\n"
    );
    for nanoseconds in [1.0, 10.0, 100.0, 1000.0] {
        let (right, at) = (WIDTH - RIGHT, y(nanoseconds));
        writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#ddd\"/>")?;
        writeln!(svg, "<text x=\"52\" y=\"{:.1}\" text-anchor=\"end\">{nanoseconds}</text>", at + 4.0)?;
    }
    for (flows, name) in
        [(1, "1"), (1 << 10, "1,024"), (1 << 16, "65,536"), (1 << 20, "1,048,576"), (1 << 22, "4 M")]
    {
        let (at, bottom) = (x(flows), HEIGHT - BOTTOM);
        writeln!(svg, "<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#eee\"/>")?;
        writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>", bottom + 18.0)?;
    }
    for (candidate, name, colour) in LINES {
        let marks: Vec<_> =
            points.iter().map(|(flows, costs)| (x(*flows), median(costs.of(candidate)))).collect();
        let path: Vec<_> = marks.iter().map(|(x, ns)| format!("{x:.1} {:.1}", y(*ns))).collect();
        let path = path.join("L");
        writeln!(svg, "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
        let Some((at, last)) = marks.last() else { continue };
        // The two kernel maps lie on each other; their names must not.
        let shift = if name.starts_with("LRU") { -6.0 } else { 8.0 };
        let (at, down) = (at + 6.0, y(*last) + shift);
        writeln!(svg, "<text x=\"{at:.1}\" y=\"{down:.1}\" fill=\"{colour}\">{name} {last:.0}</text>")?;
    }
    svg.push_str("</svg>\n");
    fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))
}
