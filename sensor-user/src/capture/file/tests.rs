//! What captures of every format yield, and what broken ones do.

use std::io::Cursor;

use proptest::prelude::*;

use super::{
    builder::{IF_TSOFFSET, IF_TSRESOL, Order, PcapBuilder, PcapNgBuilder},
    *,
};

/// A frame with its bytes, so that all of a file can be compared.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    time: u64,
    link: Link,
    bytes: Vec<u8>,
    wire_len: usize,
}

/// Every frame up to the end or the error.
fn read_all(mut file: CaptureFile) -> (Vec<Seen>, Option<FileError>) {
    let mut seen = Vec::new();
    loop {
        match file.next_frame() {
            Ok(Some(TimedFrame { time, link, frame })) => {
                let CapturedFrame { bytes, wire_len } = frame;
                seen.push(Seen { time: time.0, link, bytes: bytes.to_vec(), wire_len });
            }
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error)),
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<Seen>, Option<FileError>) {
    match CaptureFile::from_reader("it", Cursor::new(bytes.to_vec())) {
        Ok(file) => read_all(file),
        Err(error) => (Vec::new(), Some(error)),
    }
}

fn error_of(bytes: &[u8]) -> String {
    read(bytes).1.expect("the file must be refused").to_string()
}

fn ethernet(time: u64, bytes: &[u8]) -> Seen {
    Seen { time, link: Link::Ethernet, bytes: bytes.to_vec(), wire_len: bytes.len() }
}

const NOON: u64 = 1_700_000_000_123_456_000;

/// Two frames at `NOON` and a second later, in every format.
fn same_capture_in_every_format() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for order in Order::BOTH {
        for nanoseconds in [false, true] {
            let mut pcap = PcapBuilder::new(order, nanoseconds, 1);
            pcap.frame(NOON, b"first").frame(NOON + 1_000_000_000, b"the second");
            files.push((format!("pcap, {order:?}, nanoseconds {nanoseconds}"), pcap.bytes));
        }
        for (resolution, unit) in [(6, 1000), (9, 1)] {
            let mut pcapng = PcapNgBuilder::new(order);
            pcapng.interface(1, 0, &[(IF_TSRESOL, &[resolution])]);
            pcapng.enhanced(0, NOON / unit, b"first", &[]);
            pcapng.block(5, &[0; 12]).obsolete(0, (NOON + 1_000_000_000) / unit, b"the second");
            files.push((format!("pcapng, {order:?}, resolution {resolution}"), pcapng.bytes));
        }
    }
    files
}

#[test]
fn every_format_yields_the_same_frames() {
    for (name, bytes) in same_capture_in_every_format() {
        let (seen, error) = read(&bytes);
        assert!(error.is_none(), "{name}: {error:?}");
        assert_eq!(seen, [ethernet(NOON, b"first"), ethernet(NOON + 1_000_000_000, b"the second")], "{name}");
    }
}

#[test]
fn a_reader_that_gives_single_bytes_is_as_good_as_a_file() {
    struct Dribble(Cursor<Vec<u8>>);
    impl Read for Dribble {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }
    let mut files = same_capture_in_every_format();
    for order in Order::BOTH {
        // A record that claims more than any capture keeps, a little of which is there.
        for captured in [MAX_FRAME, MAX_FRAME + 1, 1 << 31] {
            let mut pcap = PcapBuilder::new(order, false, 1);
            let captured = order.u32(u32::try_from(captured).unwrap());
            pcap.bytes.extend([[0; 4], [0; 4], captured, [0; 4], [7; 4]].concat());
            files.push((format!("pcap, {order:?}, {captured:?} captured"), pcap.bytes));
        }
    }
    for (name, bytes) in files {
        let file = CaptureFile::from_reader("it", Dribble(Cursor::new(bytes.clone()))).unwrap();
        let outcome = |(seen, error): (Vec<Seen>, Option<FileError>)| (seen, error.map(|it| it.to_string()));
        assert_eq!(outcome(read_all(file)), outcome(read(&bytes)), "{name}");
    }
}

