//! What is wrong with the mirror or the sensor, in sentences that name the remedy.

use crate::{
    capture::live::program::XdpMode,
    mirror::Diagnosis,
    output::snapshot::{InterfaceStatus, Snapshot},
};

/// Fill of the flow table from which on it is worth a word.
const PRESSURE: f64 = 0.8;

/// Every trouble, those that blind the sensor first.
pub(super) fn troubles(snapshot: &Snapshot) -> Vec<String> {
    let mut troubles: Vec<String> = Vec::new();
    for (index, interface) in snapshot.interfaces.iter().enumerate() {
        let silent = snapshot.mirror.iter().find(|diagnosis| diagnosis.interface == Some(index));
        troubles.extend(of_interface(interface, silent));
    }
    let of_all = snapshot.mirror.iter().filter(|diagnosis| diagnosis.interface.is_none());
    troubles.extend(of_all.map(|diagnosis| format!("the mirror is wrong: {diagnosis}")));
    if snapshot.drains.overruns > 0 {
        troubles.push(format!(
            "{} drains began late: this host is too busy, counts are right but alerts come later",
            snapshot.drains.overruns
        ));
    }
    for memory in snapshot.memories.iter().filter(|memory| memory.evicted > 0) {
        troubles.push(format!(
            "the memory of {} is full ({} entries) and gave up {}: raise its capacity, or sources are forged",
            memory.name.replace('_', " "),
            memory.capacity,
            memory.evicted
        ));
    }
    for receiver in snapshot.notifications.iter().filter(|receiver| receiver.failing) {
        troubles.push(format!(
            "{} does not take alerts: nobody is told through it; the sensor's log has its answer",
            receiver.name
        ));
    }
    if !snapshot.config.successful {
        troubles.push(
            "the configuration file was refused and the one before is in effect: see the sensor's log"
                .to_owned(),
        );
    }
    if snapshot.alert_log.is_some_and(|log| log.errors + log.dropped > 0) {
        troubles.push("the alert log could not be written: see the sensor's log".to_owned());
    }
    troubles
}

/// Those of one interface, and what is wrong with its mirror alone.
fn of_interface(interface: &InterfaceStatus, mirror: Option<&Diagnosis>) -> Vec<String> {
    let InterfaceStatus { name, reading, frames, coverage, .. } = interface;
    if reading.mode.is_none() {
        return vec![format!("{name}: nothing is counted, the program is not attached to the interface")];
    }
    let mut troubles = Vec::new();
    if !reading.link_up {
        troubles.push(format!("{name}: the link is down; check the cable and the switch's mirror session"));
    } else if let Some(diagnosis) = mirror {
        troubles.push(format!("{name}: {diagnosis}"));
    }
    if reading.mode == Some(XdpMode::Generic) {
        troubles.push(format!("{name}: generic mode, the driver has no native XDP; frames cost more"));
    }
    if let Some(coverage) = coverage.filter(|coverage| *coverage < 1.0) {
        troubles.push(format!(
            "{name}: {:.2} % of the frames of the last interval were lost, so counts are too low",
            100.0 * (1.0 - coverage)
        ));
    }
    if frames.unaccounted() != 0 {
        troubles.push(format!("{name}: {} frames are unaccounted for, a defect", frames.unaccounted()));
    }
    let fill = reading.table_entries as f64 / (reading.table_capacity.max(1)) as f64;
    if fill >= PRESSURE {
        troubles.push(format!(
            "{name}: the flow table was {:.0} % full at the last drain; raise capacity or drain more often",
            100.0 * fill
        ));
    }
    troubles
}
