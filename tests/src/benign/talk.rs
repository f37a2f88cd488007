//! What runs beside everything else on a desk: chat, push and mail over connections that stay open, and a
//! game's lobby that asks one operator's servers how far away they are.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket},
    time::{sleep, timeout},
};

use super::{ANY, chance, echo, home};
use crate::{
    datagram::Anywhere,
    netns::Namespace,
    service::{Service, detach},
};

/// XMPP, Google's and Apple's push, IMAP.
const CHAT: [u16; 4] = [5222, 5228, 5223, 993];
/// Ports of a game's servers.
const LOBBY: [u16; 10] = [7777, 7778, 7779, 7780, 7781, 7786, 7790, 7795, 7801, 7850];
/// How long a connection stays open, and how often something is said on it.
const HELD: u32 = 12;
const SAID: Duration = Duration::from_secs(5);
/// Between two looks at the lobby.
const PLAYED: Duration = Duration::from_secs(40);

/// Starts the servers.
pub fn serve(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || async {
        for port in CHAT {
            echo(port, b"hello\r\n").await?;
        }
        for port in LOBBY {
            detach(Anywhere::bind(ANY, port)?.serve(|query| Some(query.text.clone())));
        }
        Ok(())
    })
}

/// Starts the user.
pub fn talk(user: &Namespace) -> Result<Service> {
    Service::start(user, || async {
        for (salt, port) in (0..).zip(CHAT) {
            detach(async move {
                for round in 0.. {
                    // A server that is gone is left for the next one.
                    let _ = hold((home(round, 40 + salt), port).into()).await;
                }
            });
        }
        detach(async {
            for round in 0.. {
                let _ = look_around(round).await;
                sleep(PLAYED).await;
            }
        });
        Ok(())
    })
}

async fn hold(server: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    for _ in 0..HELD {
        stream.write_all(b"still here\r\n").await?;
        sleep(SAID).await;
    }
    Ok(())
}

async fn look_around(round: u32) -> Result<()> {
    let socket = UdpSocket::bind((ANY, 0)).await?;
    let mut answer = [0; 512];
    for (number, port) in (1..).zip(LOBBY) {
        let [low, ..] = chance(round / 8, number).to_be_bytes();
        let server = Ipv4Addr::new(162, 254, 192 + low % 8, low);
        socket.send_to(&[0xff; 25], (server, port)).await?;
        // Whoever does not answer in time is not played on.
        let _ = timeout(Duration::from_millis(200), socket.recv(&mut answer)).await;
    }
    Ok(())
}
