//! The loop over headers: one header a step, until one of them carries the flow or ends the walk.
//!
//! The kernel's verifier follows a step from each state that another step left, so all that a step leaves
//! is [forgotten](Frame::forget_range), and the flow is read after the loop.

use core::ops::ControlFlow;

use super::{Decapsulate, Layer, Link, Trace, found::Found, icmp, ipv6, link, transport, tunnel, walk::Walk};
use crate::{
    frame::{Frame, Step},
    packet::{SCTP, TCP, UDP, UDP_LITE},
    reason::Ignored,
};

/// A walk with what must be known to go on. Small, because it lies on the kernel program's stack.
pub struct Headers<'f, F, T> {
    pub walk: Walk<'f, F>,
    decapsulate: Decapsulate,
    trace: T,
    /// The header that comes next, as a word; with [`CARRIES`] or [`ENDED`] there is no next step.
    next: usize,
}

/// The header carries the flow.
const CARRIES: usize = 1 << 19;
/// The walk ended at this header; the word is the index of the reason instead.
const ENDED: usize = 1 << 20;
const BITS: usize = CARRIES | ENDED | Layer::WORD_BITS;

const _: () = assert!(Layer::WORD_BITS < CARRIES);

impl<'f, F: Frame, T: Trace> Headers<'f, F, T> {
    #[inline(always)]
    pub fn new(walk: Walk<'f, F>, link: Link, decapsulate: Decapsulate, trace: T) -> Self {
        let mut headers = Self { walk, decapsulate, trace, next: 0 };
        headers.set_next(Layer::Link(link).to_word());
        headers
    }

    #[inline(always)]
    fn set_next(&mut self, next: usize) {
        self.next = self.walk.forget(next) & BITS;
    }

    /// Reads the next header, and returns what comes behind it; nothing if the header carries the flow.
    #[inline(always)]
    fn header(&mut self) -> Result<Option<Layer>, Ignored> {
        let (walk, decapsulate) = (&mut self.walk, self.decapsulate);
        let layer = Layer::of_word(self.next);
        self.trace.header(layer, walk.offset());
        match layer {
            Layer::Link(link) => link::header(walk, link).map(Some),
            Layer::EtherType(ethertype) => link::payload(walk, ethertype).map(Some),
            Layer::GtpExtension => tunnel::gtp_extension(walk).map(Some),
            Layer::LaterFragment(_) if walk.is_quote() => Err(Ignored::NotL4),
            Layer::LaterFragment(_) | Layer::Protocol(TCP | SCTP | UDP_LITE) => Ok(None),
            Layer::Protocol(UDP) if walk.is_quote() => Ok(None),
            Layer::Protocol(UDP) => tunnel::udp(walk, decapsulate),
            Layer::Protocol(protocol) => ip_payload(walk, protocol, decapsulate).map(Some),
        }
    }

    /// Reads the flow that the walk came to into `found`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the index of a reason has 8 bits")]
    pub fn end(&self, found: &mut Found) -> Result<(), Ignored> {
        if self.next & ENDED != 0 {
            return Err(Ignored::of_index(self.next as u8));
        }
        if self.next & CARRIES == 0 {
            return Err(Ignored::TooDeep);
        }
        match Layer::of_word(self.next & Layer::WORD_BITS) {
            Layer::LaterFragment(protocol) => self.walk.later_fragment(protocol, found),
            Layer::Protocol(protocol) => {
                let marks = transport::marks(&self.walk, protocol)?;
                self.walk.segment(protocol, marks, found)
            }
            // No other header carries a flow.
            _ => Err(Ignored::NotL4),
        }
    }
}

impl<F: Frame, T: Trace> Step for Headers<'_, F, T> {
    #[inline(always)]
    fn step(&mut self) -> ControlFlow<()> {
        match self.header() {
            Ok(Some(next)) => {
                self.set_next(next.to_word());
                return ControlFlow::Continue(());
            }
            Ok(None) => self.set_next(self.next | CARRIES),
            Err(reason) => self.set_next(reason as usize | ENDED),
        }
        ControlFlow::Break(())
    }
}

/// What IP carries other than a transport with ports.
#[inline(always)]
fn ip_payload<F: Frame>(
    walk: &mut Walk<'_, F>,
    protocol: u8,
    decapsulate: Decapsulate,
) -> Result<Layer, Ignored> {
    match protocol {
        ipv6::AUTHENTICATION => ipv6::authentication(walk),
        ipv6::FRAGMENT if walk.is_ipv6() => ipv6::fragment(walk),
        protocol if ipv6::is_extension(protocol) && walk.is_ipv6() => ipv6::extension(walk),
        icmp::V4 if !walk.is_ipv6() => icmp::v4(walk),
        icmp::V6 if walk.is_ipv6() => icmp::v6(walk),
        _ if walk.is_quote() => Err(Ignored::NotL4),
        tunnel::IPV4 => tunnel::ip(link::IPV4, decapsulate),
        tunnel::IPV6 => tunnel::ip(link::IPV6, decapsulate),
        tunnel::GRE => tunnel::gre(walk, decapsulate),
        tunnel::MPLS => Ok(Layer::EtherType(link::MPLS)),
        tunnel::ETHER_IP | tunnel::L2TP => Err(Ignored::UnsupportedEncapsulation),
        _ => Err(Ignored::NotL4),
    }
}
