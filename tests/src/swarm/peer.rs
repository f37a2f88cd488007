//! Live peers: they return the greeting (BEP 3) and then have nothing to give.
//!
//! Who begins with anything but the greeting wants encryption, and is handed on to a real client that insists
//! on it, if there is one.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::service::detach;

/// What the greeting begins with.
const GREETING: &[u8; 20] = b"\x13BitTorrent protocol";
/// Length of the greeting, and where in it the sender's own identity begins.
const HANDSHAKE: usize = 68;
const PEER_ID: usize = 48;

/// Binds to `port` of every address of a family and serves from then on.
pub async fn serve(any: IpAddr, port: u16, seeder: Option<SocketAddr>) -> Result<()> {
    let listener =
        TcpListener::bind((any, port)).await.with_context(|| format!("cannot bind to port {port}"))?;
    detach(async move {
        while let Ok((stream, _)) = listener.accept().await {
            detach(greet(stream, seeder));
        }
    });
    Ok(())
}

async fn greet(mut stream: TcpStream, seeder: Option<SocketAddr>) -> Result<()> {
    let mut begin = [0; GREETING.len()];
    stream.read_exact(&mut begin).await?;
    if begin != *GREETING {
        // Where nobody speaks it, the client gets nothing and comes back without.
        let mut seeder = TcpStream::connect(seeder.context("no encryption here")?).await?;
        seeder.write_all(&begin).await?;
        copy_bidirectional(&mut stream, &mut seeder).await?;
        return Ok(());
    }
    let mut handshake = [0; HANDSHAKE];
    handshake[..GREETING.len()].copy_from_slice(GREETING);
    stream.read_exact(&mut handshake[GREETING.len()..]).await?;
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
