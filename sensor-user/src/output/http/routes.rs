//! What is answered to a request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::{Either, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Bytes},
    header::{
        ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
        CONTENT_TYPE, HOST, HeaderName, HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use tracing::warn;

use super::{
    Hosts, HttpStatus, Path,
    events::{Events, Streams},
    slots::Slot,
    status::Counters,
};
use crate::output::{
    metrics::{self, Exposition},
    page::{
        self,
        assets::{self, Asset},
    },
    process::ProcessStatus,
    publish::Reader,
    snapshot::Snapshot,
};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// On every response. The page needs nothing from anywhere else, runs no script but its own, makes no markup
/// from text, may be framed by nobody, and is never stored.
const SECURITY_HEADERS: [(HeaderName, &str); 4] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
         require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors 'none'; base-uri 'none'; \
         form-action 'none'",
    ),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// What whoever asks by a name gets that is not the sensor's.
const FOREIGN_NAME: &str = "this sensor does not know the name that you asked for it by: use its address, or add \
    the name to page_names in its configuration\n";

/// A body in one piece, or one that goes on.
pub(super) type AnswerBody = Either<Full<Bytes>, Events>;

/// Answers from the latest snapshot.
#[derive(Debug)]
pub struct Routes {
    reader: Reader,
    stalled_after: Duration,
    counters: Counters,
    streams: Streams,
    hosts: Hosts,
}

/// A response before its headers.
struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
    gzipped: bool,
}

impl Answer {
    const fn of(status: StatusCode, body: Bytes) -> Self {
        Self { status, content_type: TEXT, body, gzipped: false }
    }

    const fn text(status: StatusCode, body: &'static str) -> Self {
        Self::of(status, Bytes::from_static(body.as_bytes()))
    }

    fn asset(asset: &Asset) -> Self {
        Self { content_type: asset.content_type, ..Self::text(StatusCode::OK, asset.body) }
    }
}

impl Routes {
    /// Answers from `reader` to whoever asks by an address or one of `hosts`; drains are taken to have
    /// stopped after `stalled_after` without one.
    #[must_use]
    pub fn new(reader: Reader, stalled_after: Duration, hosts: Hosts) -> Self {
        Self { reader, stalled_after, counters: Counters::default(), streams: Streams::default(), hosts }
    }

    pub(super) const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The response to `request`, which came on the connection with this `slot`; after the `last` the
    /// connection is closed.
    pub(super) fn answer<B: Body>(
        &self,
        request: &Request<B>,
        last: bool,
        slot: &Arc<Slot>,
    ) -> Response<AnswerBody> {
        let path = Path::of(request.uri().path());
        let (answer, stream) = match self.stream(path, request, slot) {
            Ok(events) => {
                (Answer { content_type: EVENT_STREAM, ..Answer::text(StatusCode::OK, "") }, Some(events))
            }
            Err(answer) => (answer, None),
        };
        self.counters.request(path, answer.status.as_u16());
        let close = last || answer.status == StatusCode::PAYLOAD_TOO_LARGE;
        let response = with_headers(answer, path, close);
        match stream {
            Some(events) => response.map(|_| Either::Right(events)),
            None => response.map(Either::Left),
        }
    }

    /// The stream that `request` asks for, or the answer that is none.
    fn stream<B: Body>(&self, path: Path, request: &Request<B>, slot: &Arc<Slot>) -> Result<Events, Answer> {
        if !self.is_asked_by_own_name(request) {
            return Err(Answer::text(StatusCode::MISDIRECTED_REQUEST, FOREIGN_NAME));
        }
        if path != Path::Events || request.method() != Method::GET || !request.body().is_end_stream() {
            return Err(self.choose(path, request));
        }
        let busy = || Answer::text(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n");
        let ticket = self.streams.admit(slot.limits().streams).ok_or_else(busy)?;
        Ok(Events::new(self.reader.clone(), Arc::clone(slot), ticket))
    }

    /// Whether the client means this sensor: what it shows is not for pages of others. Programs need not say.
    fn is_asked_by_own_name<B>(&self, request: &Request<B>) -> bool {
        let host = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
        request.uri().host().or(host).is_none_or(|host| self.hosts.allow(host))
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
            Path::Root => Answer::asset(&assets::INDEX),
            Path::Asset => assets::find(request.uri().path())
                .map_or_else(|| Answer::text(StatusCode::NOT_FOUND, "not found\n"), Answer::asset),
            Path::Source => self.source(request.uri().path()),
            Path::Metrics => self.metrics(accepts_gzip(request.headers())),
            Path::Healthy => self.healthy(),
            Path::Ready => self.ready(),
            // HEAD; GET is answered with a stream.
            Path::Events => Answer { content_type: EVENT_STREAM, ..Answer::text(StatusCode::OK, "") },
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

    /// One source, by the address in the path.
    fn source(&self, path: &str) -> Answer {
        let address = path.strip_prefix(Path::SOURCES).and_then(|text| text.parse().ok());
        let latest = self.reader.latest();
        match address.and_then(|address| page::source(latest.snapshot(), address)) {
            Some(json) => Answer { content_type: JSON, ..Answer::of(StatusCode::OK, json.into()) },
            None => Answer::text(StatusCode::NOT_FOUND, "no such source, or none with a place of its own\n"),
        }
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
