//! Frames come out of a stream the same however it is cut, and what is no stream is refused as early as
//! its bytes tell.

mod common;

use common::{Seen, config, cut, places, read_parts, stream};
use proptest::prelude::*;
use protocol::limits::MAX_CONTROL;
use protocol::message::{Block, DataHead, Hello, Message, Role};
use protocol::{ChannelId, Code, DecodeError, FrameReader, NodeId, frame};

fn hello() -> Vec<u8> {
    Message::Hello(Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Tracker,
        node: NodeId([1; 16]),
        listen: 0,
        window: 0,
        tlvs: Vec::new(),
    })
    .to_frame()
}

fn read(bytes: &[u8]) -> (Vec<Seen>, Option<DecodeError>) {
    read_parts(&mut FrameReader::new(), [bytes])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cuts_change_nothing(frames in stream(), places in places()) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));

        let mut reader = FrameReader::new();
        let (seen, error) = read_parts(&mut reader, cut(&bytes, &places));
        prop_assert_eq!(error, None);
        prop_assert_eq!(&seen, &frames);
        prop_assert!(reader.at_boundary());

        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(read_parts(&mut FrameReader::new(), single), (frames, None));
    }

    #[test]
    fn cuts_change_nothing_about_errors(
        frames in stream(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..80),
        places in places(),
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.extend(tail);
        let whole = read(&bytes);
        prop_assert_eq!(&read_parts(&mut FrameReader::new(), cut(&bytes, &places)), &whole);
        prop_assert_eq!(&read_parts(&mut FrameReader::new(), bytes.chunks(1)), &whole);
    }

    #[test]
    fn never_keeps_more_than_it_was_given(
        frames in stream(),
        random in prop::collection::vec(any::<u8>(), 0..100),
        step in 1usize..50,
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.encode(&mut bytes));
        bytes.extend(random);
        let mut reader = FrameReader::new();
        let mut given = 0;
        for mut part in bytes.chunks(step) {
            given += part.len();
            let last = loop {
                match reader.next(&mut part) {
                    Ok(Some(_)) => {}
                    other => break other,
                }
            };
            prop_assert!(reader.buffered() <= given.min(MAX_CONTROL as usize));
            if last.is_err() {
                break;
            }
        }
    }

    #[test]
    fn the_end_of_a_stream_inside_a_frame_is_seen(frames in stream(), len in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for frame in &frames {
            frame.encode(&mut bytes);
            ends.push(bytes.len());
        }
        let len = len.index(bytes.len() + 1);
        let mut reader = FrameReader::new();
        let (_, error) = read_parts(&mut reader, [&bytes[..len]]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(reader.at_boundary(), ends.contains(&len));
    }
}

/// Every front of what other programs say first is refused at the byte that gives them away.
#[test]
fn strangers_are_refused_at_once() {
    let table: &[(&[u8], usize)] = &[
        (b"GET / HTTP/1.1\r\n", 1),
        (b"\x16\x03\x01\x02\x00\x01", 1),
        (b"SSH-2.0-", 1),
        (b"\x13BitTorrent protocol", 1),
        (b"\x02\x00\x00\x02\x00\x00", 1),
        (b"\x01\x00\x00\x1b\xd3", 4),
        (b"\x01\x00\x04\x01\xd3", 4),
        (b"\x01\xff\xff\xff\xd3", 4),
        (b"\x01\x00\x00\x1c\xd3\x53\x57\x51", 8),
        (b"\x01\x00\x00\x1c\x00", 5),
    ];
    for (bytes, at) in table {
        assert_eq!(read(&bytes[..*at]), (vec![], Some(DecodeError::NotOurs)), "{bytes:?}");
        assert_eq!(read(&bytes[..at - 1]), (vec![], None), "{bytes:?}");
    }
    assert_eq!(DecodeError::NotOurs.code(), None);
}

