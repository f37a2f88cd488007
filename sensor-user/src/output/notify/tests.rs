//! Posting, against servers that behave and servers that do not.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc::{Receiver as Requests, RecvTimeoutError, channel},
    thread,
    time::Instant,
};

use serde_json::Value;

use super::*;
use crate::{
    config::Endpoint,
    output::{
        fixture::{START, address, alert},
        json,
    },
    suppress::{Suppressed, Suppression},
};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

/// How a server answers the requests to come: with the statuses in turn, then with the last.
type Answers = &'static [u16];

/// A server and what it was asked.
struct Server {
    endpoint: Endpoint,
    requests: Requests<(String, Value)>,
}

impl Server {
    fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (send, requests) = channel();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut request = String::new();
                stream.read_line(&mut request).unwrap();
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    if line == "\r\n" {
                        break;
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).unwrap();
                let status = answers.get(number).or(answers.last()).unwrap();
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}");
                // Told before it is answered: what the notifier counts as delivered has been told.
                if send.send((request.trim_end().to_owned(), serde_json::from_slice(&body).unwrap())).is_err()
                {
                    return;
                }
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { endpoint: Endpoint { host: "127.0.0.1".to_owned(), port, path: "/hook".to_owned() }, requests }
    }

    fn next(&self) -> (String, Value) {
        self.requests.recv_timeout(LIMIT).expect("a request must come")
    }
}

fn impatience() -> Patience {
    Patience {
        queue: 16,
        deadline: Duration::from_secs(5),
        backoff: Duration::from_millis(10),
        longest_backoff: Duration::from_millis(40),
        resend: Duration::from_mins(1),
        expiry: LIMIT,
    }
}

fn notifier(alertmanager: &[&Server], webhook: &[&Server], patience: Patience) -> Notifier {
    let endpoints = |servers: &[&Server]| servers.iter().map(|server| server.endpoint.clone()).collect();
    let notify =
        Notify { alertmanager: endpoints(alertmanager), webhook: endpoints(webhook), ..Notify::default() };
    Notifier::start(&notify, "http://192.0.2.1:19810/", patience).unwrap().expect("it has receivers")
}

fn torrent(state: AlertState) -> Alert {
    alert(AlertKind::Torrent, address("10.0.0.5"), state)
}

fn suppressed(alert: Alert, until: Timestamp) -> Alert {
    Alert { suppressed: Some(Suppressed { until, reason: "known".into() }), ..alert }
}

