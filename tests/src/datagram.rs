//! UDP services that are at every address of the internet at once, and answer from the one that was asked.

use std::{
    io,
    io::{IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdSocket},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use nix::{
    cmsg_space,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use tokio::{io::Interest, net::UdpSocket, time::sleep};

use crate::service::detach;

/// How long an answer is on its way. Where it takes no time at all, a busy machine shows some answers before
/// their questions, because the two are mirrored on different CPUs.
const DISTANCE: Duration = Duration::from_millis(25);

/// A socket on one port of all addresses of a family.
#[derive(Debug)]
pub struct Anywhere(UdpSocket);

/// A question and its way back.
#[derive(Debug)]
pub struct Datagram {
    /// What was sent.
    pub text: Vec<u8>,
    /// Who sent it.
    pub from: SocketAddr,
    /// Which address it was sent to.
    pub asked: IpAddr,
}

impl Anywhere {
    /// Binds to `port` of every address of the family of `any`.
    pub fn bind(any: IpAddr, port: u16) -> Result<Self> {
        let socket =
            StdSocket::bind((any, port)).with_context(|| format!("cannot bind to UDP port {port}"))?;
        match any {
            IpAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).context("IP_PKTINFO")?,
            IpAddr::V6(_) => {
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).context("IPV6_RECVPKTINFO")?;
            }
        }
        socket.set_nonblocking(true).context("cannot make a socket non-blocking")?;
        Ok(Self(UdpSocket::from_std(socket).context("cannot hand a socket to the runtime")?))
    }

    /// Answers every datagram with what `answer` makes of it, for good. A full socket loses the answer, as
    /// UDP does.
    pub async fn serve(self, mut answer: impl FnMut(&Datagram) -> Option<Vec<u8>>) {
        let socket = Arc::new(self.0);
        loop {
            let Ok(query) = socket.async_io(Interest::READABLE, || receive(&socket)).await else { continue };
            if let Some(text) = answer(&query) {
                let socket = Arc::clone(&socket);
                detach(async move {
                    sleep(DISTANCE).await;
                    let _ = socket.async_io(Interest::WRITABLE, || send(&socket, &query, &text)).await;
                });
            }
        }
    }
}

fn receive(socket: &UdpSocket) -> io::Result<Datagram> {
    let mut buffer = [0; 2048];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let mut control = cmsg_space!(libc::in6_pktinfo);
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let asked = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr)).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        _ => None,
    });
    let (length, from) = (message.bytes, message.address.as_ref().and_then(socket_address));
    match (from, asked) {
        (Some(from), Some(asked)) => Ok(Datagram { text: buffer[..length].to_vec(), from, asked }),
        _ => Err(io::Error::other("a datagram without addresses")),
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

/// Sends `text` from the address that was asked; the route decides on the interface.
fn send(socket: &UdpSocket, query: &Datagram, text: &[u8]) -> io::Result<()> {
    let to = SockaddrStorage::from(query.from);
    let send = |control: ControlMessage<'_>| {
        sendmsg(socket.as_raw_fd(), &[IoSlice::new(text)], &[control], MsgFlags::empty(), Some(&to))
    };
    match query.asked {
        IpAddr::V4(asked) => {
            let from = libc::in_addr { s_addr: asked.to_bits().to_be() };
            let any = libc::in_addr { s_addr: 0 };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: from, ipi_addr: any };
            send(ControlMessage::Ipv4PacketInfo(&info))?;
        }
        IpAddr::V6(asked) => {
            let from = libc::in6_addr { s6_addr: asked.octets() };
            send(ControlMessage::Ipv6PacketInfo(&libc::in6_pktinfo { ipi6_addr: from, ipi6_ifindex: 0 }))?;
        }
    }
    Ok(())
}
