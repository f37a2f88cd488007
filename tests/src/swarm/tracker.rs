//! The tracker: an HTTP server that answers every announce with peers (BEP 3; BEP 23, and BEP 7 for
//! IPv6).

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::bencode;
use crate::service::detach;

/// Peers in one answer; what clients ask for by default.
const ANSWER: usize = 50;

/// Binds to `address` and serves from then on.
pub async fn serve(address: SocketAddr, members: Arc<Vec<SocketAddr>>) -> Result<()> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot bind the tracker to {address}"))?;
    detach(async move {
        let mut answered = 0;
        while let Ok((stream, _)) = listener.accept().await {
            // Each announce learns of others, as when peers come and go.
            let peers: Vec<_> =
                members.iter().cycle().skip(answered * ANSWER).take(ANSWER).copied().collect();
            answered += 1;
            detach(answer(stream, peers));
        }
    });
    Ok(())
}

async fn answer(mut stream: TcpStream, peers: Vec<SocketAddr>) -> Result<()> {
    let mut request = [0; 4096];
    // An announce fits into one segment; every one gets the same kind of answer.
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    let mut body = b"d8:intervali60e".to_vec();
    bencode::string(&mut body, if peers.iter().all(SocketAddr::is_ipv4) { b"peers" } else { b"peers6" });
    bencode::string(&mut body, &bencode::compact(&peers));
    body.push(b'e');
    let head =
        format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    stream.shutdown().await.context("shutdown")
}