#[test]
fn a_file_cut_anywhere_yields_what_is_whole_and_says_where_it_was_cut() {
    for (name, bytes) in same_capture_in_every_format() {
        let (whole, _) = read(&bytes);
        let mut clean_ends = Vec::new();
        for cut in 0..bytes.len() {
            let (seen, error) = read(&bytes[..cut]);
            assert_eq!(seen[..], whole[..seen.len()], "{name} cut at {cut}");
            match error {
                None => clean_ends.push((cut, seen.len())),
                Some(FileError::Truncated { offset, frame, .. }) => {
                    assert_eq!(frame, seen.len() as u64 + 1, "{name} cut at {cut}");
                    assert!(offset < cut as u64, "{name} cut at {cut}: {offset}");
                }
                Some(FileError::Empty { .. } | FileError::NotACapture { .. }) => {
                    assert!(cut < 4, "{name} cut at {cut}");
                }
                Some(FileError::TruncatedHeader { .. }) => assert!(cut < 24, "{name} cut at {cut}"),
                Some(other) => panic!("{name} cut at {cut}: {other}"),
            }
        }
        // The only clean ends are those between records: after the file header, a frame or a block.
        let frames: Vec<_> = clean_ends.iter().map(|(_, frames)| *frames).collect();
        let expected: &[usize] = if name.starts_with("pcapng") { &[0, 0, 1, 1] } else { &[0, 1] };
        assert_eq!(frames, expected, "{name}: {clean_ends:?}");
    }
}

#[test]
fn interface_clocks_are_read_in_every_unit() {
    let offset = |order: Order, seconds| order.i64(seconds);
    for order in Order::BOTH {
        let cases: [(&str, u8, i64, u64, u64); 9] = [
            ("seconds", 0, 0, 5, 5_000_000_000),
            ("microseconds", 6, 0, 5, 5_000),
            ("nanoseconds", 9, 0, 5, 5),
            ("picoseconds", 12, 0, 5_999, 5),
            ("finer than any clock", 127, 0, u64::MAX, 0),
            ("halves", 0x81, 0, 3, 1_500_000_000),
            ("2^-32", 0x80 | 32, 0, 1 << 31, 500_000_000),
            ("an offset forward", 6, 100, 7, 100_000_007_000),
            ("an offset before the epoch", 6, -100, 7, 0),
        ];
        for (name, resolution, seconds, units, expected) in cases {
            let mut file = PcapNgBuilder::new(order);
            file.interface(1, 0, &[(IF_TSRESOL, &[resolution]), (IF_TSOFFSET, &offset(order, seconds))]);
            file.enhanced(0, units, b"frame", &[]);
            assert_eq!(read(&file.bytes).0, [ethernet(expected, b"frame")], "{name}, {order:?}");
        }
    }
}

#[test]
fn a_time_beyond_all_clocks_is_the_latest_time() {
    let mut file = PcapNgBuilder::new(Order::Little);
    file.interface(1, 0, &[(IF_TSRESOL, &[0])]).enhanced(0, u64::MAX, b"frame", &[]);
    assert_eq!(read(&file.bytes).0, [ethernet(LATEST.0, b"frame")]);
}

#[test]
fn sections_and_interfaces_have_link_types_of_their_own() {
    let mut file = PcapNgBuilder::new(Order::Little);
    file.interface(1, 0, &[]).interface(113, 0, &[]);
    file.enhanced(1, 1, b"cooked", &[]).enhanced(0, 2, b"ethernet", &[]);
    file.section(Order::Big).interface(101, 0, &[]).enhanced(0, 3, b"raw", &[]);
    let (seen, error) = read(&file.bytes);
    assert!(error.is_none(), "{error:?}");
    let links: Vec<_> = seen.iter().map(|frame| (frame.link, frame.time)).collect();
    assert_eq!(links, [(Link::LinuxSll, 1000), (Link::Ethernet, 2000), (Link::RawIp, 3000)]);
}

#[test]
fn every_link_type_that_is_read_has_its_number() {
    let cases = [
        (1, Link::Ethernet),
        (113, Link::LinuxSll),
        (276, Link::LinuxSll2),
        (12, Link::RawIp),
        (14, Link::RawIp),
        (101, Link::RawIp),
        (228, Link::RawIp),
        (229, Link::RawIp),
        // With the length of the frame check sequence in the high bits.
        (0x2400_0001, Link::Ethernet),
    ];
    for (number, link) in cases {
        let mut file = PcapBuilder::new(Order::Little, false, number);
        file.frame(0, b"frame");
        assert_eq!(read(&file.bytes).0[0].link, link, "{number}");
    }
}

