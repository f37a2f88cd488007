//! What the sensor says of itself: frames, interfaces, drains, memories, alerts.

use sensor_common::reason::{Ignored, Lost};

use super::family::{self, Samples};
use crate::{
    alert::AlertKind,
    detect::allow::AllowanceUse,
    mirror::{Diagnosis, Problem},
    orient::MemoryUse,
    output::{
        notify::ReceiverStatus,
        snapshot::{AlertLogStatus, ConfigStatus, InterfaceStatus, Snapshot},
    },
    suppress::Suppression,
};

/// Reason of frames that the NIC dropped before the program could see them.
const NIC_MISSED: &str = "nic_missed";

/// No interface can have this name: the kernel keeps it for settings of all of them.
const ALL_INTERFACES: &str = "all";

pub(super) fn collect(snapshot: &Snapshot, samples: &mut Vec<Samples>) {
    build_and_drains(snapshot, samples);
    interfaces(&snapshot.interfaces, samples);
    mirror(snapshot, samples);
    memories(&snapshot.memories, samples);
    alerts(snapshot, samples);
    notifications(snapshot, samples);
    if let Some(status) = &snapshot.alert_log {
        alert_log(status, samples);
    }
}

/// A family without labels.
pub(super) fn single(family: &'static family::Family, value: f64) -> Samples {
    let mut samples = Samples::of(family);
    samples.add(&[], value);
    samples
}

fn build_and_drains(snapshot: &Snapshot, samples: &mut Vec<Samples>) {
    let mut build = Samples::of(&family::BUILD_INFO);
    build.add(&[snapshot.build.version, snapshot.build.revision], 1.0);
    samples.push(build);
    let ConfigStatus { successful, taken } = snapshot.config;
    samples.push(single(&family::CONFIG_SUCCESSFUL, f64::from(u8::from(successful))));
    samples.push(single(&family::CONFIG_TIME, taken.as_secs_f64()));
    let mut duration = Samples::of(&family::PIPELINE_DURATION);
    duration.add_histogram(&[], &snapshot.pipeline_duration);
    samples.push(duration);
    samples.push(single(&family::DRAINS, snapshot.drains.done as f64));
    samples.push(single(&family::DRAIN_OVERRUNS, snapshot.drains.overruns as f64));
    if snapshot.drains.done > 0 {
        samples.push(single(&family::LAST_DRAIN, snapshot.time.as_secs_f64()));
    }
    if let Some(interval) = &snapshot.interval {
        samples.push(single(&family::INTERVAL_SECONDS, interval.seconds));
    }
}

fn interfaces(interfaces: &[InterfaceStatus], samples: &mut Vec<Samples>) {
    let mut frames = Samples::of(&family::FRAMES);
    let mut coverage = Samples::of(&family::COVERAGE);
    let mut mode = Samples::of(&family::XDP_MODE);
    let mut up = Samples::of(&family::INTERFACE_UP);
    let mut attached = Samples::of(&family::INTERFACE_ATTACHED);
    let mut entries = Samples::of(&family::FLOW_TABLE_ENTRIES);
    let mut capacity = Samples::of(&family::FLOW_TABLE_CAPACITY);
    let mut icmp_errors_lost = Samples::of(&family::ICMP_ERRORS_LOST);
    let mut duration = Samples::of(&family::DRAIN_DURATION);
    for interface in interfaces {
        let label = &[interface.name.as_str()];
        let reading = &interface.reading;
        count_frames(interface, &mut frames);
        if let Some(ratio) = interface.coverage {
            coverage.add(label, ratio);
        }
        if let Some(xdp) = reading.mode {
            mode.add(&[&interface.name, xdp.name()], 1.0);
        }
        up.add(label, f64::from(u8::from(reading.link_up)));
        attached.add(label, f64::from(u8::from(reading.mode.is_some())));
        entries.add(label, reading.table_entries as f64);
        capacity.add(label, reading.table_capacity as f64);
        icmp_errors_lost.add(label, reading.marks_lost as f64);
        duration.add_histogram(label, &interface.drain_duration);
    }
    samples.extend([frames, coverage, mode, up, attached, entries, capacity, icmp_errors_lost, duration]);
}

