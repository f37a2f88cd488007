//! What is refused and how, and that what is printed is what is meant.

use std::{collections::BTreeSet, io::Write as _};

use proptest::prelude::*;

use super::*;
use crate::{
    alert::AlertKind,
    clock::Timestamp,
    detect::{allow::Whom, literal::Side},
};

pub(super) fn config(yaml: &str) -> Result<Config, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file must be possible");
    file.write_all(yaml.as_bytes()).expect("it must be writable");
    Config::try_from(Settings::read(file.path())?)
}

/// The message for a value, without the path of the file.
pub(super) fn refusal(yaml: &str) -> String {
    match config(yaml) {
        Err(ConfigError::Syntax { problem, .. }) => problem,
        Err(error) => error.to_string(),
        Ok(config) => panic!("{yaml} must be refused, not mean {config:?}"),
    }
}

pub(super) fn network(text: &str) -> IpNet {
    text.parse().expect("a network")
}

#[test]
fn nothing_said_means_the_defaults() {
    for yaml in ["", "\n# only a comment\n", "{}", "capacity: {}"] {
        assert_eq!(config(yaml).expect(yaml), Config::default(), "{yaml}");
    }
}

#[test]
fn every_key_is_read() {
    let yaml = "
interfaces: [mirror0, mirror1]
local_networks: [198.51.100.0/24, 2001:db8::/32]
drain: 500ms
interval: 5s
window: 12
first_seen_memory: 2h
capacity: {ipv4_flows: 2048, ipv6_flows: 1024, trifectas: 5000, peers: 6000, sources: 70, suspects: 80}
page_names: [sensor.example.org]
max_sources: 8
mirror_action: drop
promiscuous: false
decapsulate: [vxlan, gtp-u]
vxlan_ports: [4789, 4790]
listen: '[::1]:9000'
alert_log: /var/log/alerts.json
ignored_ports: [53]
detect: {sensitivity: high, count: 300, variance: {under: 0.5, trifectas: 20}}
groups: {scanners: [198.51.100.7, 198.51.100.64/26]}
allow: [{source: scanners, destination: 192.0.2.0/24, ports: [22, 23], kind: scan, reason: audits}]
notify: {alertmanager: ['http://[::1]:9093/am'], webhook: ['http://hook/a?b=c'], page: 'http://sensor/', runbook: wiki}
suppress: [{source: 198.51.100.7, kind: scan, until: '2027-01-15T08:00:00Z', reason: our scanner}]
";
    let networks = ["198.51.100.0/24", "2001:db8::/32"].map(|network| network.parse().unwrap());
    let scanners = ["198.51.100.7/32", "198.51.100.64/26"].map(network);
    let expected = Config {
        interfaces: vec!["mirror0".to_owned(), "mirror1".to_owned()],
        local_networks: LocalNetworks::new(&networks),
        drain: Duration::from_millis(500),
        interval: Duration::from_secs(5),
        window: 12,
        first_seen_memory: Duration::from_hours(2),
        capacity: Capacity {
            ipv4_flows: 2048,
            ipv6_flows: 1024,
            trifectas: 5000,
            peers: 6000,
            sources: 70,
            suspects: 80,
        },
        max_sources: 8,
        mirror_action: MirrorAction::Drop,
        promiscuous: false,
        decapsulate: Decapsulate::new(Decapsulate::VXLAN | Decapsulate::GTP, [4789, 4790, 0, 0]),
        listen: "[::1]:9000".parse().unwrap(),
        page_names: vec!["sensor.example.org".to_owned()],
        alert_log: Some("/var/log/alerts.json".into()),
        ignored_ports: vec![53],
        sensitivity: Sensitivity::High,
        literal: vec![Rule::Count(300), Rule::Variance { side: Side::Under, bound: 0.5, trifectas: 20 }],
        groups: BTreeMap::from([("scanners".to_owned(), scanners.to_vec())]),
        allow: vec![Allowance {
            source: Some(Whom::new("scanners", &scanners)),
            destination: Some(Whom::new("192.0.2.0/24", &[network("192.0.2.0/24")])),
            ports: vec![22, 23],
            kind: Some(AlertKind::Scan),
            reason: "audits".into(),
        }],
        notify: Notify {
            alertmanager: vec![Endpoint { host: "::1".to_owned(), port: 9093, path: "/am".to_owned() }],
            webhook: vec![Endpoint { host: "hook".to_owned(), port: 80, path: "/a?b=c".to_owned() }],
            page: Some("http://sensor/".to_owned()),
            runbook: "wiki".to_owned(),
        },
        suppress: vec![Suppression {
            source: "198.51.100.7/32".parse().unwrap(),
            kind: Some(AlertKind::Scan),
            until: Timestamp::from_secs(1_800_000_000),
            reason: "our scanner".into(),
        }],
    };
    assert_eq!(config(yaml).unwrap(), expected);
}

