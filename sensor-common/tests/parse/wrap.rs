//! Everything that the parser opens or names, put around a plain frame: frames of which it is known what must
//! be read in them, because they were built that way.

use sensor_common::{packet::UDP, reason::Ignored};

use crate::{
    frames::*,
    mutate::{Random, plain_frame},
};

const MPLS: u16 = 0x8847;
const MACSEC: u16 = 0x88e5;

/// What stands behind the two addresses of an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Content {
    ethertype: u16,
    payload: Vec<u8>,
}

impl Content {
    fn new(ethertype: u16, payload: Vec<u8>) -> Self {
        Self { ethertype, payload }
    }

    fn of_frame(frame: &[u8]) -> Self {
        Self::new(u16::from_be_bytes([frame[12], frame[13]]), frame[14..].to_vec())
    }

    fn frame(&self) -> Vec<u8> {
        ethernet(self.ethertype, &self.payload)
    }

    /// The payload, if it is of one of these ethertypes.
    fn only(&self, ethertypes: &[u16]) -> Option<&[u8]> {
        ethertypes.contains(&self.ethertype).then_some(&self.payload)
    }
}

/// One way to carry a frame or what is in it.
pub struct Kind {
    pub name: &'static str,
    /// Puts it around; nothing if it cannot carry this content.
    wrap: fn(&Content, &mut Random) -> Option<Content>,
}

const fn kind(name: &'static str, wrap: fn(&Content, &mut Random) -> Option<Content>) -> Kind {
    Kind { name, wrap }
}

pub const KINDS: &[Kind] = &[
    kind("802.1Q tag", |inside, _| Some(tagged(0x8100, inside))),
    kind("802.1ad tag", |inside, _| Some(tagged(0x88a8, inside))),
    kind("VLAN tag 0x9100", |inside, _| Some(tagged(0x9100, inside))),
    kind("802.1ah tag", |inside, _| Some(Content::new(0x88e7, with(&[0, 0, 0, 9], &inside.frame())))),
    kind("802.2 SNAP", snap),
    kind("802.2 LLC", |inside, _| in_length(&with(&[6, 6, 3], inside.only(&[IPV4])?))),
    kind("MPLS", |inside, random| {
        let packet = inside.only(&[IPV4, IPV6])?;
        Some(Content::new(MPLS, with(&labels(1 + random.below(3)), packet)))
    }),
    kind("MPLS pseudowire", |inside, random| {
        // The addresses begin with a byte that takes the control word for granted.
        let label = with(&labels(1 + random.below(3)), &[0; 4]);
        Some(Content::new(MPLS, with(&label, &inside.frame())))
    }),
    kind("PPPoE session", pppoe),
    kind("MACsec, signed", |inside, random| Some(macsec(random.pick(&[0, 0x20]), inside))),
    kind(ENCRYPTED, |inside, random| Some(macsec(random.pick(&[0x0c, 0x2c]), inside))),
    kind("GRE", |inside, random| {
        let (flags, options) = gre_options(random);
        let packet = inside.only(&[IPV4, IPV6, MPLS])?;
        Some(in_ip(47, &gre(flags, inside.ethertype, &options, packet), random))
    }),
    kind("NVGRE", |inside, random| {
        let (flags, options) = gre_options(random);
        Some(in_ip(47, &gre(flags, 0x6558, &options, &inside.frame()), random))
    }),
    kind("ERSPAN I", |inside, random| Some(in_ip(47, &gre(0, 0x88be, &[], &inside.frame()), random))),
    kind("ERSPAN II", |inside, random| {
        let header = [0x10, 0, random.byte(), 0, 0, 0, 0, 0];
        Some(in_ip(47, &gre(0x10, 0x88be, &[0; 4], &with(&header, &inside.frame())), random))
    }),
    kind("ERSPAN III", |inside, random| Some(in_ip(47, &erspan_3(0, &inside.frame(), random), random))),
    kind("ERSPAN III of IP", |inside, random| {
        let packet = inside.only(&[IPV4, IPV6])?;
        Some(in_ip(47, &erspan_3(2 << 2, packet, random), random))
    }),
    kind("VXLAN", |inside, random| {
        let port = random.pick(&[4789, 8472]);
        Some(in_ip(UDP, &vxlan(port, &inside.frame()), random))
    }),
    kind("GENEVE", |inside, random| {
        Some(in_ip(UDP, &geneve(random.pick(&[0, 1, 7]), 0x6558, &inside.frame()), random))
    }),
    kind("GENEVE of IP", |inside, random| {
        let packet = inside.only(&[IPV4, IPV6])?;
        Some(in_ip(UDP, &geneve(random.pick(&[0, 1, 7]), inside.ethertype, packet), random))
    }),
    kind("GTP-U", gtp_u),
    kind("IPv4 in IPv4", |inside, random| Some(in_ipv4(4, inside.only(&[IPV4])?, random))),
    kind("IPv6 in IPv4", |inside, random| Some(in_ipv4(41, inside.only(&[IPV6])?, random))),
    kind("IPv4 in IPv6", |inside, random| Some(in_ipv6(4, inside.only(&[IPV4])?, random))),
    kind("IPv6 in IPv6", |inside, random| Some(in_ipv6(41, inside.only(&[IPV6])?, random))),
    kind("MPLS in IP", |inside, random| {
        Some(in_ip(137, &with(&labels(1), inside.only(&[IPV4, IPV6])?), random))
    }),
    kind(ERROR, |inside, random| {
        let header = [random.pick(&[3, 11, 12]), random.pick(&[0, 1, 3, 13]), 0, 0, 0, 0, 0, 0];
        Some(in_ipv4(1, &with(&header, inside.only(&[IPV4])?), random))
    }),
    kind(ERROR_6, |inside, random| {
        let header = [random.pick(&[1, 3, 4]), random.pick(&[0, 1, 4]), 0, 0, 0, 0, 0, 0];
        Some(in_ipv6(58, &with(&header, inside.only(&[IPV6])?), random))
    }),
];

