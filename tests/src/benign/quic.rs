//! Browsing over QUIC: UDP to port 443 of many servers, several datagrams each, and TCP where a network
//! blocks it.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

use super::{ANY, chance, exchange};
use crate::{
    browsing::address_of,
    datagram::Anywhere,
    netns::Namespace,
    service::{Service, detach},
};

const PORT: u16 = 443;
/// Bytes of a client's first datagram, the least that RFC 9000 allows.
const INITIAL: usize = 1200;
const PAUSE: Duration = Duration::from_millis(1500);

/// Starts the servers.
pub fn serve(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || async {
        detach(Anywhere::bind(ANY, PORT)?.serve(|query| Some(query.text.clone())));
        Ok(())
    })
}

/// Starts the user.
pub fn browse(user: &Namespace) -> Result<Service> {
    Service::start(user, || async {
        detach(async {
            for page in 0.. {
                for piece in 0..=chance(page, 1) % 4 {
                    detach(fetch(page, piece));
                }
                sleep(PAUSE).await;
            }
        });
        Ok(())
    })
}

async fn fetch(page: u32, piece: u32) -> Result<()> {
    let server = address_of(u16::try_from(chance(page, 10 + piece) % 2000).context("a small number")?);
    // One in eight is a server without QUIC.
    if chance(page, 20 + piece).is_multiple_of(8) {
        return exchange((server, PORT), 420).await;
    }
    let socket = UdpSocket::bind((ANY, 0)).await?;
    socket.connect((server, PORT)).await?;
    let mut answer = [0; 2048];
    for turn in 0..4 + chance(page, 30 + piece) % 8 {
        let length = if turn == 0 { INITIAL } else { 60 };
        socket.send(&vec![0xc0; length]).await?;
        timeout(Duration::from_secs(1), socket.recv(&mut answer)).await??;
        sleep(Duration::from_millis(40)).await;
    }
    Ok(())
}
