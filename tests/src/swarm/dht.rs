//! DHT nodes (BEP 5): one socket per port stands for the nodes on that port of every address, and answers
//! from the address that was asked. Real clients speak uTP on the same port, and so do these.

use std::{
    io,
    io::{IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket as StdSocket},
    os::fd::AsRawFd,
    sync::Arc,
};

use anyhow::{Context, Result};
use nix::{
    cmsg_space,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use tokio::{io::Interest, net::UdpSocket};

use super::{
    bencode,
    bencode::{Value, compact_one},
    utp,
};
use crate::service::detach;

/// Nodes in an answer, as BEP 5 has it.
const NODES: usize = 8;
/// Peers in an answer to `get_peers`.
const VALUES: usize = 20;

/// A question and its way back.
struct Query {
    text: Vec<u8>,
    from: SocketAddrV4,
    asked: libc::in_pktinfo,
}

/// Binds to `port` of every address and serves from then on.
pub fn serve(port: u16, members: Arc<Vec<SocketAddrV4>>) -> Result<()> {
    let socket = StdSocket::bind((Ipv4Addr::UNSPECIFIED, port))
        .with_context(|| format!("cannot bind to port {port}"))?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).context("IP_PKTINFO")?;
    socket.set_nonblocking(true).context("cannot make a socket non-blocking")?;
    let socket = UdpSocket::from_std(socket).context("cannot hand a socket to the runtime")?;
    detach(async move {
        let mut asked = usize::from(port);
        loop {
            let Ok(query) = socket.async_io(Interest::READABLE, || receive(&socket)).await else { continue };
            asked += 1;
            let utp = || utp::answer(&query.text).map(Vec::from);
            if let Some(text) = answer(&query, &members, asked).or_else(utp) {
                // A full socket loses the answer, as UDP does.
                let _ = socket.async_io(Interest::WRITABLE, || send(&socket, &query, &text)).await;
            }
        }
    });
    Ok(())
}

fn receive(socket: &UdpSocket) -> io::Result<Query> {
    let mut buffer = [0; 2048];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let mut control = cmsg_space!(libc::in_pktinfo);
    let flags = MsgFlags::empty();
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let asked = message.cmsgs()?.find_map(|control| {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = control { Some(info) } else { None }
    });
    let (length, from) = (message.bytes, message.address);
    match (from, asked) {
        (Some(from), Some(asked)) => Ok(Query { text: buffer[..length].to_vec(), from: from.into(), asked }),
        _ => Err(io::Error::other("a datagram without addresses")),
    }
}

fn send(socket: &UdpSocket, query: &Query, text: &[u8]) -> io::Result<()> {
    // The address that was asked becomes the source of the answer; the route decides on the interface.
    let source = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: query.asked.ipi_addr, ..query.asked };
    let control = [ControlMessage::Ipv4PacketInfo(&source)];
    let to = SockaddrIn::from(query.from);
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(text)], &control, MsgFlags::empty(), Some(&to))?;
    Ok(())
}

fn answer(query: &Query, members: &[SocketAddrV4], asked: usize) -> Option<Vec<u8>> {
    let value = Value::read(&query.text)?;
    let transaction = value.get(b"t")?.bytes()?;
    let method = value.get(b"q")?.bytes()?;
    let arguments = value.get(b"a")?;
    let target = arguments.get(b"target").or_else(|| arguments.get(b"info_hash")).and_then(Value::bytes);
    let own = SocketAddrV4::new(Ipv4Addr::from_bits(u32::from_be(query.asked.ipi_addr.s_addr)), 0);
    let mut text = b"d1:rd2:id".to_vec();
    bencode::string(&mut text, &identity(target, own));
    if let Some(target) = target {
        let others = |count: usize| {
            members.iter().cycle().skip(asked * NODES % members.len()).step_by(7).take(count).copied()
        };
        let nodes =
            others(NODES).flat_map(|node| [&identity(Some(target), node)[..], &compact_one(node)].concat());
        text.extend(b"5:nodes");
        bencode::string(&mut text, &nodes.collect::<Vec<_>>());
        if method == b"get_peers" {
            text.extend(b"5:token4:okay6:valuesl");
            others(VALUES).for_each(|peer| bencode::string(&mut text, &compact_one(peer)));
            text.push(b'e');
        }
    }
    text.extend(b"e1:t");
    bencode::string(&mut text, transaction);
    text.extend(b"1:y1:re");
    Some(text)
}

/// The identity of the node at `address`: near to `target`, so that a search finds it worth asking.
fn identity(target: Option<&[u8]>, address: SocketAddrV4) -> [u8; 20] {
    let mut identity = [0x5a; 20];
    if let Some(target) = target {
        for (to, from) in identity.iter_mut().zip(target) {
            *to = *from;
        }
    }
    identity[14..].copy_from_slice(&compact_one(address));
    identity
}
