//! Somebody who browses the web: pages made of pieces from several hosts, each looked up first.
//!
//! A page takes what pages take: one to nine hosts, a few of them new, most of them the same as on other
//! pages (fonts, statistics, a shop's pictures), all on port 443 or 80, all answering; then the reader
//! reads.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    time::sleep,
};

use crate::{
    netns::Namespace,
    service::{Service, detach},
};

/// The name server.
const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(9, 9, 9, 9), 53);
const PORTS: [u16; 2] = [443, 80];

/// Networks that the web's hosts are in: a few operators carry most of it.
const OPERATORS: [[u8; 2]; 9] =
    [[23, 45], [104, 16], [142, 250], [151, 101], [157, 240], [34, 120], [52, 85], [13, 107], [185, 199]];
/// Hosts in the part of the web that is read here.
const HOSTS: u16 = 60;
/// Bytes of a request, and of the answer to it at least and at most.
const REQUEST: usize = 420;
const ANSWER: [usize; 2] = [2_000, 30_000];
/// How long a page is read.
const READING: Duration = Duration::from_millis(2500);

/// Starts the name server and the web servers.
pub fn serve(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || async {
        let socket = UdpSocket::bind(RESOLVER).await.with_context(|| format!("cannot bind to {RESOLVER}"))?;
        detach(resolve(socket));
        for port in PORTS {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await;
            let listener = listener.with_context(|| format!("cannot bind to port {port}"))?;
            detach(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    detach(answer(stream));
                }
            });
        }
        Ok(())
    })
}

/// Starts somebody who browses from `office` until the returned handle is dropped.
pub fn browse(office: &Namespace) -> Result<Service> {
    Service::start(office, || async {
        detach(async {
            for page in 0.. {
                read_page(page);
                sleep(READING).await;
            }
        });
        Ok(())
    })
}

fn read_page(page: u16) {
    let pieces = 1 + page * 5 % 9;
    for piece in 0..pieces {
        // Small numbers are the hosts that every page uses.
        let host = if piece % 2 == 0 { piece } else { 10 + (page * 7 + piece * 3) % (HOSTS - 10) };
        detach(fetch(host));
    }
}

async fn fetch(host: u16) -> Result<()> {
    let address = look_up(host).await?;
    let port = if host % 10 == 9 { PORTS[1] } else { PORTS[0] };
    let mut stream = TcpStream::connect((address, port)).await?;
    stream.write_all(&[b'q'; REQUEST]).await?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await?;
    Ok(())
}

/// Asks the name server for the address of `host.example`.
async fn look_up(host: u16) -> Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(RESOLVER).await?;
    let [high, low] = host.to_be_bytes();
    // RFC 1035 section 4.1: identity, recursion desired, one question, its name, type A, class IN.
    let mut query = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [&format!("host{host:03}")[..], "example"] {
        query.push(u8::try_from(label.len())?);
        query.extend(label.bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    socket.send(&query).await?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await?;
    let address = answer[..length].last_chunk::<4>().context("an answer without an address")?;
    Ok(Ipv4Addr::from(*address))
}

async fn resolve(socket: UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let query = &buffer[..length];
        let [high, low, _, _, rest @ ..] = query else { continue };
        let host = u16::from_be_bytes([*high, *low]);
        // An answer: recursion available, one record; its name is the one at offset 12, 300 s, 4 bytes.
        let mut answer = vec![*high, *low, 0x81, 0x80];
        answer.extend(rest);
        answer[7] = 1;
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
        answer.extend(address_of(host).octets());
        // A full socket loses the answer, as UDP does.
        let _ = socket.send_to(&answer, from).await;
    }
}

pub(crate) fn address_of(host: u16) -> Ipv4Addr {
    let [a, b] = OPERATORS[usize::from(host) % OPERATORS.len()];
    let [_, low] = host.to_be_bytes();
    Ipv4Addr::new(a, b, low.wrapping_mul(3), low.wrapping_add(10))
}

/// Answers whoever asks, in HTTP/1.0; how much depends on the address.
pub(crate) async fn answer(mut stream: TcpStream) -> Result<()> {
    let mut request = [0; 4096];
    // A request fits into one segment.
    if stream.read(&mut request).await? == 0 {
        return Ok(());
    }
    let [_, _, c, d] = match stream.local_addr()?.ip() {
        IpAddr::V4(own) => own.octets(),
        IpAddr::V6(_) => [0, 0, 7, 7],
    };
    let length = ANSWER[0] + usize::from(c) * usize::from(d) * 7 % (ANSWER[1] - ANSWER[0]);
    stream.write_all(format!("HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await?;
    stream.write_all(&vec![b'a'; length]).await?;
    stream.shutdown().await.context("shutdown")
}
