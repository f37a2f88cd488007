//! The innermost flow of every frame of the captures at hand, by `inspect` and by tshark. Each difference
//! must be of a kind that is listed with its reason.
//!
//! Left to `cargo xtask soak`: it needs tshark, and minutes where there are many captures.

use std::{collections::HashMap, env, net::IpAddr, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use sensor_common::parse::Decapsulate;
use sensor_tests::{captures, left_out};
use sensor_user::{
    capture::file::CaptureFile,
    cli::OutputFormat,
    commands::inspect::{UserEngine, View, inspect_file},
};
use serde_json::Value;

/// A flow as in the frame: source, destination, both ports, protocol.
type Flow = (IpAddr, IpAddr, u16, u16, String);

/// What tshark says of a frame.
struct Theirs {
    /// The protocols in the order of their headers.
    protocols: Vec<String>,
    fields: HashMap<&'static str, Vec<String>>,
}

/// What tshark is asked for besides the protocols.
const FIELDS: [&str; 15] = [
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "sctp.srcport",
    "sctp.dstport",
    "frame.len",
    "ip.len",
    "ip.hdr_len",
    "tcp.hdr_len",
    "eth.type",
];

/// The flow, or the reason why there is none.
type Ours = std::result::Result<Flow, String>;

/// A justified difference.
struct Difference {
    why: &'static str,
    applies: fn(&Theirs, &Ours) -> bool,
}

const DIFFERENCES: [Difference; 5] = [
    Difference {
        why: "the IPv4 length says more than was on the wire: truncated",
        applies: |theirs, ours| {
            let beyond = |length| Some(theirs.last("ip.len")? > length);
            let on_the_wire = theirs.last("frame.len").map(|length| length.saturating_sub(14));
            is(ours, "truncated") && on_the_wire.and_then(beyond) == Some(true)
        },
    },
    Difference {
        why: "the IPv4 datagram ends within its TCP header: truncated",
        applies: |theirs, ours| {
            let left = || Some(theirs.last("ip.len")? - theirs.last("ip.hdr_len")?);
            is(ours, "truncated") && theirs.has("tcp") && left().is_some_and(|left| left < 20)
        },
    },
    Difference {
        why: "the length of the TCP header is below its minimum: malformed",
        applies: |theirs, ours| {
            is(ours, "malformed") && theirs.last("tcp.hdr_len").is_some_and(|length| length < 20)
        },
    },
    Difference {
        why: "an IPv6 packet under the ethertype of IPv4: malformed",
        applies: |theirs, ours| {
            is(ours, "malformed")
                && theirs.has("ipv6")
                && theirs.fields["eth.type"].contains(&"0x0800".to_owned())
        },
    },
    Difference {
        why: "Teredo is not opened: the conversation of its ends counts",
        applies: |theirs, ours| theirs.has("teredo") && ours.as_ref().is_ok_and(|flow| flow.4 == "udp"),
    },
];

fn is(ours: &Ours, reason: &str) -> bool {
    ours.as_ref().is_err_and(|ours| ours == reason)
}

/// That there is time for it; the name is also known to `xtask/src/soak.rs`.
const WANTED: &str = "SENSOR_TSHARK";

#[test]
fn inspect_names_the_innermost_flow_that_tshark_names() -> Result<()> {
    if env::var_os(WANTED).is_none() {
        return left_out("the comparison with tshark, which takes minutes: it is left to cargo xtask soak");
    }
    if Command::new("tshark").arg("--version").output().is_err() {
        return left_out("the comparison with tshark: it is not installed");
    }
    let captures = captures()?;
    let (mut flows, mut neither, mut differences) = (0, 0, [0; DIFFERENCES.len()]);
    let mut unlisted = Vec::new();
    for path in &captures {
        let (ours, theirs) = (inspected(path)?, dissected(path)?);
        let name = path.display();
        ensure!(ours.len() == theirs.len(), "{name}: {} frames, tshark {}", ours.len(), theirs.len());
        for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let flow = theirs.flow()?;
            if ours.as_ref().ok() == flow.as_ref() {
                *(if flow.is_some() { &mut flows } else { &mut neither }) += 1;
            } else if let Some(which) = DIFFERENCES.iter().position(|it| (it.applies)(theirs, ours)) {
                differences[which] += 1;
            } else {
                let protocols = theirs.protocols.join(":");
                unlisted
                    .push(format!("{name}: frame {}: {ours:?}, tshark {flow:?} ({protocols})", index + 1));
            }
        }
    }
    eprintln!("{} captures, by inspect and by tshark", captures.len());
    eprintln!("{flows:>9}  frames with the same flow\n{neither:>9}  without a flow for both");
    for (difference, frames) in DIFFERENCES.iter().zip(differences) {
        eprintln!("{frames:>9}  {}", difference.why);
    }
    let shown = &unlisted[..unlisted.len().min(20)];
    ensure!(unlisted.is_empty(), "{} unlisted differences: {shown:#?}", unlisted.len());
    ensure!(flows > 0, "no flow was agreed upon");
    Ok(())
}