const ENCRYPTED: &str = "MACsec, encrypted";
const ERROR: &str = "ICMP error";
const ERROR_6: &str = "ICMPv6 error";

fn tagged(kind: u16, inside: &Content) -> Content {
    Content::new(kind, tag(inside.ethertype, &inside.payload))
}

/// A payload under its length in the place of an ethertype.
fn in_length(payload: &[u8]) -> Option<Content> {
    let length = u16::try_from(payload.len()).ok().filter(|length| *length <= 1500)?;
    Some(Content::new(length, payload.to_vec()))
}

fn snap(inside: &Content, random: &mut Random) -> Option<Content> {
    let [high, low] = inside.ethertype.to_be_bytes();
    let header = [0xaa, 0xaa, 3, 0, 0, random.pick(&[0, 0xf8]), high, low];
    // A length has no place here.
    if inside.ethertype <= 1500 { None } else { in_length(&with(&header, &inside.payload)) }
}

/// So many labels, the last of them marked.
fn labels(number: usize) -> Vec<u8> {
    (1..=number).flat_map(|place| [0, 1, u8::from(place == number), 64]).collect()
}

fn pppoe(inside: &Content, _: &mut Random) -> Option<Content> {
    let payload = inside.only(&[IPV4, IPV6, MPLS])?;
    let [high, low] = match inside.ethertype {
        IPV4 => [0, 0x21],
        IPV6 => [0, 0x57],
        _ => [2, 0x81],
    };
    Some(Content::new(0x8864, with(&[0x11, 0, 0, 1, 0, 0, high, low], payload)))
}

/// With the signature behind the data.
fn macsec(control: u8, inside: &Content) -> Content {
    let [high, low] = inside.ethertype.to_be_bytes();
    let channel = if control & 0x20 == 0 { 0 } else { 8 };
    let header = [&[control, 0, 0, 0, 0, 1], vec![0xcc; channel].as_slice(), &[high, low]].concat();
    Content::new(MACSEC, with(&with(&header, &inside.payload), &[0x51; 16]))
}

