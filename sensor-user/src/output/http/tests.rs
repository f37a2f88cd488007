//! The server on loopback sockets, with deadlines short enough to wait for.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    thread,
    time::Instant,
};

use super::*;
use crate::output::{
    fixture::{builder, interval, snapshot, source},
    publish::{self, Publisher},
    snapshot::Snapshot,
};

mod pages;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Far longer than anything here takes: only a hanging test meets it.
const PATIENCE: Duration = Duration::from_secs(10);
const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

struct Running {
    server: Server,
    publisher: Publisher,
}

fn start(snapshot: Snapshot, limits: Limits) -> Running {
    let (publisher, reader) = publish::channel(snapshot);
    let server =
        Server::start(LOOPBACK, Routes::new(reader, Duration::from_mins(1), Hosts::default()), limits)
            .unwrap();
    Running { server, publisher }
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request on a connection of its own.
    fn ask(&self, request: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        read_answer(&mut stream)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }
}

#[derive(Debug)]
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Everything up to the end of the connection.
fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that is cut off may end with a reset; what came before counts.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    Answer { head: String::from_utf8_lossy(&bytes[..end]).into_owned(), body: bytes[end..].to_vec() }
}

/// Waits for a condition that another thread brings about.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Connections cut off for `reason`, as a scrape of a new snapshot says; 0 where the scrape fails.
fn cut(running: &Running, reason: &str) -> u64 {
    running.publisher.publish(snapshot());
    let answer = running.get("/metrics");
    let series = format!("flowsensor_http_connections_cut_total{{reason=\"{reason}\"}} ");
    let count = answer.text().lines().find_map(|line| line.strip_prefix(&series)?.parse().ok());
    count.unwrap_or(0)
}

