//! Network time: a client with a pool of servers (RFC 5905), from its own port 123 as daemons do it, and
//! single questions from any port as programs do it. One server of the pool is gone.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};

use super::{ANY, chance, home};
use crate::{
    datagram::Anywhere,
    netns::Namespace,
    service::{Service, detach},
    topology::SILENT,
};

const PORT: u16 = 123;
const POLL: Duration = Duration::from_secs(8);
/// Version 4, client and server.
const QUESTION: u8 = 0x23;
const ANSWER: u8 = 0x24;

/// Starts the servers.
pub fn serve(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || async {
        detach(Anywhere::bind(ANY, PORT)?.serve(|query| {
            let mut answer = query.text.clone();
            *answer.first_mut()? = ANSWER;
            Some(answer)
        }));
        Ok(())
    })
}

/// Starts the client.
pub fn poll(client: &Namespace) -> Result<Service> {
    Service::start(client, || async {
        let daemon = UdpSocket::bind((ANY, PORT)).await?;
        detach(async move {
            for round in 0.. {
                for server in 0..4 {
                    // The pool gives other servers every now and then.
                    ask(&daemon, home(round / 16, server)).await;
                }
                ask(&daemon, Ipv4Addr::new(SILENT[0], 7, 7, 7)).await;
                if let Ok(single) = UdpSocket::bind((ANY, 0)).await {
                    ask(&single, home(chance(round, 9) % 500, 9)).await;
                }
                sleep(POLL).await;
            }
        });
        Ok(())
    })
}

async fn ask(socket: &UdpSocket, server: Ipv4Addr) {
    let mut packet = [0; 48];
    packet[0] = QUESTION;
    // Some servers are gone: that is part of it.
    let _ = socket.send_to(&packet, (server, PORT)).await;
    let _ = timeout(Duration::from_millis(300), socket.recv(&mut packet)).await;
}
