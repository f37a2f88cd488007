//! What the evaluation prints.

use super::{
    Judged,
    labels::Label::{self, Benign, Malware, OtherP2p, Scan, Torrent, TorrentSmall},
};

/// A scan of fewer targets is too short to be asked for.
const SCAN_TARGETS: u64 = 20;

/// What a detector should say of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Alert,
    Silence,
    /// Neither is right or wrong.
    Either,
}

fn wanted(kind: &str, judged: &Judged) -> Wanted {
    match (kind, judged.label) {
        ("torrent", Torrent) => Wanted::Alert,
        ("scan", Scan) if judged.host.new_connections >= SCAN_TARGETS => Wanted::Alert,
        // A burst that nothing explains is no label of anything; on a benign host it is noise.
        ("torrent", Scan | Malware | Benign)
        | ("scan", Torrent | TorrentSmall | Benign)
        | ("fanout", Benign) => Wanted::Silence,
        _ => Wanted::Either,
    }
}

/// Prints everything; returns how many hosts the torrent and scan detectors judge wrongly (a scan alert
/// on another host than a scanner is counted, but is no failure).
pub fn print(judged: &[Judged], unreadable: &[String]) -> usize {
    for line in unreadable {
        println!("read in part: {line}");
    }
    print_verdicts(judged);
    println!();
    let mut failures = 0;
    for kind in ["torrent", "scan", "fanout"] {
        failures += print_confusion(kind, judged);
    }
    print_by_label(judged);
    print_times(judged);
    print_margins(judged);
    failures
}

/// Every host with an alert, and every host that should have one.
fn print_verdicts(judged: &[Judged]) {
    for one in judged {
        let asked = ["torrent", "scan"].iter().any(|kind| wanted(kind, one) == Wanted::Alert);
        if asked || !one.host.alerts.is_empty() {
            println!("{:<13} {:<15} {}", one.label.name(), one.host.address, one.file);
        }
        for alert in &one.host.alerts {
            let wrong = if wanted(&alert.kind, one) == Wanted::Silence { " (FALSE)" } else { "" };
            println!("    {}{wrong}: {}", alert.kind, alert.summary);
        }
        if asked && one.host.alerts.is_empty() {
            println!("    (MISSED)");
        }
    }
}

fn print_confusion(kind: &str, judged: &[Judged]) -> usize {
    let named = |one: &Judged| one.host.alert(kind).is_some();
    let count = |want: Wanted, is_named: bool| {
        judged.iter().filter(|one| wanted(kind, one) == want && named(one) == is_named).count()
    };
    let (hits, missed) = (count(Wanted::Alert, true), count(Wanted::Alert, false));
    let (false_alarms, quiet) = (count(Wanted::Silence, true), count(Wanted::Silence, false));
    let hours: f64 = judged
        .iter()
        .filter(|one| wanted(kind, one) == Wanted::Silence)
        .map(|one| one.host.seconds / 3600.0)
        .sum();
    println!(
        "{kind:<8} hits {hits} of {}, false {false_alarms} of {} hosts; precision {}, recall {}; {}",
        hits + missed,
        false_alarms + quiet,
        share(hits, hits + false_alarms),
        share(hits, hits + missed),
        false_rate(false_alarms, hours),
    );
    match kind {
        "torrent" => missed + false_alarms,
        "scan" => missed,
        _ => 0,
    }
}

fn share(part: usize, whole: usize) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.2}", part as f64 / whole as f64) }
}

/// Zero of anything bounds its rate only by three over what was looked at, at 95 % (rule of three).
fn false_rate(false_alarms: usize, hours: f64) -> String {
    if hours <= 0.0 {
        "nothing to be wrong about".to_owned()
    } else if false_alarms > 0 {
        format!("{:.2} false alarms per host-hour in {hours:.1} host-hours", false_alarms as f64 / hours)
    } else {
        format!("no false alarm in {hours:.1} host-hours (below {:.2} per host-hour)", 3.0 / hours)
    }
}

fn print_by_label(judged: &[Judged]) {
    println!(
        "\n{:<14} {:>6} {:>8} {:>8} {:>8}   (hosts named)",
        "label", "hosts", "torrent", "scan", "fanout"
    );
    for label in Label::ALL {
        let of_label: Vec<&Judged> = judged.iter().filter(|one| one.label == label).collect();
        let named = |kind: &str| of_label.iter().filter(|one| one.host.alert(kind).is_some()).count();
        println!(
            "{:<14} {:>6} {:>8} {:>8} {:>8}",
            label.name(),
            of_label.len(),
            named("torrent"),
            named("scan"),
            named("fanout")
        );
    }
}

/// Alert minus first and tenth new peer on a port that is no service.
fn print_times(judged: &[Judged]) {
    println!("\ntime to detection of torrents, seconds after the first and after the tenth new peer");
    let mut from_tenth = Vec::new();
    for one in judged.iter().filter(|one| one.label == Torrent) {
        let Some(alert) = one.host.alert("torrent") else { continue };
        let after = |number: usize| one.host.peers.get(number).map(|peer| alert.time - peer);
        let text = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1}"));
        println!("    {:>7} {:>7}   {}", text(after(0)), text(after(9)), one.file);
        from_tenth.extend(after(9));
    }
    from_tenth.sort_by(f64::total_cmp);
    if let Some(most) = from_tenth.last() {
        let (low, high) = ((from_tenth.len() - 1) / 2, from_tenth.len() / 2);
        let median = f64::midpoint(from_tenth[low], from_tenth[high]);
        println!("    median {median:.1} and at most {most:.1} after the tenth");
    }
}

/// The torrent scores that are closest to being wrong.
fn print_margins(judged: &[Judged]) {
    println!("\nhighest torrent scores of hosts that must not be named (named at 0.5)");
    let mut others: Vec<&Judged> =
        judged.iter().filter(|one| matches!(one.label, Scan | Malware | Benign)).collect();
    others.sort_by(|a, b| b.host.score.total_cmp(&a.host.score));
    for one in others.iter().take(8) {
        println!("    {:.2} {:<8} {:<15} {}", one.host.score, one.label.name(), one.host.address, one.file);
    }
    let neutral = judged.iter().filter(|one| matches!(one.label, OtherP2p | TorrentSmall));
    for one in neutral.filter(|one| one.host.score >= 0.25) {
        println!("    {:.2} {:<8} {:<15} {}", one.host.score, one.label.name(), one.host.address, one.file);
    }
}
