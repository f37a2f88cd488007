//! The least HTTP that reads metrics: one GET, the whole answer.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};

/// How long a server may take for a connection or between two pieces of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Asks `server` for `path` in HTTP/1.0, which ends the answer with the connection.
pub fn get(server: SocketAddr, path: &str) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)
        .with_context(|| format!("cannot connect to {server}"))?;
    stream.set_read_timeout(Some(PATIENCE)).context("cannot set a time limit")?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n")
        .with_context(|| format!("cannot ask {server}"))?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| format!("cannot read the answer of {server}"))?;
    parse(&text).with_context(|| format!("{server} did not answer in HTTP: {text:?}"))
}

fn parse(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, body: body.to_owned() })
}