#[test]
fn a_header_is_judged_before_its_payload() {
    let after_hello = |header: [u8; 4]| read(&[&hello()[..], &header].concat()).1;
    for spec in frame::KINDS {
        let header = |len: u32| {
            let [_, a, b, c] = len.to_be_bytes();
            [spec.kind, a, b, c]
        };
        let over = after_hello(header(spec.max + 1));
        assert!(matches!(over, Some(DecodeError::Length { .. })), "{}: {over:?}", spec.name);
        if spec.max > 0 {
            assert_eq!(after_hello(header(spec.max)), None, "{}", spec.name);
        }
        if spec.min > 0 {
            let under = after_hello(header(spec.min - 1));
            assert!(matches!(under, Some(DecodeError::Length { .. })), "{}", spec.name);
        }
    }
    for kind in (0..0x80).filter(|kind| frame::spec(*kind).is_none()) {
        assert_eq!(after_hello([kind, 0, 0, 0]), Some(DecodeError::UnknownType { kind }));
    }
    for kind in 0x80..=0xFF {
        assert_eq!(after_hello([kind, 1, 0, 0]), None);
        let over = after_hello([kind, 1, 0, 1]).expect("too long");
        assert_eq!(over.code(), Some(Code::LIMIT));
    }
}

/// A second HELLO is the session's affair; with a wrong magic it is a broken message, not a stranger.
#[test]
fn only_the_first_frame_can_be_a_strangers() {
    let twice = [hello(), hello()].concat();
    assert_eq!(read(&twice).0.len(), 2);
    let mut odd = twice;
    let second = hello().len() + 4;
    odd[second] = 0;
    let (seen, error) = read(&odd);
    assert_eq!(seen.len(), 1);
    assert_eq!(error.and_then(|error| error.code()), Some(Code::MALFORMED));
}

#[test]
fn data_comes_straight_from_the_input() {
    let block = Block { channel: ChannelId(2), piece: 5, begin: 65_536 };
    let head = DataHead { block, len: 1 << 20 };
    let mut bytes = hello();
    bytes.extend(head.to_frame_head());
    let start = bytes.len();
    bytes.resize(start + (1 << 20), 0xAB);
    let mut reader = FrameReader::new();
    let mut input = bytes.as_slice();
    let _hello = reader.next(&mut input);
    match reader.next(&mut input) {
        Ok(Some(protocol::Incoming::Data { head: got, offset: 0, bytes: data })) => {
            assert_eq!(got, head);
            assert!(std::ptr::eq(data, &raw const bytes[start..]), "the same memory");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((reader.buffered(), reader.at_boundary()), (0, true));
}

/// Whoever reads data straight to its place takes it past the reader, which goes on behind it.
#[test]
fn data_may_be_taken_past_the_reader() {
    let block = Block { channel: ChannelId(2), piece: 3, begin: 0 };
    let head = DataHead { block, len: 100 };
    let mut reader = FrameReader::new();
    read_parts(&mut reader, [&hello()[..]]);
    assert_eq!((reader.data_under_way(), reader.pass_data(5)), (None, 0), "between frames");
    let mut frame = head.to_frame_head().to_vec();
    read_parts(&mut reader, [&frame[..]]);
    assert_eq!(reader.data_under_way(), None, "none of it came");
    read_parts(&mut reader, [&[1; 30][..]]);
    assert_eq!(reader.data_under_way(), Some((head, 30)));
    assert_eq!(reader.pass_data(60), 60);
    assert_eq!((reader.data_under_way(), reader.at_boundary()), (Some((head, 90)), false));
    assert_eq!(reader.pass_data(11), 10, "no more than there is");
    assert_eq!((reader.data_under_way(), reader.at_boundary()), (None, true));
    frame.extend([2; 100]);
    let (seen, error) = read_parts(&mut reader, [&frame[..]]);
    assert_eq!((seen.len(), error), (1, None));
}