#[test]
fn a_refusal_names_key_value_and_remedy() {
    let cases = [
        ("drain: 3s", "interval: 10s is not a multiple of drain (3s): choose one that is"),
        ("detect: {sensitivity: loud}", "detect.sensitivity: \"loud\" is none: choose low, normal or high"),
        ("drain: 99ms", "drain: 99ms is out of range: choose between 100ms and 10s"),
        ("drain: 11s", "drain: 11s is out of range: choose between 100ms and 10s"),
        ("{drain: 61s, interval: 2m}", "drain: 1m 1s is out of range: choose between 100ms and 1m"),
        ("interval: 500ms", "interval: 500ms is out of range: choose between 1s and 5m"),
        ("interval: 6m", "interval: 6m is out of range: choose between 1s and 5m"),
        (
            "interval: 10",
            "interval: \"10\" is not a duration: write a number and its unit, such as 500ms, 10s or 1h",
        ),
        (
            "drain: -1s",
            "drain: \"-1s\" is not a duration: write a number and its unit, such as 500ms, 10s or 1h",
        ),
        ("first_seen_memory: 1s", "first_seen_memory: 1s is out of range: choose between 10s and 168h"),
        ("window: 1", "window: 1 is out of range: choose between 2 and 10000"),
        (
            "page_names: [...]",
            "page_names: \"...\" is no name of a host: write one without scheme and port, such as sensor.example.org",
        ),
        ("page_names: [sensor.lan, Sensor.LAN.]", "page_names: sensor.lan is given twice: remove one"),
        (
            "page_names: ['http://sensor/']",
            "page_names: \"http://sensor/\" is no name of a host: write one without scheme and port, such as sensor.example.org",
        ),
        ("max_sources: 1001", "max_sources: 1001 is out of range: choose between 0 and 1000"),
        (
            "capacity: {ipv4_flows: 99999999999}",
            "capacity.ipv4_flows: 99999999999 is out of range: choose between 1024 and 16777216",
        ),
        (
            "local_networks: [10.1.2.3/8]",
            "local_networks: 10.1.2.3/8 has bits set beyond its prefix: \
             write 10.0.0.0/8 for the network, 10.1.2.3/32 for the address",
        ),
        (
            "local_networks: [10.1.2.3]",
            "local_networks: \"10.1.2.3\" has no prefix length: write 10.1.2.3/32 for this one address",
        ),
        (
            "local_networks: [office]",
            "local_networks: \"office\" is not a network: write an address and a prefix length, such as 10.0.0.0/8",
        ),
        (
            "local_networks: []",
            "local_networks: [] names no network: name at least one, or leave the key out",
        ),
        ("local_networks: [10.0.0.0/8, 10.0.0.0/8]", "local_networks: 10.0.0.0/8 is given twice: remove one"),
        ("interfaces: [eth0, eth0]", "interfaces: eth0 is given twice: remove one"),
        (
            "interfaces: [no such name]",
            "interfaces: \"no such name\" cannot be the name of an interface: `ip link` lists those that exist",
        ),
        ("ignored_ports: [80, 80]", "ignored_ports: 80 is given twice: remove one"),
        ("mirror_action: reject", "mirror_action: \"reject\" is none: choose auto, pass or drop"),
        (
            "decapsulate: [gre, wireguard]",
            "decapsulate: \"wireguard\" is no tunnel that can be opened: \
             choose from gre, erspan, vxlan, geneve, ipip, gtp-u",
        ),
        ("decapsulate: [gre, gre]", "decapsulate: gre is given twice: remove one"),
        (
            "{decapsulate: [gre], vxlan_ports: [4789]}",
            "vxlan_ports: [4789] means nothing while vxlan is not opened: \
             add vxlan to decapsulate, or leave this out",
        ),
        ("vxlan_ports: []", "vxlan_ports: [] is not 1 to 4 ports: name those that VXLAN uses"),
        (
            "vxlan_ports: [1, 2, 3, 4, 5]",
            "vxlan_ports: [1, 2, 3, 4, 5] is not 1 to 4 ports: name those that VXLAN uses",
        ),
        (
            "vxlan_ports: [4789, 0]",
            "vxlan_ports: [4789, 0] names port 0, which no datagram has: name those that VXLAN uses",
        ),
        ("vxlan_ports: [4789, 4789]", "vxlan_ports: 4789 is given twice: remove one"),
        (
            "listen: localhost",
            "listen: \"localhost\" is no address to listen on: \
             write one with its port, such as 127.0.0.1:19810 or [::1]:19810",
        ),
        ("\nwindow: few", "line 2 (`window: few`): the value does not fit the type u64"),
        ("ignored_ports: [70000]", "line 1 (`ignored_ports: [70000]`): the value does not fit the type u16"),
        ("promiscuous: maybe", "line 1 (`promiscuous: maybe`): neither true nor false"),
    ];
    for (yaml, message) in cases {
        assert_eq!(refusal(yaml), message, "{yaml}");
    }
}