/// The status once it satisfies `settled`.
fn wait_for(notifier: &Notifier, settled: impl Fn(&ReceiverStatus) -> bool) -> ReceiverStatus {
    let begin = Instant::now();
    loop {
        let status = notifier.status().remove(0);
        if settled(&status) {
            return status;
        }
        assert!(begin.elapsed() < LIMIT, "{status:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn nothing_to_post_to_is_no_notifier() {
    assert!(Notifier::start(&Notify::default(), "", Patience::default()).unwrap().is_none());
}

#[test]
fn a_webhook_gets_the_object_of_the_alert_log_for_each_beginning_and_end() {
    let server = Server::start(&[200]);
    let mut notifier = notifier(&[], &[&server], impatience());
    for state in [AlertState::Firing, AlertState::Resolved] {
        notifier.alert(&torrent(state));
        let (request, object) = server.next();
        assert_eq!(request, "POST /hook HTTP/1.1");
        let mut expected = Vec::new();
        json::write_alert(&mut expected, &torrent(state)).unwrap();
        assert_eq!(object, serde_json::from_slice::<Value>(&expected).unwrap());
    }
    let status = notifier.close(LIMIT).remove(0);
    assert_eq!((status.delivered, status.errors, status.expired), (2, 0, 0));
}

#[test]
fn an_alertmanager_is_told_what_it_is_about_and_when_it_ended() {
    let server = Server::start(&[200]);
    let mut notifier = notifier(&[&server], &[], impatience());
    notifier.alert(&torrent(AlertState::Firing));
    let (request, alerts) = server.next();
    assert_eq!(request, "POST /hook/api/v2/alerts HTTP/1.1");
    let firing = &alerts[0];
    let labels = serde_json::json!({
        "alertname": "FlowSensorTorrent", "kind": "torrent", "source": "10.0.0.5",
        "severity": "critical", "instance": "192.0.2.1:19810",
    });
    assert_eq!(firing["labels"], labels);
    assert_eq!(firing["annotations"]["summary"], "10.0.0.5 opened 214 new connections in 10 s");
    assert_eq!(firing["annotations"]["runbook_url"], "docs/runbook.md#flowsensortorrent");
    assert_eq!(firing["annotations"]["evidence"], r#"{"new_connections":214}"#);
    assert_eq!(firing["generatorURL"], "http://192.0.2.1:19810/");
    let begun = START.plus(Duration::from_secs(10)).to_string();
    assert_eq!(firing["startsAt"], begun);
    // Four periods ahead of the wall clock, or of a beginning that lies beyond it.
    assert!(firing["endsAt"].as_str() >= firing["startsAt"].as_str(), "{firing}");

    let mut over = torrent(AlertState::Resolved);
    over.finding.time = START.plus(Duration::from_secs(70));
    notifier.alert(&over);
    let resolved = &server.next().1[0];
    assert_eq!((&resolved["labels"], &resolved["startsAt"]), (&labels, &firing["startsAt"]));
    assert_eq!(resolved["endsAt"], over.finding.time.to_string());
    assert_eq!(resolved["annotations"], firing["annotations"], "the numbers are those of the beginning");
    assert_eq!(wait_for(&notifier, |status| status.delivered == 2).errors, 0);
}

#[test]
fn an_alertmanager_is_told_again_for_as_long_as_an_alert_holds() {
    let server = Server::start(&[200]);
    let patience = Patience { resend: Duration::from_millis(20), ..impatience() };
    let mut notifier = notifier(&[&server], &[], patience);
    notifier.alert(&torrent(AlertState::Firing));
    let first = server.next().1;
    for _ in 0..3 {
        assert_eq!(server.next().1[0]["labels"], first[0]["labels"]);
    }
    notifier.alert(&torrent(AlertState::Resolved));
    wait_for(&notifier, |status| status.delivered == 2);
    while server.requests.try_recv().is_ok() {}
    let silence = server.requests.recv_timeout(patience.resend * 10);
    assert_eq!(silence.unwrap_err(), RecvTimeoutError::Timeout, "what is over is not repeated");
}

#[test]
fn a_receiver_that_is_down_is_tried_again_until_it_is_up() {
    for alertmanager in [true, false] {
        let server = Server::start(&[503, 500, 429, 200]);
        let (managers, hooks): (&[&Server], &[&Server]) =
            if alertmanager { (&[&server], &[]) } else { (&[], &[&server]) };
        let mut notifier = notifier(managers, hooks, impatience());
        notifier.alert(&torrent(AlertState::Firing));
        let status = wait_for(&notifier, |status| status.delivered == 1);
        assert_eq!((status.errors, status.rejected, status.expired, status.dropped), (3, 0, 0, 0));
    }
}

#[test]
fn what_a_receiver_refuses_is_not_repeated() {
    for alertmanager in [true, false] {
        let server = Server::start(&[400, 200]);
        let (managers, hooks): (&[&Server], &[&Server]) =
            if alertmanager { (&[&server], &[]) } else { (&[], &[&server]) };
        let mut notifier = notifier(managers, hooks, impatience());
        notifier.alert(&torrent(AlertState::Firing));
        wait_for(&notifier, |status| status.rejected == 1);
        notifier.alert(&alert(AlertKind::Scan, address("10.0.0.6"), AlertState::Firing));
        assert!(wait_for(&notifier, |status| status.delivered == 1).errors == 1);
    }
}

#[test]
fn a_receiver_that_never_answers_holds_up_nobody_and_what_it_misses_is_counted() {
    // It takes connections, and nothing else.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    let well = Server::start(&[200]);
    let notify = Notify {
        webhook: vec![
            Endpoint { host: "127.0.0.1".to_owned(), port, path: "/".to_owned() },
            well.endpoint.clone(),
        ],
        ..Notify::default()
    };
    let patience = Patience { deadline: LIMIT, queue: 64, ..impatience() };
    let mut notifier = Notifier::start(&notify, "", patience).unwrap().unwrap();
    let begin = Instant::now();
    for batch in 0..4 {
        for _ in 0..32 {
            notifier.alert(&torrent(AlertState::Firing));
        }
        let all = 32 * (batch + 1);
        let of_well = |status: &ReceiverStatus| status.delivered;
        while notifier.status().iter().map(of_well).max() < Some(all) {
            assert!(begin.elapsed() < LIMIT);
            thread::sleep(Duration::from_millis(2));
        }
    }
    let name = format!("webhook@127.0.0.1:{port}");
    let status = notifier.status().into_iter().find(|status| status.name == name).unwrap();
    assert_eq!((status.delivered, status.dropped), (0, 128 - 64 - 1), "64 wait and one is under way");
    let begin = Instant::now();
    let _ = notifier.close(Duration::from_millis(50));
    assert!(begin.elapsed() < Duration::from_secs(5), "stopping must not wait for it");
}

#[test]
fn stopping_gives_up_what_cannot_be_delivered_and_counts_it() {
    let server = Server::start(&[503]);
    let patience = Patience { backoff: LIMIT, longest_backoff: LIMIT * 2, expiry: LIMIT * 3, ..impatience() };
    let mut notifier = notifier(&[], &[&server], patience);
    (0..3).for_each(|_| notifier.alert(&torrent(AlertState::Firing)));
    wait_for(&notifier, |status| status.errors == 1);
    let status = notifier.close(LIMIT).remove(0);
    assert_eq!((status.delivered, status.expired, status.errors), (0, 3, 3), "each is tried once more");
}

#[test]
fn a_suppressed_alert_is_posted_only_if_it_outlasts_the_suppression() {
    let server = Server::start(&[200]);
    let mut notifier = notifier(&[], &[&server], impatience());
    let until = START.plus(Duration::from_mins(1));
    let [short, long] = ["10.0.0.8", "10.0.0.9"].map(address);
    for source in [short, long] {
        notifier.alert(&suppressed(alert(AlertKind::Scan, source, AlertState::Firing), until));
    }
    notifier.alert(&suppressed(alert(AlertKind::Scan, short, AlertState::Resolved), until));
    notifier.advance(START);
    notifier.alert(&torrent(AlertState::Firing));
    assert_eq!(server.next().1["source"], "10.0.0.5", "nothing was posted before");
    notifier.advance(until);
    assert_eq!(server.next().1["source"], "10.0.0.9");
    notifier.advance(until);
    notifier.alert(&alert(AlertKind::Scan, long, AlertState::Resolved));
    assert_eq!(server.next().1["state"], "resolved");
    assert_eq!(notifier.close(LIMIT)[0].delivered, 3);
}

#[test]
fn what_a_new_configuration_suppresses_ends_for_receivers_and_begins_again_when_it_no_longer_does() {
    let server = Server::start(&[200]);
    let mut notifier = notifier(&[], &[&server], impatience());
    notifier.alert(&torrent(AlertState::Firing));
    assert_eq!(server.next().1["state"], "firing");
    let (now, until) = (START.plus(Duration::from_mins(5)), START.plus(Duration::from_hours(1)));
    let known =
        Suppression { source: "10.0.0.0/24".parse().unwrap(), kind: None, until, reason: "known".into() };
    notifier.suppress(std::slice::from_ref(&known), now);
    let end = server.next().1;
    assert_eq!(
        (&end["state"], &end["suppressed"], &end["time"]),
        (&"resolved".into(), &"known".into(), &now.to_string().into())
    );
    notifier.suppress(&[known], now);
    notifier.suppress(&[], now);
    let again = server.next().1;
    assert_eq!(
        (&again["state"], again.get("suppressed")),
        (&"firing".into(), None),
        "once, and without the mark"
    );
    notifier.alert(&torrent(AlertState::Resolved));
    assert_eq!(server.next().1["state"], "resolved");
    assert_eq!(notifier.close(LIMIT)[0].delivered, 4);
}

#[test]
fn a_mirror_that_is_wrong_is_posted_with_its_remedy() {
    let server = Server::start(&[200]);
    let hook = Server::start(&[200]);
    let notifier = notifier(&[&server], &[&hook], impatience());
    let diagnosis = Diagnosis {
        problem: crate::mirror::Problem::OneWay,
        interface: None,
        since: START,
        evidence: "of 20 of 20 only one direction".to_owned(),
    };
    notifier.mirror(&diagnosis, None, AlertState::Firing, START);
    let posted = server.next().1;
    assert_eq!(posted[0]["labels"]["alertname"], "FlowSensorMirrorWrong");
    assert_eq!(posted[0]["labels"]["problem"], "one_way");
    let object = hook.next().1;
    assert_eq!((&object["type"], &object["state"]), (&"mirror".into(), &"firing".into()));
    assert!(object["remedy"].as_str().unwrap().contains("both directions"), "{object}");
}