#[test]
fn a_link_type_that_is_not_read_is_refused_by_its_number() {
    let message = "it has link type 105, which is not read: \
                   capture Ethernet (1), Linux cooked (113, 276) or raw IP (101)";
    assert_eq!(error_of(&PcapBuilder::new(Order::Big, true, 105).bytes), message);
    let mut file = PcapNgBuilder::new(Order::Little);
    file.interface(1, 0, &[]).interface(105, 0, &[]).enhanced(0, 1, b"fine", &[]);
    assert!(read(&file.bytes).1.is_none(), "an interface without frames must not matter");
    file.enhanced(1, 1, b"radio", &[]);
    assert_eq!(read(&file.bytes).0.len(), 1);
    assert_eq!(error_of(&file.bytes), message);
}

#[test]
fn simple_packets_take_time_snap_length_and_link_from_around_them() {
    let mut file = PcapNgBuilder::new(Order::Big);
    file.interface(1, 6, &[]).enhanced(0, 5, b"timed", &[]).simple(99, b"snappe").simple(3, b"all");
    let (seen, error) = read(&file.bytes);
    assert!(error.is_none(), "{error:?}");
    let cut = Seen { wire_len: 99, ..ethernet(5_000, b"snappe") };
    assert_eq!(seen, [ethernet(5_000, b"timed"), cut, ethernet(5_000, b"all")]);
}

#[test]
fn options_behind_a_frame_are_no_part_of_it() {
    let mut file = PcapNgBuilder::new(Order::Little);
    file.interface(1, 0, &[]).enhanced(0, 1, b"frame", &[1, 0, 4, 0, b'n', b'o', b't', b'e', 0, 0, 0, 0]);
    assert_eq!(read(&file.bytes).0, [ethernet(1000, b"frame")]);
}

#[test]
fn wire_lengths_survive_a_snap_length_and_are_never_below_what_is_left() {
    let mut file = PcapBuilder::new(Order::Little, false, 1);
    file.cut_frame(0, b"snapped", 1500).cut_frame(0, b"odd", 0);
    let lengths: Vec<_> = read(&file.bytes).0.iter().map(|frame| frame.wire_len).collect();
    assert_eq!(lengths, [1500, 3]);
}

#[test]
fn blocks_larger_than_the_buffer_are_passed() {
    let mut file = PcapNgBuilder::new(Order::Little);
    file.interface(1, 0, &[]).block(0xbad, &vec![7; 5 << 20]).enhanced(0, 1, b"frame", &[]);
    assert_eq!(read(&file.bytes).0, [ethernet(1000, b"frame")]);
}

#[test]
fn records_across_the_end_of_the_buffer_are_whole() {
    for order in Order::BOTH {
        let frames: Vec<Vec<u8>> = (0..20_000_usize).map(|n| n.to_be_bytes().repeat(1 + n % 23)).collect();
        let mut pcap = PcapBuilder::new(order, true, 1);
        let mut pcapng = PcapNgBuilder::new(order);
        pcapng.interface(1, 0, &[(IF_TSRESOL, &[9])]);
        let mut expected = Vec::new();
        for (time, frame) in (0..).zip(&frames) {
            pcap.frame(time, frame);
            pcapng.enhanced(0, time, frame, &[]);
            expected.push(ethernet(time, frame));
        }
        for file in [pcap.bytes, pcapng.bytes] {
            assert!(file.len() > 4 * source::FULL, "the buffer must come to its end a few times");
            let (seen, error) = read(&file);
            assert!(error.is_none(), "{order:?}: {error:?}");
            assert!(seen == expected, "{order:?}: {} of {} frames", seen.len(), expected.len());
        }
    }
}

