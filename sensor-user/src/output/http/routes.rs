//! What is answered to a request.

use std::{fmt::Write as _, time::Duration, time::Instant};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{
        ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
        CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use tracing::warn;

use super::{HttpStatus, Path, status::Counters};
use crate::{
    capture::live::program::XdpMode,
    output::{
        metrics::{self, Exposition},
        process::ProcessStatus,
        publish::Reader,
        snapshot::Snapshot,
    },
};

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// On every response. The page needs nothing from anywhere, may be framed by nobody, and is never stored.
const SECURITY_HEADERS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// Answers from the latest snapshot.
#[derive(Debug)]
pub struct Routes {
    reader: Reader,
    stalled_after: Duration,
    counters: Counters,
}

/// A response before its headers.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    gzipped: bool,
}

impl Answer {
    fn text(status: StatusCode, body: &'static str) -> Self {
        Self { status, content_type: TEXT, body: Bytes::from_static(body.as_bytes()), gzipped: false }
    }
}

impl Routes {
    /// Answers from `reader`; drains are taken to have stopped after `stalled_after` without one.
    #[must_use]
    pub fn new(reader: Reader, stalled_after: Duration) -> Self {
        Self { reader, stalled_after, counters: Counters::default() }
    }

    pub(super) const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The response to `request`; after the `last` the connection is closed.
    pub(super) fn answer<B: Body>(&self, request: &Request<B>, last: bool) -> Response<Full<Bytes>> {
        let path = Path::of(request.uri().path());
        let answer = self.choose(path, request);
        self.counters.request(path, answer.status.as_u16());
        let close = last || answer.status == StatusCode::PAYLOAD_TOO_LARGE;
        with_headers(answer, path, close)
    }

    fn choose<B: Body>(&self, path: Path, request: &Request<B>) -> Answer {
        if path == Path::Other {
            return Answer::text(StatusCode::NOT_FOUND, "not found\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        }
        if !request.body().is_end_stream() {
            return Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "no request bodies\n");
        }
        match path {
            Path::Root => self.landing(),
            Path::Metrics => self.metrics(accepts_gzip(request.headers())),
            Path::Healthy => self.healthy(),
            Path::Ready => self.ready(),
            Path::Other => Answer::text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn metrics(&self, gzipped: bool) -> Answer {
        let latest = self.reader.latest();
        let render = |snapshot: &Snapshot| self.render(snapshot);
        let body = if gzipped { latest.gzip(render) } else { latest.text(render) };
        Answer { status: StatusCode::OK, content_type: metrics::CONTENT_TYPE, body, gzipped }
    }

    fn render(&self, snapshot: &Snapshot) -> String {
        let begin = Instant::now();
        let process = ProcessStatus::read();
        if let Err(error) = &process {
            warn!(%error, "no process metrics");
        }
        let http: HttpStatus = self.counters.status();
        let text = metrics::render(&Exposition { snapshot, process: process.as_ref().ok(), http: &http });
        self.counters.rendered(begin.elapsed());
        text
    }

    fn healthy(&self) -> Answer {
        if self.reader.latest().age() < self.stalled_after {
            Answer::text(StatusCode::OK, "healthy\n")
        } else {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "no drain for too long\n")
        }
    }

    fn ready(&self) -> Answer {
        if self.reader.latest().snapshot().ready() {
            Answer::text(StatusCode::OK, "ready\n")
        } else {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "not counting on every interface yet\n")
        }
    }

    fn landing(&self) -> Answer {
        let latest = self.reader.latest();
        let snapshot = latest.snapshot();
        let mut page = String::from(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<title>flow-sensor</title>\n\
             <h1>flow-sensor</h1>\n",
        );
        let build = snapshot.build;
        // Writing to memory cannot fail.
        let _ = writeln!(page, "<p>Version {}, revision {}.</p>\n<ul>", build.version, build.revision);
        for interface in &snapshot.interfaces {
            let state = interface.reading.mode.map_or("not attached", XdpMode::name);
            let _ = writeln!(page, "<li>{}: {state}</li>", escape(&interface.name));
        }
        page.push_str(
            "</ul>\n<ul>\n<li><a href=\"/metrics\">Metrics</a></li>\n\
             <li><a href=\"/-/healthy\">Health</a></li>\n<li><a href=\"/-/ready\">Readiness</a></li>\n</ul>\n",
        );
        Answer { status: StatusCode::OK, content_type: HTML, body: page.into(), gzipped: false }
    }
}

fn with_headers(answer: Answer, path: Path, close: bool) -> Response<Full<Bytes>> {
    let Answer { status, content_type, body, gzipped } = answer;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if path == Path::Metrics {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if gzipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the client takes gzip (RFC 9110, section 12.5.3); no header means that it does not say so.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = None;
    for value in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for item in value.split(',') {
            let (coding, parameter) = item.split_once(';').unwrap_or((item, ""));
            let weight = parameter.trim().strip_prefix("q=").map_or(Ok(1.0), |q| q.trim().parse::<f32>());
            let wanted = weight.is_ok_and(|weight| weight > 0.0);
            let coding = coding.trim();
            if coding.eq_ignore_ascii_case("gzip") {
                return wanted;
            }
            if coding == "*" {
                any = Some(wanted);
            }
        }
    }
    any.unwrap_or(false)
}

/// `text` as HTML shows it. An interface may be called anything but `/` and blanks.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
