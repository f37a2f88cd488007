//! Programs that fetch: a crawler that has many servers in hand at once, updates from a few mirrors, backups
//! to one server, and news read by the users behind the router. All but the backups by curl.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use super::{Repeat, chance, echo, home};
use crate::{
    browsing::address_of,
    netns::Namespace,
    service::{Service, detach},
};

/// Servers that a crawler asks in one round, and how many of them at the same time.
const CRAWLED: u32 = 24;
/// SSH, which backups go by.
const SSH: u16 = 22;
/// A backup: so many blocks of so many bytes, and the time between two of them.
const BLOCKS: u32 = 120;
const BLOCK: usize = 16_384;
const BETWEEN_BACKUPS: Duration = Duration::from_secs(20);

/// Starts what the web servers of `browsing` are not: the server of the backups.
pub fn serve(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || echo(SSH, b"SSH-2.0-server\r\n"))
}

/// Starts the crawler.
pub fn crawl(host: &Namespace) -> Result<Repeat> {
    Repeat::start(host, Duration::from_secs(4), |round| {
        // Small sites at homes and small providers, each somewhere else.
        fetch((0..CRAWLED).map(|index| home(chance(round, index) % 30_000, 60)))
    })
}

/// Starts the updates.
pub fn update(host: &Namespace) -> Result<Repeat> {
    Repeat::start(host, Duration::from_secs(3), |round| {
        let mirror = address_of(3 + u16::try_from(round % 3).unwrap_or_default());
        fetch((0..6).map(|_| mirror))
    })
}

/// Starts the backups.
pub fn back_up(host: &Namespace) -> Result<Service> {
    Service::start(host, || async {
        detach(async {
            loop {
                // One that breaks off is made again.
                let _ = one_backup((home(0, 22), SSH).into()).await;
                sleep(BETWEEN_BACKUPS).await;
            }
        });
        Ok(())
    })
}

async fn one_backup(server: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(server).await?;
    let (mut from, mut to) = stream.split();
    let sent = async {
        for _ in 0..BLOCKS {
            to.write_all(&[0; BLOCK]).await?;
            sleep(Duration::from_millis(50)).await;
        }
        to.shutdown().await
    };
    // What comes back is thrown away.
    let mut nowhere = tokio::io::sink();
    tokio::try_join!(sent, tokio::io::copy(&mut from, &mut nowhere))?;
    Ok(())
}

/// Starts somebody behind the router who reads the news.
pub fn read_news(host: &Namespace) -> Result<Repeat> {
    Repeat::start(host, Duration::from_secs(5), |round| {
        fetch((0..8).map(|index| address_of(u16::try_from(chance(round, index) % 900).unwrap_or_default())))
    })
}

fn fetch(servers: impl Iterator<Item = Ipv4Addr>) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "8", "--parallel", "--parallel-max", "24"]);
    for (index, server) in servers.enumerate() {
        let port = if index % 6 == 5 { 80 } else { 443 };
        command.args(["--output", "/dev/null"]).arg(format!("http://{server}:{port}/"));
    }
    command
}