#[test]
fn the_format_of_patched_libpcap_has_longer_record_headers() {
    let mut file = PcapBuilder::new(Order::Little, false, 1);
    file.bytes[..4].copy_from_slice(&0xa1b2_cd34_u32.to_le_bytes());
    for bytes in [b"first", b"other"] {
        // Seconds, microseconds, bytes kept and bytes on the wire; then interface, protocol and packet type.
        file.bytes.extend([5_u32, 6, 5, 9, 2, 8].map(u32::to_le_bytes).concat());
        file.bytes.extend(bytes);
    }
    let (seen, error) = read(&file.bytes);
    assert!(error.is_none(), "{error:?}");
    let frame = |bytes| Seen { wire_len: 9, ..ethernet(5_000_006_000, bytes) };
    assert_eq!(seen, [frame(b"first"), frame(b"other")]);
    let (seen, error) = read(&file.bytes[..file.bytes.len() - 9]);
    assert_eq!(seen.len(), 1);
    assert!(matches!(error, Some(FileError::Truncated { frame: 2, .. })), "{error:?}");
}

type Damage = fn(&mut PcapNgBuilder);

#[test]
fn damage_is_named_with_its_place() {
    let mut pcap = PcapBuilder::new(Order::Little, false, 1);
    pcap.frame(0, b"fine");
    let place = pcap.bytes.len();
    pcap.bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]);
    let (seen, error) = read(&pcap.bytes);
    assert_eq!(seen.len(), 1);
    let message = error.unwrap().to_string();
    assert!(
        message.starts_with(&format!(
            "it is damaged at byte {place}, frame 2: it claims 2147483648 captured bytes"
        )),
        "{message}"
    );

    let cases: [(&str, Damage); 7] = [
        ("its block claims a length of 8 bytes", |file| {
            file.bytes.extend([9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
        }),
        ("its block claims a length of 4294967295 bytes", |file| {
            file.bytes.extend([9, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        }),
        ("its block gives different lengths", |file| {
            file.block(9, &[]);
            let last = file.bytes.len() - 4;
            file.bytes[last] = 13;
        }),
        ("it belongs to interface 7, which nothing describes", |file| {
            file.enhanced(7, 0, b"frame", &[]);
        }),
        ("its block is too short", |file| {
            file.block(6, &[0; 8]);
        }),
        ("it claims 9 captured bytes, more than its block holds", |file| {
            let words = [0_u32, 0, 0, 9, 9].map(u32::to_le_bytes).concat();
            file.block(6, &words);
        }),
        ("its section header has no byte-order magic", |file| {
            file.block(0x0a0d_0d0a, &[1; 16]);
        }),
    ];
    for (problem, damage) in cases {
        let mut file = PcapNgBuilder::new(Order::Little);
        file.interface(1, 0, &[]).enhanced(0, 0, b"fine", &[]);
        let place = file.bytes.len();
        damage(&mut file);
        let (seen, error) = read(&file.bytes);
        assert_eq!(seen.len(), 1, "{problem}");
        let message = error.expect(problem).to_string();
        assert!(
            message.starts_with(&format!("it is damaged at byte {place}, frame 2: {problem}")),
            "{message}"
        );
    }
}

#[test]
fn what_is_no_capture_is_told_apart() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "it is empty: there is no capture in it"),
        (b"GET / HTTP", "it is neither pcap nor pcapng: it begins with the bytes 47 45 54 20 2f 20 48 54"),
        (
            b"\x1f\x8b\x08",
            "it is compressed: decompress it first, as in `gzip -dc FILE | flow-sensor replay -`",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "it is compressed: decompress it first, as in `zstd -dc FILE | flow-sensor replay -`",
        ),
        (b"\xd4\xc3\xb2\xa1\x02", "it ends inside its file header: there is no frame in it"),
    ];
    for (bytes, message) in cases {
        assert_eq!(error_of(bytes), message);
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = CaptureFile::open(Path::new("/no/such/file")).err().expect("there must be no such file");
    assert_eq!(
        crate::error_chain(&error),
        "cannot open /no/such/file: No such file or directory (os error 2)"
    );
}

proptest! {
    #[test]
    fn no_bytes_at_all_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes);
    }

    #[test]
    fn no_mutation_makes_the_reader_panic_or_invent_bytes(
        which in 0_usize..8,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<proptest::sample::Index>(),
    ) {
        let (_, mut bytes) = same_capture_in_every_format().swap_remove(which);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let (seen, _) = read(&bytes);
        let total: usize = seen.iter().map(|frame| frame.bytes.len()).sum();
        prop_assert!(total <= bytes.len());
        prop_assert!(seen.iter().all(|frame| frame.wire_len >= frame.bytes.len() && frame.time <= LATEST.0));
    }
}
