//! Every metric family: its name, type, labels and help, in one place.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::output::snapshot::DurationHistogram;

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows while the sensor runs.
    Counter,
    /// A value of the moment.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Kind {
    /// The name in the exposition.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Histogram, labels, help }
}

/// Declares the families and the list of all of them, so that none can be missing from the list.
macro_rules! families {
    ($($constant:ident = $kind:ident($name:literal, [$($label:literal),*], $help:literal);)*) => {
        $(#[doc = $help] pub const $constant: Family = $kind($name, &[$($label),*], $help);)*
        /// Every family.
        pub const ALL: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD_INFO = gauge("flowsensor_build_info", ["version", "revision"],
        "Which sensor this is; always 1.");
    CONFIG_SUCCESSFUL = gauge("flowsensor_config_last_reload_successful", [],
        "Whether the last attempt to load the configuration succeeded.");
    CONFIG_TIME = gauge("flowsensor_config_last_reload_success_timestamp_seconds", [],
        "When the configuration was last loaded, in seconds since the epoch.");
    FRAMES = counter("flowsensor_frames_total", ["interface", "outcome", "reason"],
        "Frames by what became of them: counted in flows, ignored or lost, and why.");
    COVERAGE = gauge("flowsensor_coverage_ratio", ["interface"],
        "Share of the frames on the wire that were not lost, in the last complete interval.");
    XDP_MODE = gauge("flowsensor_xdp_mode", ["interface", "mode"],
        "How the program is attached, native or generic; always 1, absent while it is not attached.");
    INTERFACE_UP = gauge("flowsensor_interface_up", ["interface"],
        "Whether the link of the mirror port is up.");
    INTERFACE_ATTACHED = gauge("flowsensor_interface_attached", ["interface"],
        "Whether the program is attached to the mirror port.");
    MIRROR_PROBLEM = gauge("flowsensor_mirror_problem", ["interface", "problem"],
        "Whether the mirror has this problem; all but silent are about all interfaces together, interface=\"all\".");
    FLOW_TABLE_ENTRIES = gauge("flowsensor_flow_table_entries", ["interface"],
        "Flows in the kernel's table at the last drain.");
    FLOW_TABLE_CAPACITY = gauge("flowsensor_flow_table_capacity", ["interface"],
        "Flows that the kernel's table can hold between two drains.");
    ICMP_ERRORS_LOST = counter("flowsensor_icmp_errors_lost_total", ["interface"],
        "ICMP errors whose quoted flow found no room in the kernel's table: evidence lost, but no frame.");
    DRAIN_DURATION = histogram("flowsensor_drain_duration_seconds", ["interface"],
        "How long emptying the kernel's table took.");
    PIPELINE_DURATION = histogram("flowsensor_pipeline_duration_seconds", [],
        "How long it took from an emptied table to the published result: orientation, statistics, detectors, outputs.");
    DRAINS = counter("flowsensor_drains_total", [],
        "Drains done.");
    DRAIN_OVERRUNS = counter("flowsensor_drain_overruns_total", [],
        "Drains that began late because the one before took too long.");
    LAST_DRAIN = gauge("flowsensor_last_drain_timestamp_seconds", [],
        "When the last drain ended, in seconds since the epoch.");
    INTERVAL_SECONDS = gauge("flowsensor_interval_seconds", [],
        "Measured length of the last complete interval: divide gauges per interval by it for rates.");
    MEMORY_ENTRIES = gauge("flowsensor_memory_entries", ["memory"],
        "Entries in a bounded memory of the agent.");
    MEMORY_CAPACITY = gauge("flowsensor_memory_capacity", ["memory"],
        "Entries that a bounded memory of the agent may hold.");
    MEMORY_EVICTED = counter("flowsensor_memory_evicted_total", ["memory"],
        "Entries that a bounded memory of the agent gave up for want of room.");
    SOURCES_TRACKED = gauge("flowsensor_sources_tracked", [],
        "Sources with series of their own; the rest is summed in source=\"other\".");
    SOURCES_EVICTED = counter("flowsensor_sources_evicted_total", [],
        "Sources that lost their series to a busier one.");
    NEW_CONNECTIONS_TOTAL = counter("flowsensor_source_new_connections_total", ["source", "protocol"],
        "New connections that the source opened since it has series of its own.");
    NEW_CONNECTIONS = gauge("flowsensor_source_new_connections", ["source"],
        "New connections that the source opened in the last complete interval.");
    NEW_CONNECTIONS_MEAN = gauge("flowsensor_source_new_connections_mean", ["source"],
        "Mean of new connections per interval over the window.");
    NEW_CONNECTIONS_VARIANCE = gauge("flowsensor_source_new_connections_variance", ["source"],
        "Sample variance of new connections per interval over the window.");
    ACTIVE_TRIFECTAS = gauge("flowsensor_source_active_trifectas", ["source"],
        "Distinct (responder, port, protocol) that the source exchanged frames with as initiator, in the last complete interval.");
    TRIFECTA_PACKETS_VARIANCE = gauge("flowsensor_source_trifecta_packets_variance", ["source"],
        "Variance of frames per trifecta of the source in the last complete interval.");
    NEW_PEERS = gauge("flowsensor_source_new_peers", ["source"],
        "Distinct external addresses that the source newly contacted in the last complete interval.");
    NEW_PORTS = gauge("flowsensor_source_new_ports", ["source"],
        "Distinct responder ports among the new connections of the last complete interval.");
    UNANSWERED = gauge("flowsensor_source_unanswered_ratio", ["source"],
        "Share of the new connections of the last complete interval that were not answered; absent without any.");
    BYTES = counter("flowsensor_source_bytes_total", ["source", "direction"],
        "Bytes on the wire that the source sent or received since it has series of its own.");
    PACKETS = counter("flowsensor_source_packets_total", ["source", "direction"],
        "Frames that the source sent or received since it has series of its own.");
    TORRENT_SCORE = gauge("flowsensor_source_torrent_score", ["source"],
        "How much the source behaves like a torrent client, 0 to 1.");
    SOURCE_ROLE = gauge("flowsensor_source_role", ["source", "role"],
        "What the source is, as far as it was recognised: 1 for each role, absent without.");
    ALERTS = counter("flowsensor_alerts_total", ["kind"],
        "Alerts that began.");
    ALERT_ACTIVE = gauge("flowsensor_alert_active", ["kind", "source"],
        "Alerts that hold: 1 for a source, absent once it is over; for source=\"other\" how many.");
    ALERT_EVIDENCE = gauge("flowsensor_alert_evidence", ["kind", "source", "number"],
        "The numbers behind an alert that holds, as of its beginning; of the 20 latest.");
    ALERT_SUPPRESSED = gauge("flowsensor_alert_suppressed", ["kind", "source"],
        "Alerts that hold and that the configuration suppresses: 1 for a source; for source=\"other\" how many.");
    ALLOWED = counter("flowsensor_allowed_contacts_total", ["reason"],
        "First contacts that an entry of allow kept from the detectors.");
    SUPPRESSIONS = gauge("flowsensor_suppressions", ["source", "kind", "reason"],
        "Entries of suppress in the configuration: 1 in force, 0 after their end; kind=\"any\" for all kinds.");
    NOTIFICATIONS = counter("flowsensor_notifications_total", ["receiver", "outcome"],
        "Beginnings and ends posted by the sensor itself, by what became of them: delivered, rejected, expired or dropped.");
    NOTIFICATION_ERRORS = counter("flowsensor_notification_errors_total", ["receiver"],
        "Failed attempts to post to a receiver.");
    ALERT_LOG_WRITTEN = counter("flowsensor_alert_log_written_total", [],
        "Alerts written to the alert log.");
    ALERT_LOG_DROPPED = counter("flowsensor_alert_log_dropped_total", [],
        "Alerts that did not reach the alert log because its queue was full.");
    ALERT_LOG_ERRORS = counter("flowsensor_alert_log_errors_total", [],
        "Failed attempts to open the alert log or to write to it.");
    HTTP_CONNECTIONS = gauge("flowsensor_http_connections", [],
        "Open connections to the sensor's HTTP server.");
    HTTP_REQUESTS = counter("flowsensor_http_requests_total", ["path", "code"],
        "Requests by path and status; paths that do not exist are path=\"other\".");
    HTTP_CLOSED = counter("flowsensor_http_connections_cut_total", ["reason"],
        "Connections that the HTTP server refused or cut off.");
    RENDER_DURATION = gauge("flowsensor_metrics_render_seconds", [],
        "How long rendering the previous exposition took.");
    PROCESS_CPU = counter("process_cpu_seconds_total", [],
        "Total user and system CPU time spent in seconds.");
    PROCESS_RESIDENT = gauge("process_resident_memory_bytes", [],
        "Resident memory size in bytes.");
    PROCESS_VIRTUAL = gauge("process_virtual_memory_bytes", [],
        "Virtual memory size in bytes.");
    PROCESS_START = gauge("process_start_time_seconds", [],
        "Start time of the process since unix epoch in seconds.");
    PROCESS_OPEN_FDS = gauge("process_open_fds", [],
        "Number of open file descriptors.");
    PROCESS_MAX_FDS = gauge("process_max_fds", [],
        "Maximum number of open file descriptors.");
    PROCESS_THREADS = gauge("process_threads", [],
        "Number of OS threads in the process.");
}

/// The samples of one family.
#[derive(Debug)]
pub struct Samples {
    family: &'static Family,
    metrics: Vec<Metric>,
}

impl Samples {
    /// None so far.
    #[must_use]
    pub const fn of(family: &'static Family) -> Self {
        Self { family, metrics: Vec::new() }
    }

    /// Adds a sample; `labels` are the values in the order of the family's label names.
    pub fn add(&mut self, labels: &[&str], value: f64) {
        let mut metric = self.metric(labels);
        match self.family.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            Kind::Histogram => unreachable!("histograms must be added with add_histogram"),
        }
        self.metrics.push(metric);
    }

    /// Adds the samples of a histogram.
    pub fn add_histogram(&mut self, labels: &[&str], durations: &DurationHistogram) {
        let bucket = |(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(durations.buckets().map(bucket).collect());
        histogram.set_sample_count(durations.count());
        histogram.set_sample_sum(durations.sum().as_secs_f64());
        let mut metric = self.metric(labels);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
    }

    /// In the encoder's form; none without a sample.
    #[must_use]
    pub fn into_family(self) -> Option<MetricFamily> {
        if self.metrics.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.family.name.to_owned());
        family.set_help(self.family.help.to_owned());
        family.set_field_type(match self.family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(self.metrics);
        Some(family)
    }

    fn metric(&self, labels: &[&str]) -> Metric {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        let pairs = self.family.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        Metric::from_label(pairs.collect())
    }
}
