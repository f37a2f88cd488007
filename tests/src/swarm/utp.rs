//! The uTP side (BEP 29) of live peers: they accept a conversation and acknowledge what they are sent.

/// Length of a header without extensions.
const HEADER: usize = 20;
/// The only version there is, in the low half of the first byte.
const VERSION: u8 = 1;

const DATA: u8 = 0;
const STATE: u8 = 2;
const SYN: u8 = 4;

/// The acknowledgement of a datagram that opens or continues a conversation.
pub fn answer(text: &[u8]) -> Option<[u8; HEADER]> {
    let header: &[u8; HEADER] = text.first_chunk()?;
    let (kind, version) = (header[0] >> 4, header[0] & 0x0f);
    if version != VERSION || !matches!(kind, SYN | DATA) {
        return None;
    }
    let [_, _, high, low, sent @ ..] = *header;
    let connection = u16::from_be_bytes([high, low]);
    // SYN carries the identity that we send with; what follows it carries the next one.
    let connection = if kind == SYN { connection } else { connection.wrapping_sub(1) };
    let mut answer = [0; HEADER];
    answer[0] = STATE << 4 | VERSION;
    answer[2..4].copy_from_slice(&connection.to_be_bytes());
    answer[4..8].copy_from_slice(&sent[..4]);
    // Window: 1 MiB. Our sequence number: 1, as we never send data.
    answer[12..16].copy_from_slice(&(1_u32 << 20).to_be_bytes());
    answer[16..18].copy_from_slice(&[0, 1]);
    // Acknowledged: theirs.
    answer[18..20].copy_from_slice(&header[16..18]);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_is_acknowledged_under_its_own_connection() {
        let syn = [0x41, 0, 0x12, 0x34, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0x56, 0x78, 0, 0];
        let state = answer(&syn).expect("a SYN must be answered");
        assert_eq!((state[0], &state[2..4], &state[18..20]), (0x21, &[0x12, 0x34][..], &[0x56, 0x78][..]));
    }

    #[test]
    fn bencoded_text_is_no_utp() {
        assert_eq!(answer(b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"), None);
    }
}