/// Every problem that could be, so that its absence is seen too.
fn mirror(snapshot: &Snapshot, samples: &mut Vec<Samples>) {
    let mut problems = Samples::of(&family::MIRROR_PROBLEM);
    let mut add = |label: &str, interface: Option<usize>, problem: Problem| {
        let is_it = |diagnosis: &Diagnosis| diagnosis.problem == problem && diagnosis.interface == interface;
        let holds = snapshot.mirror.iter().any(is_it);
        problems.add(&[label, problem.name()], f64::from(u8::from(holds)));
    };
    for problem in Problem::ALL {
        if problem == Problem::Silent {
            for (index, interface) in snapshot.interfaces.iter().enumerate() {
                add(&interface.name, Some(index), problem);
            }
        } else {
            add(ALL_INTERFACES, None, problem);
        }
    }
    samples.push(problems);
}

fn count_frames(interface: &InterfaceStatus, samples: &mut Samples) {
    let frames = &interface.frames;
    let mut add =
        |outcome, reason, count: u64| samples.add(&[&interface.name, outcome, reason], count as f64);
    add("counted", "", frames.counted);
    for (reason, count) in Ignored::ALL.iter().zip(frames.ignored) {
        add("ignored", reason.name(), count);
    }
    for (reason, count) in Lost::ALL.iter().zip(frames.lost) {
        add("lost", reason.name(), count);
    }
    add("lost", NIC_MISSED, frames.nic_missed);
}

fn memories(memories: &[MemoryUse], samples: &mut Vec<Samples>) {
    let mut entries = Samples::of(&family::MEMORY_ENTRIES);
    let mut capacity = Samples::of(&family::MEMORY_CAPACITY);
    let mut evicted = Samples::of(&family::MEMORY_EVICTED);
    for memory in memories {
        entries.add(&[memory.name], memory.entries as f64);
        capacity.add(&[memory.name], memory.capacity as f64);
        evicted.add(&[memory.name], memory.evicted as f64);
    }
    samples.extend([entries, capacity, evicted]);
}

fn alerts(snapshot: &Snapshot, samples: &mut Vec<Samples>) {
    let mut fired = Samples::of(&family::ALERTS);
    for (kind, count) in AlertKind::ALL.iter().zip(snapshot.alerts.fired) {
        fired.add(&[kind.name()], count as f64);
    }
    samples.push(fired);
}

fn notifications(snapshot: &Snapshot, samples: &mut Vec<Samples>) {
    let mut notices = Samples::of(&family::NOTIFICATIONS);
    let mut attempts = Samples::of(&family::NOTIFICATION_ERRORS);
    for ReceiverStatus { name, delivered, rejected, expired, dropped, errors, failing: _ } in
        &snapshot.notifications
    {
        let outcomes =
            [("delivered", delivered), ("rejected", rejected), ("expired", expired), ("dropped", dropped)];
        for (outcome, count) in outcomes {
            notices.add(&[name, outcome], *count as f64);
        }
        attempts.add(&[name], *errors as f64);
    }
    let mut suppressions = Samples::of(&family::SUPPRESSIONS);
    for Suppression { source, kind, until, reason } in &snapshot.suppressions {
        let kind = kind.map_or("any", AlertKind::name);
        let in_force = f64::from(u8::from(snapshot.time < *until));
        suppressions.add(&[&source.to_string(), kind, reason], in_force);
    }
    let mut allowed = Samples::of(&family::ALLOWED);
    for AllowanceUse { allowance, contacts } in &snapshot.allowances {
        allowed.add(&[&allowance.reason], *contacts as f64);
    }
    samples.extend([notices, attempts, allowed, suppressions]);
}

fn alert_log(status: &AlertLogStatus, samples: &mut Vec<Samples>) {
    let AlertLogStatus { written, dropped, errors } = status;
    samples.push(single(&family::ALERT_LOG_WRITTEN, *written as f64));
    samples.push(single(&family::ALERT_LOG_DROPPED, *dropped as f64));
    samples.push(single(&family::ALERT_LOG_ERRORS, *errors as f64));
}