#[test]
fn metrics_are_text_0_0_4_whatever_the_scraper_prefers() {
    let running = start(snapshot(), Limits::default());
    for accept in ["*/*", "application/openmetrics-text;version=1.0.0", "application/vnd.google.protobuf"] {
        let answer =
            running.ask(&format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"));
        assert_eq!(answer.status(), 200, "{}", answer.head);
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(answer.text().contains("flowsensor_source_new_connections{source=\"10.0.0.5\"} 214\n"));
    }
}

#[test]
fn gzip_is_given_to_those_who_take_it() {
    let running = start(snapshot(), Limits::default());
    for (accept, gzipped) in
        [("gzip", true), ("deflate, gzip;q=0.5", true), ("*", true), ("gzip;q=0", false), ("br", false)]
    {
        let answer = running
            .ask(&format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {accept}\r\n\r\n"));
        assert_eq!(answer.header("content-encoding") == Some("gzip"), gzipped, "{accept}: {}", answer.head);
        assert_eq!(answer.header("vary"), Some("accept-encoding"));
        if gzipped {
            let mut text = String::new();
            flate2::read::GzDecoder::new(answer.body.as_slice()).read_to_string(&mut text).unwrap();
            assert!(text.contains("flowsensor_build_info"), "{accept}");
        }
    }
}

#[test]
fn a_scrape_sees_the_latest_drain_and_a_snapshot_is_rendered_once() {
    let running = start(builder(10).snapshot(), Limits::default());
    assert!(running.get("/metrics").text().contains("flowsensor_drains_total 0\n"));
    running.publisher.publish(snapshot());
    let first = running.get("/metrics");
    assert!(first.text().contains("flowsensor_drains_total 1\n"));
    // The process' CPU time and the count of requests would differ in a second rendering.
    assert_eq!(running.get("/metrics").body, first.body);
}

#[test]
fn routes_answer_by_path_and_method() {
    let running = start(snapshot(), Limits::default());
    for (request, status) in [
        ("GET /", 200),
        ("GET /-/healthy", 200),
        ("GET /-/ready", 200),
        ("GET /metrics?name=x", 200),
        ("GET /assets/page.js", 200),
        ("GET /api/sources/10.0.0.5", 200),
        ("HEAD /events", 200),
        ("GET /assets/", 404),
        ("GET /assets/../page.js", 404),
        ("GET /api/sources/10.0.0.250", 404),
        ("GET /api/sources/host", 404),
        ("POST /events", 405),
        ("GET /metrics/", 404),
        ("GET /favicon.ico", 404),
        ("POST /nowhere", 404),
        ("POST /metrics", 405),
        ("DELETE /-/healthy", 405),
        ("TRACE /", 405),
    ] {
        let answer = running.ask(&format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{request}");
        assert!(
            answer.header("content-security-policy").unwrap().contains("default-src 'none'"),
            "{request}"
        );
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET, HEAD"), "{request}");
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let running = start(snapshot(), Limits::default());
    let get = running.get("/metrics");
    let head = running.ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.header("content-length"));
}

#[test]
fn a_sensor_that_does_not_count_is_not_ready_and_one_without_drains_not_healthy() {
    let running = start(builder(10).snapshot(), Limits::default());
    assert_eq!(running.get("/-/ready").status(), 503);
    assert_eq!(running.get("/-/healthy").status(), 200);
    let (_publisher, reader) = publish::channel(snapshot());
    let server =
        Server::start(LOOPBACK, Routes::new(reader, Duration::ZERO, Hosts::default()), Limits::default())
            .unwrap();
    let stalled = Running { server, publisher: running.publisher };
    assert_eq!(stalled.get("/-/healthy").status(), 503);
}

#[test]
fn a_request_body_is_refused_and_ends_the_connection() {
    let running = start(snapshot(), Limits::default());
    for body in
        ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
    {
        let answer = running.ask(&format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{body}"));
        assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")), "{body}");
    }
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let running = start(snapshot(), Limits::default());
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: a\r\n".repeat(65));
    for request in [long, many] {
        let answer = running.ask(&request);
        assert_eq!(answer.status(), 431, "{}", answer.head);
    }
    assert_eq!(running.ask("nonsense\r\n\r\n").status(), 400);
}

#[test]
fn a_client_that_dribbles_its_head_is_cut_off_at_the_deadline() {
    let limits = Limits { header_deadline: Duration::from_millis(100), ..Limits::default() };
    let running = start(snapshot(), limits);
    let begin = Instant::now();
    let mut silent = running.connect();
    let mut dribbling = running.connect();
    let writer = dribbling.try_clone().unwrap();
    let feeder = thread::spawn(move || {
        let mut writer = writer;
        let bytes = b"GET /metrics HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'a'));
        // Ends with the connection: it would take 20 s otherwise.
        for byte in bytes.take(2000) {
            if writer.write_all(&[*byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(read_answer(&mut silent).status(), 0);
    assert_eq!(read_answer(&mut dribbling).status(), 0);
    let took = begin.elapsed();
    assert!(took >= limits.header_deadline && took < PATIENCE, "{took:?}");
    feeder.join().unwrap();
    eventually("both must be counted", || cut(&running, "header_deadline") >= 2);
}

#[test]
fn a_connection_is_kept_between_requests_until_it_idles_too_long() {
    let limits = Limits { idle_deadline: Duration::from_millis(500), ..Limits::default() };
    let running = start(snapshot(), limits);
    let mut stream = running.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).unwrap();
        assert!(bytes[..length].ends_with(b"healthy\n"));
    }
    let begin = Instant::now();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "the server closes the connection");
    assert!(begin.elapsed() < PATIENCE);
}

#[test]
fn the_last_request_of_a_connection_is_told_so() {
    let limits = Limits { requests_per_connection: 2, ..Limits::default() };
    let running = start(snapshot(), limits);
    let mut stream = running.connect();
    let request = "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.repeat(3).as_bytes()).unwrap();
    let answers = read_answer(&mut stream);
    let text = format!("{}{}", answers.head, answers.text());
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "{text}");
    assert_eq!(text.matches("connection: close").count(), 1, "{text}");
}

/// A snapshot whose exposition is larger than what sockets buffer, so that a client that does not read
/// holds up its response.
fn large_snapshot() -> Snapshot {
    let mut builder = builder(4_000);
    let sources = (0..4_000_u32).map(|n| source(Ipv4Addr::from(0x0a00_0000 + n).into(), 1));
    builder.interval(interval(0, sources.collect()));
    builder.snapshot()
}

#[test]
fn a_client_that_does_not_read_is_cut_off_at_the_deadline() {
    let limits = Limits { write_deadline: Duration::from_millis(200), ..Limits::default() };
    let running = start(large_snapshot(), limits);
    let head = running.ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let length: usize = head.header("content-length").unwrap().parse().unwrap();
    let mut stream = running.connect();
    stream.write_all(METRICS.as_bytes()).unwrap();
    stream.read_exact(&mut [0; 16]).unwrap();
    running.publisher.publish(snapshot());
    eventually("the deadline must pass", || cut(&running, "write_deadline") >= 1);
    assert!(read_answer(&mut stream).body.len() < length);
}

#[test]
fn connections_beyond_the_limit_get_503_while_the_others_are_served() {
    let limits = Limits { connections: 2, stall_grace: PATIENCE, ..Limits::default() };
    let running = start(large_snapshot(), limits);
    let mut reading: Vec<TcpStream> = (0..2).map(|_| running.connect()).collect();
    for stream in &mut reading {
        stream.write_all(METRICS.as_bytes()).unwrap();
        // Its response has begun, and does not fit into the sockets' buffers.
        stream.read_exact(&mut [0; 16]).unwrap();
    }
    let refused = running.get("/metrics");
    assert_eq!((refused.status(), refused.text()), (503, "too many connections\n"));
    assert_eq!(refused.header("connection"), Some("close"));
    drop(reading);
    eventually("a place must become free", || running.get("/-/healthy").status() == 200);
}

#[test]
fn one_address_cannot_take_all_connections() {
    let limits = Limits { connections_per_address: 1, stall_grace: PATIENCE, ..Limits::default() };
    let running = start(large_snapshot(), limits);
    let mut reading = running.connect();
    reading.write_all(METRICS.as_bytes()).unwrap();
    reading.read_exact(&mut [0; 16]).unwrap();
    assert_eq!(running.get("/-/healthy").status(), 503);
}

#[test]
fn connections_take_a_quarter_of_the_files_that_may_be_opened_at_most() {
    let limits = |files| {
        let limits = Limits::default().within(files);
        (limits.connections, limits.connections_per_address, limits.streams)
    };
    assert_eq!(limits(None), (128, 64, 12));
    assert_eq!(limits(Some(1024)), (128, 64, 12));
    assert_eq!(limits(Some(64)), (16, 16, 8));
    assert_eq!(limits(Some(8)), (4, 4, 2));
}

#[test]
fn clients_that_only_hold_connections_do_not_keep_out_a_scraper() {
    let limits = Limits { connections: 8, ..Limits::default() };
    let running = start(snapshot(), limits);
    let holding: Vec<TcpStream> = (0..50)
        .map(|_| {
            let mut stream = running.connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(running.get("/metrics").status(), 200);
    }
    drop(holding);
}

#[test]
fn scrapers_at_the_same_time_get_the_same() {
    let running = start(snapshot(), Limits::default());
    let bodies: Vec<Vec<u8>> = thread::scope(|scope| {
        let scrapers: Vec<_> = (0..12).map(|_| scope.spawn(|| running.get("/metrics").body)).collect();
        scrapers.into_iter().map(|scraper| scraper.join().unwrap()).collect()
    });
    assert!(bodies.iter().all(|body| !body.is_empty() && *body == bodies[0]));
}

#[test]
fn stopping_closes_idle_connections_and_frees_the_port() {
    let running = start(snapshot(), Limits::default());
    let address = running.server.address();
    let mut idle = running.connect();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    idle.read_exact(&mut [0; 16]).unwrap();
    let begin = Instant::now();
    running.server.stop(PATIENCE);
    assert!(begin.elapsed() < PATIENCE, "idle connections are not waited for");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_port_that_is_taken_is_named_with_the_remedy() {
    let running = start(snapshot(), Limits::default());
    let address = running.server.address();
    let (_publisher, reader) = publish::channel(snapshot());
    let error = Server::start(address, Routes::new(reader, PATIENCE, Hosts::default()), Limits::default())
        .unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, HttpError::PortTaken { .. }), "{message}");
    assert!(message.contains(&address.to_string()) && message.contains("--listen"), "{message}");
}

#[test]
fn an_address_of_no_interface_is_named_with_the_remedy() {
    let (_publisher, reader) = publish::channel(snapshot());
    // TEST-NET-3 (RFC 5737) is on no interface.
    let address = "203.0.113.1:0".parse().unwrap();
    let error = Server::start(address, Routes::new(reader, PATIENCE, Hosts::default()), Limits::default())
        .unwrap_err();
    assert!(matches!(error, HttpError::NoSuchAddress { .. }), "{error}");
    assert!(error.to_string().contains("203.0.113.1"), "{error}");
}