/// Every frame as `inspect` prints it.
fn inspected(path: &Path) -> Result<Vec<Ours>> {
    let mut lines = Vec::new();
    let view = View { format: OutputFormat::Json, explain: None };
    inspect_file(CaptureFile::open(path)?, &mut UserEngine(Decapsulate::ALL), view, &mut lines)?;
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(ours).collect()
}

fn ours(line: &[u8]) -> Result<Ours> {
    let value: Value = serde_json::from_slice(line)?;
    if let Some(reason) = value["ignored"].as_str() {
        return Ok(Err(reason.to_owned()));
    }
    let text = |name: &str| value["key"][name].as_str().with_context(|| format!("no {name} in {value}"));
    let port = |name: &str| -> Result<u16> {
        let number = value["key"][name].as_u64().with_context(|| format!("no {name} in {value}"))?;
        Ok(u16::try_from(number)?)
    };
    let (src, dst) = (text("src")?.parse()?, text("dst")?.parse()?);
    Ok(Ok((src, dst, port("src_port")?, port("dst_port")?, text("protocol")?.to_owned())))
}

/// Every frame by itself, as tshark sees it: it puts no fragments and no segments together.
fn dissected(path: &Path) -> Result<Vec<Theirs>> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE"]);
    command.args(["-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields", "-E", "occurrence=a"]);
    command.args(["-E", "separator=;", "-E", "aggregator=,", "-e", "frame.protocols"]);
    command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    let output = command.arg("-r").arg(path).output().context("cannot run tshark")?;
    // It also fails where the last frame is cut, which the number of frames shows.
    let text = String::from_utf8(output.stdout).context("tshark wrote something else than text")?;
    text.lines().map(Theirs::of_line).collect()
}

impl Theirs {
    fn of_line(line: &str) -> Result<Self> {
        let mut columns = line.split(';');
        let protocols = columns.next().unwrap_or_default().split(':').map(str::to_owned).collect();
        let mut fields = HashMap::new();
        for field in FIELDS {
            let column = columns.next().with_context(|| format!("no {field}: {line}"))?;
            let values = column.split(',').filter(|value| !value.is_empty()).map(str::to_owned);
            fields.insert(field, values.collect());
        }
        Ok(Self { protocols, fields })
    }

    fn has(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|other| other == protocol)
    }

    /// The last value of a field that is a number, if there is one.
    fn last(&self, field: &str) -> Option<u32> {
        self.fields[field].last()?.parse().ok()
    }

    /// The innermost flow: the last transport that follows the last IP header, unless an ICMP message quotes
    /// it.
    fn flow(&self) -> Result<Option<Flow>> {
        let mut read: HashMap<&str, usize> = HashMap::new();
        let mut next = |field: &'static str| -> Option<&str> {
            let place = read.entry(field).or_default();
            *place += 1;
            self.fields[field].get(*place - 1).map(String::as_str)
        };
        let (mut ends, mut flow) = (None, None);
        for protocol in &self.protocols {
            let (fields, protocol) = match protocol.as_str() {
                "ip" => (["ip.src", "ip.dst"], None),
                "ipv6" => (["ipv6.src", "ipv6.dst"], None),
                "tcp" => (["tcp.srcport", "tcp.dstport"], Some("tcp")),
                "udp" => (["udp.srcport", "udp.dstport"], Some("udp")),
                "udplite" => (["udp.srcport", "udp.dstport"], Some("udplite")),
                "sctp" => (["sctp.srcport", "sctp.dstport"], Some("sctp")),
                "icmp" | "icmpv6" => return Ok(None),
                // A frame in a tunnel; what it carries is yet to come.
                "eth" => {
                    (ends, flow) = (None, None);
                    continue;
                }
                _ => continue,
            };
            let values = fields.map(&mut next);
            let Some(protocol) = protocol else {
                (ends, flow) = (Some(values), None);
                continue;
            };
            if let (Some([Some(src), Some(dst)]), [Some(src_port), Some(dst_port)]) = (ends, values) {
                flow = Some((
                    src.parse()?,
                    dst.parse()?,
                    src_port.parse()?,
                    dst_port.parse()?,
                    protocol.to_owned(),
                ));
            }
        }
        Ok(flow)
    }
}
