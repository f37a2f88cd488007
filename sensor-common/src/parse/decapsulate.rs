//! Which tunnels are opened.

/// The tunnels that are opened, so that the flow inside counts. In the kernel it is a load-time constant,
/// and what is not wanted is dead code.
///
/// A tunnel in UDP that is not opened counts as the conversation of its ends; one without ports is
/// ignored as an unsupported encapsulation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decapsulate {
    kinds: u64,
    /// Four ports of 16 bits, 0 where unused.
    vxlan_ports: u64,
}

impl Decapsulate {
    /// GRE with IP, MPLS or Ethernet inside (NVGRE).
    pub const GRE: u64 = 1;
    /// ERSPAN of types I, II and III.
    pub const ERSPAN: u64 = 1 << 1;
    /// VXLAN.
    pub const VXLAN: u64 = 1 << 2;
    /// GENEVE.
    pub const GENEVE: u64 = 1 << 3;
    /// IP in IP: both families in both.
    pub const IP: u64 = 1 << 4;
    /// GTP-U.
    pub const GTP: u64 = 1 << 5;

    /// Every kind with its name in the configuration.
    pub const KINDS: [(&'static str, u64); Self::MAX_KINDS] = [
        ("gre", Self::GRE),
        ("erspan", Self::ERSPAN),
        ("vxlan", Self::VXLAN),
        ("geneve", Self::GENEVE),
        ("ipip", Self::IP),
        ("gtp-u", Self::GTP),
    ];

    const MAX_KINDS: usize = 6;
    const EVERY_KIND: u64 = (1 << Self::MAX_KINDS) - 1;

    /// Ports that VXLAN may have at once.
    pub const MAX_VXLAN_PORTS: usize = 4;

    /// The port that IANA gave to VXLAN, and the one that Linux uses by default.
    pub const DEFAULT_VXLAN_PORTS: [u16; Self::MAX_VXLAN_PORTS] = [4789, 8472, 0, 0];

    /// Nothing is opened.
    pub const NONE: Self = Self { kinds: 0, vxlan_ports: 0 };

    /// Everything is opened.
    pub const ALL: Self = Self::new(Self::EVERY_KIND, Self::DEFAULT_VXLAN_PORTS);

    /// The kinds whose bits are set in `kinds`; VXLAN on these ports, of which 0 stands for none.
    #[must_use]
    pub const fn new(kinds: u64, vxlan_ports: [u16; Self::MAX_VXLAN_PORTS]) -> Self {
        let [a, b, c, d] = vxlan_ports;
        let ports = a as u64 | (b as u64) << 16 | (c as u64) << 32 | (d as u64) << 48;
        Self { kinds, vxlan_ports: if kinds & Self::VXLAN == 0 { 0 } else { ports } }
    }

    /// Both words, as the kernel program keeps them.
    #[must_use]
    pub const fn to_words(self) -> [u64; 2] {
        [self.kinds, self.vxlan_ports]
    }

    /// From [`to_words`](Self::to_words).
    #[inline(always)]
    #[must_use]
    pub const fn of_words([kinds, vxlan_ports]: [u64; 2]) -> Self {
        Self { kinds, vxlan_ports }
    }

    /// Whether one of these kinds is opened.
    #[inline(always)]
    #[must_use]
    pub const fn opens(self, kinds: u64) -> bool {
        self.kinds & kinds != 0
    }

    /// The ports of VXLAN.
    pub fn vxlan_ports(self) -> impl Iterator<Item = u16> {
        let ports = self.vxlan_ports.to_le_bytes();
        (0..Self::MAX_VXLAN_PORTS)
            .map(move |place| u16::from_le_bytes([ports[2 * place], ports[2 * place + 1]]))
            .filter(|&port| port != 0)
    }

    /// Whether UDP to this port is VXLAN.
    #[inline(always)]
    #[must_use]
    pub const fn is_vxlan_port(self, port: u16) -> bool {
        let (ports, port) = (self.vxlan_ports, port as u64);
        // Port 0 is an empty place.
        port != 0
            && self.opens(Self::VXLAN)
            && (ports & 0xffff == port
                || ports >> 16 & 0xffff == port
                || ports >> 32 & 0xffff == port
                || ports >> 48 == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_ports_are_vxlan() {
        let decapsulate = Decapsulate::new(Decapsulate::VXLAN, [4789, 0, 8472, 65535]);
        for port in 0..=u16::MAX {
            assert_eq!(decapsulate.is_vxlan_port(port), [4789, 8472, 65535].contains(&port), "{port}");
        }
        assert!(decapsulate.vxlan_ports().eq([4789, 8472, 65535]));
        assert_eq!(Decapsulate::of_words(decapsulate.to_words()), decapsulate);
    }

    #[test]
    fn everything_is_what_has_a_name() {
        let named = Decapsulate::KINDS.iter().fold(0, |kinds, (_, kind)| kinds | kind);
        assert_eq!(Decapsulate::new(named, Decapsulate::DEFAULT_VXLAN_PORTS), Decapsulate::ALL);
    }

    #[test]
    fn ports_are_nothing_without_the_kind() {
        let decapsulate = Decapsulate::new(Decapsulate::GENEVE, [4789, 0, 0, 0]);
        assert!(!decapsulate.is_vxlan_port(4789));
        assert!(decapsulate.opens(Decapsulate::GENEVE));
    }
}
