//! Open pages: what they are told, and what they may cost.

use super::*;
use crate::{
    alert::{AlertKind, AlertState},
    output::fixture::{address, alert, drain},
};

/// An open page, which reads its events.
struct Page {
    stream: TcpStream,
    /// Came, and was not asked for yet.
    rest: String,
}

impl Page {
    fn open(running: &Running) -> Self {
        let mut stream = running.connect();
        stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        Self { stream, rest: String::new() }
    }

    /// Everything up to the first `text` that comes.
    fn until(&mut self, text: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.rest.find(text) {
                let rest = self.rest.split_off(at + text.len());
                return std::mem::replace(&mut self.rest, rest);
            }
            let length = self.stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the stream ended before {text:?} came: {}", self.rest);
            self.rest.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    }
}

#[test]
fn nothing_is_served_under_a_foreign_name() {
    let running = start(snapshot(), Limits::default());
    let ask = |path: &str, host: &str| {
        running.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for path in ["/", "/events", "/api/sources/10.0.0.5", "/assets/page.js", "/metrics", "/-/healthy"] {
        let answer = ask(path, "evil.example:19810");
        assert_eq!(answer.status(), 421, "{path}: {}", answer.head);
        assert!(answer.text().contains("page_names"), "{path}: {}", answer.text());
    }
    for path in ["/", "/api/sources/10.0.0.5", "/assets/page.js", "/metrics", "/-/healthy"] {
        assert_eq!(ask(path, "127.0.0.1:19810").status(), 200, "{path}");
        assert_eq!(running.ask(&format!("GET {path} HTTP/1.0\r\n\r\n")).status(), 200, "{path}: no name");
    }
    let absolute = "GET http://evil.example/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    assert_eq!(running.ask(absolute).status(), 421, "the name in the target counts");
}

#[test]
fn an_open_page_is_told_every_drain_and_findings_only_when_there_are_new_ones() {
    let running = start(snapshot(), Limits::default());
    let mut page = Page::open(&running);
    let first = page.until("\"active_count\":1");
    assert!(
        first.contains("content-type: text/event-stream") && first.contains("event: sensor\n"),
        "{first}"
    );
    // The fixture makes its alert anew, so it is news.
    running.publisher.publish(snapshot());
    let again = page.until("\"active_count\":1");
    assert!(again.contains("event: sensor\n") && !again.contains("retry:"), "{again}");
    let mut builder = builder(10);
    running.publisher.publish(builder.snapshot());
    page.until("\"active_count\":0");
    builder.drain(&drain(0));
    running.publisher.publish(builder.snapshot());
    let quiet = page.until("\"drains\":1,");
    builder.drain(&drain(1));
    running.publisher.publish(builder.snapshot());
    let quiet = quiet + &page.until("\"drains\":2,");
    assert!(!quiet.contains("event: findings"), "{quiet}");
}

#[test]
fn a_page_stays_open_beyond_the_deadlines_of_requests() {
    let short = Duration::from_millis(50);
    let limits = Limits { header_deadline: short, write_deadline: short, ..Limits::default() };
    let running = start(builder(10).snapshot(), limits);
    let mut page = Page::open(&running);
    for _ in 0..4 {
        page.until("event: sensor\n");
        thread::sleep(short * 2);
        running.publisher.publish(builder(10).snapshot());
    }
}

#[test]
fn a_page_that_does_not_read_is_cut_off() {
    let limits = Limits { write_deadline: Duration::from_millis(200), ..Limits::default() };
    let running = start(snapshot(), limits);
    let page = Page::open(&running);
    eventually("the deadline must pass", || {
        // Some 200 kB each: soon more than sockets buffer.
        running.publisher.publish(snapshot_of_many());
        let text = running.get("/metrics");
        text.text().contains(r#"flowsensor_http_connections_cut_total{reason="write_deadline"} 1"#)
    });
    drop(page);
}

/// A snapshot with as many alerts as are kept, each with a long sentence.
fn snapshot_of_many() -> Snapshot {
    let mut builder = builder(10);
    for _ in 0..100 {
        let mut alert = alert(AlertKind::Scan, address("10.0.0.5"), AlertState::Firing);
        alert.finding.summary = "x".repeat(2000);
        builder.alert(&alert);
    }
    builder.snapshot()
}

#[test]
fn pages_beyond_the_limit_get_503_until_one_is_closed() {
    let limits = Limits { streams: 1, ..Limits::default() };
    let running = start(snapshot(), limits);
    let mut page = Page::open(&running);
    page.until("event: sensor\n");
    let refused = running.get("/events");
    assert_eq!((refused.status(), refused.text()), (503, "too many pages are open\n"));
    assert_eq!(running.get("/metrics").status(), 200);
    drop(page);
    eventually("the place must become free", || {
        running.publisher.publish(snapshot());
        Page::open(&running).until("content-type: ").starts_with("HTTP/1.1 200")
    });
}

#[test]
fn open_pages_do_not_keep_out_a_scraper_and_end_with_the_sensor() {
    let limits = Limits { connections: 3, ..Limits::default() };
    let running = start(snapshot(), limits);
    let mut pages: Vec<Page> = (0..3).map(|_| Page::open(&running)).collect();
    for page in &mut pages {
        page.until("event: findings\n");
    }
    assert_eq!(running.get("/metrics").status(), 200);
    let begin = Instant::now();
    running.server.stop(PATIENCE);
    assert!(begin.elapsed() < PATIENCE, "streams are not waited for");
}
