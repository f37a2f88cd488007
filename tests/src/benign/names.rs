//! A recursive resolver (unbound's library, by its program unbound-host) with an Internet of name servers
//! below it: roots, top-level domains, and many servers that hold the names.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{Repeat, chance};
use crate::{
    netns::Namespace,
    service::{Service, detach},
};

const PORT: u16 = 53;
/// The roots, the servers of the top-level domains, and those of everybody's domains: `202.PLACE.x.y` each.
const ROOTS: [u8; 4] = [1, 2, 3, 4];
const TOP: u8 = 50;
const DOMAINS: u8 = 100;
/// Servers of top-level domains, and of domains.
const TOP_SERVERS: u32 = 10;
const DOMAIN_SERVERS: u32 = 600;
/// Networks that the latter are in.
const OPERATORS: u32 = 120;
/// Between two names that somebody wants to know.
const PAUSE: Duration = Duration::from_millis(250);

/// Types of records: an address, a name server.
const A: u16 = 1;
const NS: u16 = 2;

/// How far from the root a server is: it refers to the next one, or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Root,
    Top,
    Domain,
}

/// Starts the name servers.
pub fn serve(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || async {
        for root in ROOTS {
            answer_at(Ipv4Addr::new(202, root, 0, 53), Level::Root).await?;
        }
        for server in 0..TOP_SERVERS {
            answer_at(address(TOP, server), Level::Top).await?;
        }
        for server in 0..DOMAIN_SERVERS {
            answer_at(address(DOMAINS, server), Level::Domain).await?;
        }
        Ok(())
    })
}

fn address(place: u8, server: u32) -> Ipv4Addr {
    // As many networks as there are operators.
    let [[.., network], [.., host]] = [server % OPERATORS, server / OPERATORS].map(u32::to_be_bytes);
    Ipv4Addr::new(202, place + network, 7 + host, 53)
}

async fn answer_at(address: Ipv4Addr, level: Level) -> Result<()> {
    let socket = tokio::net::UdpSocket::bind((IpAddr::from(address), PORT)).await;
    let socket = socket.with_context(|| format!("cannot bind to {address}"))?;
    detach(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(text) = answer(&buffer[..length], level) {
                // A full socket loses the answer, as UDP does.
                let _ = socket.send_to(&text, from).await;
            }
        }
    });
    Ok(())
}

/// The answer to one question (RFC 1035 section 4): a referral with the server's address, or the address
/// itself.
fn answer(query: &[u8], level: Level) -> Option<Vec<u8>> {
    /// Where the question begins.
    const QUESTION: usize = 12;
    let labels = labels(query.get(QUESTION..)?)?;
    let name_length: usize = labels.iter().map(|label| label.len() + 1).sum();
    let question = query.get(QUESTION..QUESTION + name_length + 1 + 4)?;
    let kind = u16::from_be_bytes(*question[name_length + 1..].first_chunk()?);
    if labels.is_empty() {
        return Some(roots(query.get(..2)?, question));
    }
    let depth = match level {
        Level::Root => 1,
        Level::Top => 2,
        Level::Domain => usize::MAX,
    };
    let refer = labels.len() >= depth;
    let (authority, found) = (u16::from(refer), u16::from(!refer && kind == A));
    // An answer, with authority where it is no referral; its counts.
    let flags: u16 = if refer { 0x8000 } else { 0x8400 };
    let mut text = query.get(..2)?.to_vec();
    for number in [flags, 1, found, authority, authority] {
        text.extend(number.to_be_bytes());
    }
    text.extend(question);
    if refer {
        // The zone is the end of the name that was asked for.
        let dropped: usize = labels[..labels.len() - depth].iter().map(|label| label.len() + 1).sum();
        let zone = 0xc000 | u16::try_from(QUESTION + dropped).ok()?;
        record(&mut text, &zone.to_be_bytes(), NS, &[&b"\x02ns"[..], &zone.to_be_bytes()].concat());
        let server = server_of(level, &labels[labels.len() - depth..]);
        record(&mut text, &[&b"\x02ns"[..], &zone.to_be_bytes()].concat(), A, &server.octets());
    } else if found > 0 {
        record(&mut text, &[0xc0, 12], A, &[203, 0, 113, 9]);
    }
    Some(text)
}

/// Who the roots are, which a resolver asks first of all.
fn roots(identity: &[u8], question: &[u8]) -> Vec<u8> {
    let count = u16::try_from(ROOTS.len()).unwrap_or_default();
    let mut text = identity.to_vec();
    for number in [0x8400_u16, 1, count, 0, count] {
        text.extend(number.to_be_bytes());
    }
    text.extend(question);
    let name = |root: u8| [b"\x02r", &[b'0' + root][..], b"\x05roots\0"].concat();
    for root in ROOTS {
        record(&mut text, &[0], NS, &name(root));
    }
    for root in ROOTS {
        record(&mut text, &name(root), A, &[202, root, 0, 53]);
    }
    text
}

/// A resource record: owner, type, class IN, an hour, data.
fn record(text: &mut Vec<u8>, owner: &[u8], kind: u16, data: &[u8]) {
    text.extend(owner);
    text.extend(kind.to_be_bytes());
    text.extend([0, 1, 0, 0, 0x0e, 0x10]);
    text.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
    text.extend(data);
}

/// Who knows of `zone`, one level down.
fn server_of(level: Level, zone: &[&[u8]]) -> Ipv4Addr {
    let sum = zone
        .iter()
        .flat_map(|label| label.iter())
        .fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte.to_ascii_lowercase())));
    match level {
        Level::Root => address(TOP, sum % TOP_SERVERS),
        Level::Top | Level::Domain => address(DOMAINS, sum % DOMAIN_SERVERS),
    }
}

fn labels(mut name: &[u8]) -> Option<Vec<&[u8]>> {
    let mut labels = Vec::new();
    loop {
        let (length, rest) = name.split_first()?;
        if *length == 0 {
            return Some(labels);
        }
        let (label, rest) = rest.split_at_checked(usize::from(*length))?;
        labels.push(label);
        name = rest;
    }
}

/// Starts the resolver. Each run is a new one, so nothing is known beforehand.
pub fn resolve(host: &Namespace) -> Result<Repeat> {
    let directory = TempDir::new().context("cannot make a temporary directory")?;
    let hints =
        ROOTS.map(|root| format!(". 3600 IN NS r{root}.roots.\nr{root}.roots. 3600 IN A 202.{root}.0.53\n"));
    let hint_file = directory.path().join("hints");
    fs::write(&hint_file, hints.concat()).context("cannot write root hints")?;
    let settings = format!(
        "server:\n  module-config: \"iterator\"\n  do-ip6: no\n  use-syslog: no\n  root-hints: \"{}\"\n",
        hint_file.display()
    );
    fs::write(directory.path().join("conf"), settings).context("cannot write unbound's settings")?;
    Repeat::start(host, PAUSE, move |round| {
        let mut command = Command::new("unbound-host");
        command.arg("-C").arg(directory.path().join("conf")).args(["-t", "A"]);
        let number = chance(round, 50);
        command.arg(format!("www.site{}.t{}", number % 5000, number % 23));
        command
    })
}
