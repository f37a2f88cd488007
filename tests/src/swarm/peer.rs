//! Live peers: they return the greeting (BEP 3) and then have nothing to give.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::service::detach;

/// Length of the greeting, and where in it the sender's own identity begins.
const HANDSHAKE: usize = 68;
const PEER_ID: usize = 48;

/// Binds to `port` of every address and serves from then on.
pub async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .with_context(|| format!("cannot bind to port {port}"))?;
    detach(async move {
        while let Ok((stream, _)) = listener.accept().await {
            detach(greet(stream));
        }
    });
    Ok(())
}

async fn greet(mut stream: TcpStream) -> Result<()> {
    let mut handshake = [0; HANDSHAKE];
    // A client that wants encryption sends something else first, gets nothing, and comes back without.
    stream.read_exact(&mut handshake).await?;
    if !handshake.starts_with(b"\x13BitTorrent protocol") {
        return Ok(());
    }
    // An identity of its own, or the client takes us for itself.
    let own = stream.local_addr()?.to_string();
    handshake[PEER_ID..].fill(b'-');
    for (to, from) in handshake[PEER_ID..].iter_mut().zip(own.bytes()) {
        *to = from;
    }
    stream.write_all(&handshake).await?;
    let mut ignored = [0; 4096];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}
