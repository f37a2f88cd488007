//! Makes a port inside a namespace reachable on this machine's loopback, without an interface between them.

use std::{
    io,
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};

use crate::netns::Namespace;

/// Accepts on the loopback port of `to` and hands on what comes to `to` inside `namespace`, until the process
/// ends.
pub fn open(namespace: &Arc<Namespace>, to: SocketAddr) -> Result<()> {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, to.port()));
    let listener =
        TcpListener::bind(here).with_context(|| format!("cannot listen on {here}: stop what does"))?;
    let namespace = Arc::clone(namespace);
    thread::spawn(move || {
        for client in listener.incoming().filter_map(io::Result::ok) {
            // A server that is not there closes the connection of whoever asks for it.
            if let Ok(server) = namespace.inside(|| TcpStream::connect(to).context("no server")) {
                for (from, to) in [(&client, &server), (&server, &client)] {
                    if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                        thread::spawn(move || copy(from, to));
                    }
                }
            }
        }
    });
    Ok(())
}

/// Copies until one end is closed, and closes the other.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    // Either end may close at any time; that is how a conversation ends.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