#[test]
fn what_is_refused_of_notifications_names_key_value_and_remedy() {
    let cases = [
        (
            "notify: {alertmanager: ['https://am:9093']}",
            "notify.alertmanager: \"https://am:9093\" asks for TLS, which the sensor leaves to a proxy: \
             write the http:// URL of one on this host",
        ),
        (
            "notify: {webhook: [localhost]}",
            "notify.webhook: \"localhost\" is no URL to post to: write one such as http://127.0.0.1:9093",
        ),
        (
            "notify: {webhook: ['http://host:port/']}",
            "notify.webhook: \"http://host:port/\" has no host, or a port that is none: \
             write one such as http://127.0.0.1:9093",
        ),
        (
            "notify: {webhook: ['http://me:word@host/']}",
            "notify.webhook: \"http://me:word@host/\" has a user name, which would be sent in the clear: leave it out",
        ),
        (
            "suppress: [{source: 10.0.0.1/8, until: '2027-01-01T00:00:00Z', reason: x}]",
            "suppress.source: 10.0.0.1/8 has bits set beyond its prefix: \
             write 10.0.0.0/8 for the network, 10.0.0.1/32 for the address",
        ),
        (
            "suppress: [{source: 10.0.0.1, kind: worm, until: '2027-01-01T00:00:00Z', reason: x}]",
            "suppress.kind: \"worm\" is none: choose from torrent, scan, fanout, count, variance, or leave it out for all",
        ),
        (
            "suppress: [{source: 10.0.0.1, until: tomorrow, reason: x}]",
            "suppress.until: \"tomorrow\" is no time: write one such as 2027-01-31T18:00:00Z",
        ),
        (
            "suppress: [{source: 10.0.0.1, until: '2027-01-01T00:00:00Z', reason: ' '}]",
            "suppress.reason: \" \" says nothing: write why, for whoever wonders later",
        ),
    ];
    for (yaml, message) in cases {
        assert_eq!(refusal(yaml), message, "{yaml}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    let message = refusal("drian: 1s");
    assert!(message.starts_with("line 1 (`drian: 1s`): unknown field `drian`"), "{message}");
    assert!(message.contains("drain"), "{message}");
    assert!(refusal("capacity: {flows: 1}").contains("unknown field `flows`"));
}

#[test]
fn what_is_no_yaml_is_refused_in_one_line() {
    for yaml in ["window: [", "- a\n- b\n", "\t: x", "window: 3\nwindow: 4"] {
        let message = refusal(yaml);
        assert!(!message.is_empty() && !message.contains('\n'), "{yaml}: {message}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Settings::read("/no/such/file".as_ref()).expect_err("there must be no such file");
    assert_eq!(error.to_string(), "cannot read the configuration file /no/such/file");
}

#[test]
fn a_port_alone_listens_everywhere() {
    assert_eq!(config("listen: ':9000'").unwrap().listen, "[::]:9000".parse().unwrap());
}

#[test]
fn the_command_line_overrides_the_file_key_by_key() {
    let file = Settings { window: Some(5), drain: Some("2s".to_owned()), ..Settings::default() };
    let line = Settings {
        window: Some(6),
        capacity: CapacitySettings { peers: Some(9999), ..CapacitySettings::default() },
        ..Settings::default()
    };
    let config = Config::try_from(file.overridden_by(line)).unwrap();
    assert_eq!((config.window, config.drain, config.capacity.peers), (6, Duration::from_secs(2), 9999));
}

fn any_config() -> impl Strategy<Value = Config> {
    let times = (1_u32..=30, 1_u32..=20, 0_u64..1000).prop_map(|(tenths, factor, more)| {
        let drain = Duration::from_millis(100) * tenths;
        let interval = drain * factor;
        (drain, interval, interval + Duration::from_secs(more))
    });
    let times =
        times.prop_filter("an interval of a second or more", |(_, interval, _)| interval.as_secs() >= 1);
    let names = proptest::collection::hash_set("[a-z][a-z0-9.@-]{0,14}", 0..4);
    let networks = proptest::collection::hash_set((any::<std::net::IpAddr>(), 0_u8..=32), 1..5);
    let numbers = (2_usize..=10_000, 0_usize..=1000, 1024_u32..=16_777_216, 1_usize..=1_000_000);
    let rest = (any::<bool>(), 0_usize..3, any::<SocketAddr>(), proptest::option::of("[ -~]{1,20}"));
    let ports = proptest::collection::hash_set(any::<u16>(), 0..5);
    (times, names, networks, numbers, rest, ports, any_tunnels()).prop_map(
        |((drain, interval, first_seen_memory), names, networks, numbers, rest, ports, decapsulate)| {
            let networks: BTreeSet<_> = networks
                .into_iter()
                .map(|(address, prefix)| IpNet::new(address, prefix).expect("32 fits both").trunc())
                .collect();
            let networks: Vec<_> = networks.into_iter().collect();
            let (window, max_sources, flows, sources) = numbers;
            let (promiscuous, action, listen, alert_log) = rest;
            Config {
                interfaces: names.into_iter().collect(),
                local_networks: LocalNetworks::new(&networks),
                drain,
                interval,
                window,
                first_seen_memory,
                capacity: Capacity { ipv4_flows: flows, sources, ..Capacity::default() },
                max_sources,
                mirror_action: MirrorAction::ALL[action],
                promiscuous,
                decapsulate,
                // A scope or flow label is nothing to listen on.
                listen: SocketAddr::new(listen.ip(), listen.port()),
                page_names: vec!["sensor.example.org".to_owned()],
                alert_log: alert_log.map(PathBuf::from),
                ignored_ports: ports.into_iter().collect(),
                sensitivity: Sensitivity::ALL[action],
                literal: [
                    Rule::Count(u64::from(flows % 1000 + 2)),
                    Rule::Variance { side: Side::Over, bound: f64::from(flows) / 1e3, trifectas: 5 },
                ][..action]
                    .to_vec(),
                groups: BTreeMap::from([("here".to_owned(), networks.clone())]),
                allow: vec![Allowance {
                    source: promiscuous.then(|| Whom::new("here", &networks)),
                    destination: None,
                    ports: vec![443],
                    kind: AlertKind::ALL.get(action).copied(),
                    reason: "known".into(),
                }],
                notify: Notify {
                    webhook: vec![Endpoint {
                        host: "hook".to_owned(),
                        port: 1 + u16::from(promiscuous),
                        path: "/".to_owned(),
                    }],
                    ..Notify::default()
                },
                suppress: vec![Suppression {
                    source: "fd00::/8".parse().expect("a network"),
                    kind: AlertKind::ALL.get(action + 1).copied(),
                    until: Timestamp::from_secs(1_800_000_000 + u64::from(flows)),
                    reason: "known".into(),
                }],
            }
        },
    )
}

#[test]
fn settings_that_need_a_new_start_are_named_and_those_that_do_not_are_not() {
    let entry = "suppress: [{source: 10.0.0.1, until: '2030-01-01T00:00:00Z', reason: known}]";
    let changes = [
        ("", vec![]),
        (entry, vec![]),
        ("groups: {dns: [10.0.0.53/32]}\nallow: [{destination: dns, reason: known}]", vec![]),
        ("interval: 20s", vec!["interval"]),
        (
            "notify: {webhook: ['http://hook/']}\ncapacity: {sources: 9}",
            vec!["capacity.sources", "notify.webhook"],
        ),
    ];
    for (text, expected) in changes {
        let new = config(text).unwrap();
        assert_eq!(Config::default().settings_for_restart(&new), expected, "{text}");
        let mut merged = Config::default();
        Reloadable::of(&new).put_into(&mut merged);
        assert_eq!(merged == new, expected.is_empty(), "{text}");
    }
}

fn any_tunnels() -> impl Strategy<Value = Decapsulate> {
    let kinds = proptest::sample::subsequence(Decapsulate::KINDS.to_vec(), 0..=Decapsulate::KINDS.len());
    let ports = proptest::collection::hash_set(1..=u16::MAX, 1..=Decapsulate::MAX_VXLAN_PORTS);
    (kinds, ports).prop_map(|(kinds, ports)| {
        let mut places = [0; Decapsulate::MAX_VXLAN_PORTS];
        places.iter_mut().zip(ports).for_each(|(place, port)| *place = port);
        Decapsulate::new(kinds.iter().fold(0, |kinds, (_, kind)| kinds | kind), places)
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_a_file_that_means_the_same(config in any_config()) {
        let yaml = Settings::from(&config).to_yaml().expect("it must be writable");
        prop_assert_eq!(super::tests::config(&yaml).expect(&yaml), config);
    }
}
