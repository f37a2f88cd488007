//! What is said of groups, of what is allowed and of literal rules, and what is refused.

use crate::{
    alert::AlertKind,
    config::tests::{config, network, refusal},
    detect::{
        allow::Whom,
        literal::{Rule, Side},
    },
};

#[test]
fn a_group_stands_for_its_networks_in_allow_and_in_suppress() {
    let config = config(
        "
groups: {lab: [10.1.0.0/16, 'fd00::7']}
allow: [{source: lab, reason: experiments}]
suppress: [{source: lab, kind: scan, until: '2027-01-15T08:00:00Z', reason: known}]
",
    )
    .unwrap();
    let networks = ["10.1.0.0/16", "fd00::7/128"].map(network);
    let [allowance] = config.allow.as_slice() else { panic!("{:?} must be one", config.allow) };
    assert_eq!(allowance.source, Some(Whom::new("lab", &networks)));
    assert_eq!(config.suppress.iter().map(|one| one.source).collect::<Vec<_>>(), networks);
    assert!(config.suppress.iter().all(|one| one.kind == Some(AlertKind::Scan)));
}

/// `count` networks, as they are written in a list.
fn many(from: u8, count: usize) -> String {
    let network = |number: usize| format!("{from}.{}.{}.0/24", number / 256, number % 256);
    (0..count).map(network).collect::<Vec<_>>().join(", ")
}

#[test]
fn groups_are_bounded_each_and_together() {
    assert!(config(&format!("groups: {{lab: [{}]}}", many(10, 1_000))).is_ok());
    assert_eq!(
        refusal(&format!("groups: {{lab: [{}]}}", many(10, 1_001))),
        "groups: lab names 1001 networks: 1000 at most, so join them"
    );
    let groups: Vec<String> = (1..=11).map(|from| format!("g{from}: [{}]", many(from, 1_000))).collect();
    assert_eq!(
        refusal(&format!("groups: {{{}}}", groups.join(", "))),
        "groups: 11000 networks are too many: name 10000 at most in all groups together"
    );
}

#[test]
fn a_suppressed_group_counts_as_many_entries_as_it_has_networks() {
    let suppressing = |networks: usize| {
        let entry = "suppress: [{source: lab, until: '2027-01-15T08:00:00Z', reason: known}]";
        format!("{{groups: {{lab: [{}]}}, {entry}}}", many(10, networks))
    };
    assert_eq!(config(&suppressing(200)).unwrap().suppress.len(), 200);
    assert_eq!(
        refusal(&suppressing(201)),
        "suppress: 10.0.200.0/24 is one too many: entries may come to 200, where a group counts as many as its networks"
    );
}

#[test]
fn literal_rules_are_off_unless_asked_for() {
    assert_eq!(config("detect: {}").unwrap().literal, []);
    assert_eq!(config("detect: {count: 50}").unwrap().literal, [Rule::Count(50)]);
    let over = Rule::Variance { side: Side::Over, bound: 2.5, trifectas: 10 };
    assert_eq!(config("detect: {variance: {over: 2.5}}").unwrap().literal, [over]);
}

#[test]
fn a_refusal_names_key_value_and_remedy() {
    let cases = [
        (
            "groups: {'a b': [10.0.0.0/8]}",
            "groups: \"a b\" cannot be the name of a group: use letters, digits, - and _",
        ),
        ("groups: {lab: []}", "groups: lab names no network: name at least one, or leave the group out"),
        (
            "allow: [{source: lab, reason: x}]",
            "allow.source: \"lab\" is neither an address nor a network, and there are no groups",
        ),
        (
            "{groups: {a: [10.0.0.1]}, allow: [{destination: lab, reason: x}]}",
            "allow.destination: \"lab\" is neither an address nor a network nor one of the groups a",
        ),
        ("allow: [{reason: x}]", "allow: \"x\" allows everything: name a source, a destination or ports"),
        (
            "allow: [{ports: [], reason: x}]",
            "allow.ports: [] names no port: name at least one, or leave the key out",
        ),
        (
            "allow: [{source: 10.0.0.1, reason: ' '}]",
            "allow.reason: \" \" says nothing: write why, for whoever wonders later",
        ),
        (
            "allow: [{source: 10.0.0.1, reason: x}, {source: 10.0.0.2, reason: x}]",
            "allow.reason: \"x\" is given twice: it tells entries apart in metrics",
        ),
        (
            "allow: [{source: 10.0.0.1, ports: [1], kind: count, reason: x}]",
            "allow: \"x\" has a destination or ports, of which literal rules know nothing: name sources only, or use \
             ignored_ports",
        ),
        ("detect: {count: 1}", "detect.count: 1 is out of range: choose between 2 and 1000000"),
        ("detect: {variance: {}}", "detect.variance: its bound is not one: give either over or under"),
        (
            "detect: {variance: {over: 1, under: 2}}",
            "detect.variance: its bound is not one: give either over or under",
        ),
        (
            "detect: {variance: {over: .nan}}",
            "detect.variance: NaN is no bound of a variance: choose a number above 0",
        ),
        ("capacity: {suspects: 1}", "capacity.suspects: 1 is out of range: choose between 16 and 65536"),
    ];
    for (yaml, message) in cases {
        assert_eq!(refusal(yaml), message, "{yaml}");
    }
}
