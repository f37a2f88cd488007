//! The office works before anything is said about a sensor in it.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    packet::{Segment, frame},
    process::wait_for,
    require_root,
    sender::Sender,
    topology::{CLIENT, Cable, MIRROR, Office, SILENT, UNREACHABLE},
};

const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn any_address_of_the_internet_answers_and_the_mirror_sees_both_directions() -> Result<()> {
    require_root()?;
    let office = Office::new()?;
    let listener = office.internet.inside(|| Ok(TcpListener::bind("0.0.0.0:6881")?))?;
    for peer in ["5.9.100.1:6881", "88.12.13.14:6881", "203.0.113.77:6881"] {
        let peer: SocketAddr = peer.parse()?;
        let before = office.sensor.counter(MIRROR, "rx_packets")?;
        let stream = office.client.inside(|| Ok(TcpStream::connect_timeout(&peer, PATIENCE)?))?;
        let (_, client) = listener.accept()?;
        ensure!(client.ip() == CLIENT, "the peer must see {CLIENT}, not {client}");
        drop(stream);
        // SYN, SYN+ACK, ACK at least; ARP may add some.
        wait_for("copies on the mirror port", PATIENCE, || {
            let mirrored = office.sensor.counter(MIRROR, "rx_packets")? - before;
            ensure!(mirrored >= 3, "{peer}: {mirrored} frames");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn dead_prefixes_are_unreachable_or_silent() -> Result<()> {
    require_root()?;
    let office = Office::new()?;
    let socket = office.client.inside(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    let icmp_errors = || -> Result<u64> {
        let line = office.client.run("nstat -a -s -z IcmpInDestUnreachs")?;
        let value =
            line.lines().find_map(|line| line.strip_prefix("IcmpInDestUnreachs")).context("no counter")?;
        Ok(value.split_whitespace().next().context("no value")?.parse()?)
    };
    // Few, because a router limits the errors that it sends.
    let unreachable = UNREACHABLE.iter().take(3).map(|octet| (octet, 1));
    for (octet, expected) in unreachable.chain(SILENT.iter().map(|octet| (octet, 0))) {
        let before = icmp_errors()?;
        socket.send_to(b"anyone?", (Ipv4Addr::new(*octet, 22, 33, 44), 6881))?;
        let came = icmp_errors()? - before;
        ensure!(came == expected, "{octet}.22.33.44: {came} ICMP errors came back");
    }
    Ok(())
}

#[test]
fn what_the_sender_reports_is_what_the_driver_carried() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let (src, dst) = ("10.0.0.5:4000".parse()?, "203.0.113.9:6881".parse()?);
    let frames = vec![frame(src, dst, Segment::Datagram, &[0; 22]); 100_000];
    let sent = cable.sender.inside(|| Sender::open(Cable::OUT)?.send(&frames))?;
    ensure!(sent.frames == 100_000, "{sent:?}");
    let carried = cable.sender.counter(Cable::OUT, "tx_packets")?;
    ensure!(carried == sent.frames, "the driver carried {carried}: {sent:?}");
    Ok(())
}
