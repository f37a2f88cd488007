//! As much of bencoding (BEP 3) as a DHT node and a tracker need.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    str,
};

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An integer, not looked into.
    Integer,
    /// A string of bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A dictionary.
    Dictionary(BTreeMap<Vec<u8>, Value>),
}

/// Deepest nesting that is followed.
const DEPTH: usize = 8;

impl Value {
    /// Reads the value at the beginning of `text`.
    pub fn read(text: &[u8]) -> Option<Self> {
        value(text, DEPTH).map(|(value, _)| value)
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Self> {
        if let Self::Dictionary(entries) = self { entries.get(key) } else { None }
    }

    /// The bytes of a string.
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// Appends a string.
pub fn string(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend(format!("{}:", bytes.len()).bytes());
    text.extend(bytes);
}

/// Addresses in the compact form of BEP 23 and BEP 7: four or sixteen bytes and a port each.
pub fn compact(addresses: &[SocketAddr]) -> Vec<u8> {
    addresses.iter().copied().flat_map(compact_one).collect()
}

/// One address in that form.
pub fn compact_one(address: SocketAddr) -> Vec<u8> {
    let mut compact = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    compact.extend(address.port().to_be_bytes());
    compact
}

fn value(text: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    let depth = depth.checked_sub(1)?;
    let (first, rest) = text.split_first()?;
    match first {
        b'i' => {
            let end = rest.iter().position(|byte| *byte == b'e')?;
            Some((Value::Integer, &rest[end + 1..]))
        }
        b'l' => {
            let (mut items, mut rest) = (Vec::new(), rest);
            while !rest.starts_with(b"e") {
                let (item, behind) = value(rest, depth)?;
                items.push(item);
                rest = behind;
            }
            Some((Value::List(items), &rest[1..]))
        }
        b'd' => {
            let (mut entries, mut rest) = (BTreeMap::new(), rest);
            while !rest.starts_with(b"e") {
                let (key, behind) = bytes(rest)?;
                let (item, behind) = value(behind, depth)?;
                entries.insert(key, item);
                rest = behind;
            }
            Some((Value::Dictionary(entries), &rest[1..]))
        }
        _ => bytes(text).map(|(bytes, rest)| (Value::Bytes(bytes), rest)),
    }
}

fn bytes(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let length: usize = str::from_utf8(&text[..colon]).ok()?.parse().ok()?;
    let (bytes, rest) = text[colon + 1..].split_at_checked(length)?;
    Some((bytes.to_vec(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_query_is_read() {
        let query = b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe";
        let value = Value::read(query).expect("an example of BEP 5 must be read");
        let target = value.get(b"a").and_then(|a| a.get(b"info_hash")).and_then(Value::bytes);
        assert_eq!(target, Some(&b"mnopqrstuvwxyz123456"[..]));
        assert_eq!(value.get(b"t").and_then(Value::bytes), Some(&b"aa"[..]));
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(text: Vec<u8>) {
            Value::read(&text);
        }
    }
}
