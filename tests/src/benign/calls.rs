//! Calls and meetings: STUN (RFC 8489) from the socket of the call, checks of the other side's candidates
//! (RFC 8445), then media both ways. Most calls are between two, some among four, some by way of a provider's
//! server.

use std::{net::SocketAddr, time::Duration};

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
};

/// Where STUN servers listen.
const STUN: [u16; 2] = [3478, 19302];
/// Ports that other users' calls and the providers' media servers have.
const MEDIA: [u16; 12] =
    [10000, 49_871, 50_112, 51_960, 53_003, 54_444, 55_721, 57_190, 58_838, 60_271, 62_019, 64_555];
/// A binding request: its type, no attributes, the magic cookie, a transaction.
const BINDING: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
/// A frame of speech every 40 ms, for so many of them.
const SPEECH: Duration = Duration::from_millis(40);
const FRAMES: u32 = 300;
/// Between two calls.
const PAUSE: Duration = Duration::from_secs(6);

/// Starts the STUN servers and everybody who may be called.
pub fn serve(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || async {
        for port in STUN {
            detach(Anywhere::bind(ANY, port)?.serve(|query| {
                let mut answer = query.text.clone();
                // A success response.
                *answer.first_mut()? = 1;
                Some(answer)
            }));
        }
        for port in MEDIA {
            detach(Anywhere::bind(ANY, port)?.serve(|query| Some(query.text.clone())));
        }
        Ok(())
    })
}

/// Starts somebody who calls.
pub fn call(caller: &Namespace) -> Result<Service> {
    Service::start(caller, || async {
        detach(async {
            for round in 0.. {
                // A call that cannot be made is no reason to stop calling.
                let _ = one_call(round).await;
                sleep(PAUSE).await;
            }
        });
        Ok(())
    })
}

async fn one_call(round: u32) -> Result<()> {
    let socket = UdpSocket::bind((ANY, 0)).await?;
    for (server, port) in (0..2).zip(STUN) {
        // A provider has a few servers, and everybody uses them.
        say(&socket, (home(server, 77), port).into(), &BINDING).await;
    }
    let others = match round % 4 {
        0 => 3,
        _ => 1,
    };
    let mut candidates = Vec::new();
    for other in 0..others {
        let address = if round.is_multiple_of(3) { home(other, 78) } else { home(round, 80 + other) };
        let port = MEDIA[(chance(round, 90 + other) % 12) as usize];
        candidates.push(SocketAddr::from((address, port)));
        // The port that the other side's router no longer has open for it.
        say(&socket, (address, port.wrapping_add(1)).into(), &BINDING).await;
        say(&socket, (address, port).into(), &BINDING).await;
    }
    for _ in 0..FRAMES {
        for other in &candidates {
            let _ = socket.send_to(&[0x80; 160], other).await;
        }
        sleep(SPEECH).await;
    }
    Ok(())
}

async fn say(socket: &UdpSocket, to: SocketAddr, text: &[u8]) {
    let mut answer = [0; 512];
    // Candidates that cannot be reached are part of it.
    let _ = socket.send_to(text, to).await;
    let _ = timeout(Duration::from_millis(200), socket.recv(&mut answer)).await;
}
