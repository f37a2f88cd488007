//! A server of the office with many clients: a website over TCP, and a name server over UDP.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, UdpSocket},
    time::{sleep, timeout},
};

use super::{ANY, chance, home};
use crate::{
    browsing,
    datagram::Anywhere,
    netns::Namespace,
    service::{Service, detach},
    topology::SERVER,
};

const WEB: u16 = 443;
const NAMES: u16 = 53;
/// Between two clients.
const PAUSE: Duration = Duration::from_millis(150);

/// Starts the server.
pub fn serve(server: &Namespace) -> Result<Service> {
    Service::start(server, || async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, WEB)).await.context("cannot bind")?;
        detach(async move {
            while let Ok((stream, _)) = listener.accept().await {
                detach(browsing::answer(stream));
            }
        });
        detach(Anywhere::bind(ANY, NAMES)?.serve(|query| Some(query.text.clone())));
        Ok(())
    })
}

/// Starts the clients, each with an address of its own.
pub fn visit(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || async {
        detach(async {
            for round in 0.. {
                let client = home(round, 3);
                if chance(round, 4).is_multiple_of(2) {
                    detach(read(client));
                } else {
                    detach(ask(client));
                }
                sleep(PAUSE).await;
            }
        });
        Ok(())
    })
}

async fn read(client: Ipv4Addr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((client, 0).into())?;
    let mut stream = socket.connect(SocketAddr::from((SERVER, WEB))).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await?;
    Ok(())
}

async fn ask(client: Ipv4Addr) -> Result<()> {
    let socket = UdpSocket::bind((IpAddr::from(client), 0)).await?;
    socket.send_to(&[0; 40], (SERVER, NAMES)).await?;
    let mut answer = [0; 512];
    timeout(Duration::from_secs(2), socket.recv(&mut answer)).await??;
    Ok(())
}
