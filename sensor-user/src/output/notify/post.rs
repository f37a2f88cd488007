//! One HTTP request that posts JSON, within a deadline.

use std::{io, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::config::Endpoint;

/// What is read of the answer to a request that was refused: the reason, for the log.
const REASON_BYTES: usize = 1024;

/// Why a post did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// No connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// No answer in HTTP.
    #[error("no answer in HTTP")]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The request cannot be written: the URL's path is none.
    #[error("the URL cannot be asked for")]
    Request(#[from] hyper::http::Error),
    /// An answer other than success.
    #[error("answered {status}: {reason}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The beginning of its body.
        reason: String,
    },
}

impl PostError {
    /// Whether the same request will never succeed.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Refused { status, .. } => {
                let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
                status.is_client_error() && !later.contains(status)
            }
            Self::Connect(_) | Self::Http(_) | Self::Deadline(_) => false,
        }
    }
}

/// Posts `body` to `path` at `endpoint`. Redirections are refused: they are a mistake in the configuration.
pub(super) async fn post(
    endpoint: &Endpoint,
    path: &str,
    body: Vec<u8>,
    deadline: Duration,
) -> Result<(), PostError> {
    let answer = timeout(deadline, exchange(endpoint, path, body.into())).await;
    answer.unwrap_or(Err(PostError::Deadline(deadline)))
}

async fn exchange(endpoint: &Endpoint, path: &str, body: Bytes) -> Result<(), PostError> {
    let stream =
        TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(PostError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(path)
        .header(HOST, endpoint.authority())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("flow-sensor/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Full::new(body))?;
    let talk = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let body = Limited::new(answer.into_body(), REASON_BYTES).collect().await;
        let reason = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        let reason = String::from_utf8_lossy(&reason).split_whitespace().collect::<Vec<_>>().join(" ");
        Err(PostError::Refused { status, reason })
    };
    // The connection is driven until the answer is there; what it has to say after that does not matter.
    tokio::pin!(talk);
    tokio::select! {
        biased;
        answer = &mut talk => answer,
        closed = connection => {
            closed?;
            talk.await
        }
    }
}
