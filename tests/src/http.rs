//! The least HTTP that reads metrics and speaks to servers' APIs: one request, the whole answer.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result};

/// How long a server may take for a connection or between two pieces of its answer: a browser takes seconds
/// to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Asks `server` for `path`, in HTTP/1.0, which needs no chunks.
pub fn get(server: SocketAddr, path: &str) -> Result<Response> {
    send(server, &format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n"))
}

/// Sends a request with a body of JSON, in HTTP/1.1, to a server that says how long its answers are.
pub fn ask(server: SocketAddr, method: &str, path: &str, json: &str) -> Result<Response> {
    let length = json.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    send(server, &format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"))
}

fn send(server: SocketAddr, request: &str) -> Result<Response> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)
        .with_context(|| format!("cannot connect to {server}"))?;
    stream.set_read_timeout(Some(PATIENCE)).context("cannot set a time limit")?;
    stream.write_all(request.as_bytes()).with_context(|| format!("cannot ask {server}"))?;
    let line = request.lines().next().unwrap_or_default();
    read(stream).with_context(|| format!("cannot read the answer of {server} to {line}"))
}

/// Reads as much as the answer says that it has, or up to the end of the connection.
fn read(stream: TcpStream) -> Result<Response> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let status = code.with_context(|| format!("not HTTP: {line:?}"))?.trim().parse()?;
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = String::new();
    stream.take(length.unwrap_or(u64::MAX)).read_to_string(&mut body)?;
    Ok(Response { status, body })
}