/// Checksum, key and sequence number, each or not.
fn gre_options(random: &mut Random) -> (u8, Vec<u8>) {
    let flags = random.pick(&[0, 0x80, 0x20, 0x10, 0xb0]);
    (flags, vec![0; 4 * flags.count_ones() as usize])
}

fn erspan_3(frame_type: u8, inside: &[u8], random: &mut Random) -> Vec<u8> {
    let platform = random.below(2);
    let mut header = vec![0; 12 + 8 * platform];
    header[..3].copy_from_slice(&[0x20, 0, random.byte()]);
    header[10] = frame_type;
    header[11] = u8::from(platform == 1);
    gre(0x10, 0x22eb, &[0; 4], &with(&header, inside))
}

fn gtp_u(inside: &Content, random: &mut Random) -> Option<Content> {
    const ONE_EXTENSION: [u8; 8] = [0, 0, 0, 0x85, 1, 0, 0, 0];
    let packet = inside.only(&[IPV4, IPV6])?;
    let datagram = match random.below(3) {
        0 => gtp(0, &[], packet),
        1 => gtp(2, &[0, 1, 0, 0x85], packet),
        _ => gtp(4, &ONE_EXTENSION, packet),
    };
    Some(in_ip(UDP, &datagram, random))
}

fn in_ip(protocol: u8, payload: &[u8], random: &mut Random) -> Content {
    let put = random.pick(&[in_ipv4, in_ipv6]);
    put(protocol, payload, random)
}

fn in_ipv4(protocol: u8, payload: &[u8], random: &mut Random) -> Content {
    let options = vec![1; random.pick(&[0, 0, 8])];
    Content::new(IPV4, ipv4_with(protocol, &options, 0, payload))
}

fn in_ipv6(protocol: u8, payload: &[u8], random: &mut Random) -> Content {
    let packet = match random.below(3) {
        0 => ipv6(60, &extension(protocol, 0, payload)),
        _ => ipv6(protocol, payload),
    };
    Content::new(IPV6, packet)
}

/// What must be read in a frame as it was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// What is read in the plain frame inside.
    Inside,
    /// No flow; but it quotes the one of the plain frame inside, if that has one.
    Quote,
    /// No flow, for this reason.
    Ignored(Ignored),
}

/// A frame as it was built.
#[derive(Clone, Debug)]
pub struct Built {
    pub bytes: Vec<u8>,
    /// The plain frame inside.
    pub inside: Vec<u8>,
    /// What is around it, innermost first, each an index into [`KINDS`].
    pub around: Vec<usize>,
    pub meaning: Meaning,
}

impl Built {
    /// With all that a plain frame may have, two kinds around it fit the number of headers that are walked.
    pub fn may_be_too_deep(&self) -> bool {
        self.around.len() > 2
    }
}

/// A plain frame with nothing, something or too much around it.
pub fn built(random: &mut Random) -> Built {
    let inside = plain_frame(random);
    let (mut around, mut meaning) = (Vec::new(), Meaning::Inside);
    let mut content = Content::of_frame(&inside);
    for _ in 0..random.pick(&[0, 0, 1, 1, 1, 2, 2, 3, 9]) {
        let (index, outer) = wrap(&content, random);
        meaning = meant(KINDS[index].name, meaning, around.is_empty());
        around.push(index);
        content = outer;
    }
    Built { bytes: content.frame(), inside, around, meaning }
}

/// Puts any kind around that can carry the content.
fn wrap(content: &Content, random: &mut Random) -> (usize, Content) {
    loop {
        let index = random.below(KINDS.len());
        if let Some(outer) = (KINDS[index].wrap)(content, random) {
            return (index, outer);
        }
    }
}

fn meant(kind: &str, inside: Meaning, is_first: bool) -> Meaning {
    match kind {
        ENCRYPTED => Meaning::Ignored(Ignored::UnsupportedEncapsulation),
        ERROR | ERROR_6 if is_first => Meaning::Quote,
        // Of a tunnel that is quoted, what is inside is no evidence.
        ERROR | ERROR_6 => Meaning::Ignored(Ignored::NotL4),
        _ => inside,
    }
}
