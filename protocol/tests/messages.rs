//! What is encoded is decoded as the same, what is decoded has one encoding, and nothing that breaks a
//! rule is decoded.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod common;

use common::{config, message, text};
use proptest::prelude::*;
use protocol::limits::*;
use protocol::message::*;
use protocol::{ChannelId, Code, DecodeError, NodeId, RequestId, frame, negotiate};

fn decode(frame: &[u8]) -> Result<Message, DecodeError> {
    assert_eq!(
        frame.len() - 4,
        usize::from(frame[1]) << 16 | usize::from(frame[2]) << 8 | usize::from(frame[3])
    );
    Message::decode(frame[0], &frame[4..])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn decodes_what_it_encodes(message in message()) {
        let frame = message.to_frame();
        prop_assert_eq!(frame[0], message.kind());
        prop_assert_eq!(decode(&frame), Ok(message));
    }

    #[test]
    fn no_message_is_the_front_of_another_by_accident(message in message()) {
        let frame = message.to_frame();
        let kind = frame[0];
        for len in 0..frame.len() - 4 {
            // A list or text that goes to the end may be shorter; then it is another message of that
            // length, and says so when it is encoded.
            if let Ok(shorter) = Message::decode(kind, &frame[4..4 + len]) {
                prop_assert_eq!(&shorter.to_frame()[4..], &frame[4..4 + len]);
                prop_assert!(ends_open(kind), "{:#x} has one length", kind);
            }
        }
    }

    #[test]
    fn trailing_bytes_are_refused(message in message(), tail in 1u8..=255) {
        let mut frame = message.to_frame();
        frame.push(tail);
        if let Ok(longer) = Message::decode(frame[0], &frame[4..]) {
            prop_assert!(ends_open(frame[0]));
            prop_assert_eq!(&longer.to_frame()[4..], &frame[4..]);
        }
    }

    #[test]
    fn what_mutated_bytes_mean_has_one_encoding(
        message in message(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut frame = message.to_frame();
        let kind = frame[0];
        let body = &mut frame[4..];
        if !body.is_empty() {
            for (at, value) in flips {
                body[at.index(body.len())] = value;
            }
            if let Ok(decoded) = Message::decode(kind, body) {
                prop_assert_eq!(&decoded.to_frame()[4..], &*body);
            }
        }
    }

    #[test]
    fn what_random_bytes_mean_has_one_encoding(
        kind in prop::sample::select(frame::KINDS),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(decoded) = Message::decode(kind.kind, &body) {
            prop_assert_eq!(&decoded.to_frame()[4..], &body[..]);
        }
    }

    #[test]
    fn long_text_is_cut_at_a_character(text in text(600), code in any::<u16>()) {
        let bye = Message::Bye(Bye { code: Code(code), text: text.clone() }).to_frame();
        prop_assert!(bye.len() <= 4 + 256);
        let Ok(Message::Bye(bye)) = decode(&bye) else { panic!("a BYE that does not decode") };
        prop_assert!(text.starts_with(&bye.text));
        prop_assert!(bye.text.len() == text.len() || bye.text.len() > 254 - 4);
    }

    #[test]
    fn both_ends_agree_on_the_version(ours in any::<(u8, u8)>(), theirs in any::<(u8, u8)>()) {
        prop_assert_eq!(negotiate(ours, theirs), negotiate(theirs, ours));
        if let Some(version) = negotiate(ours, theirs) {
            prop_assert!((ours.0..=ours.1).contains(&version));
            prop_assert!((theirs.0..=theirs.1).contains(&version));
            let next = version.saturating_add(1);
            prop_assert!(next == version || next > ours.1 || next > theirs.1);
        }
    }
}

/// Types whose last field goes to the end of the payload, or whose payload has an optional end.
fn ends_open(kind: u8) -> bool {
    use frame::kind::*;
    [HELLO, BYE, HAVE, ANNOUNCE, FIND, SWARM, PAGE, STATUS].contains(&kind)
}

/// Bodies that break one rule each, with the rule.
#[test]
fn broken_bodies_name_their_rule() {
    let hello = |range: std::ops::Range<usize>, bytes: &[u8]| {
        let mut frame = Message::Hello(Hello {
            version_min: 1,
            version_max: 1,
            role: Role::Peer,
            node: NodeId([7; 16]),
            listen: 9001,
            window: 512,
            tlvs: Vec::new(),
        })
        .to_frame();
        frame.splice(4 + range.start..4 + range.end, bytes.iter().copied());
        (0x01, frame[4..].to_vec())
    };
    let bitmap = |manifest_len: u8, pieces: u8, kind: u8, bits: &[u8]| {
        let head = [0, 0, 0, 0, 0, 0, 0, manifest_len, 0, 0, 0, pieces, kind];
        (0x12, [&head, bits].concat())
    };
    let request = |len: u32| {
        let len = len.to_be_bytes();
        (0x14, [&[0; 12][..], &len].concat())
    };
    let table: &[((u8, Vec<u8>), &str)] = &[
        (hello(0..1, &[0xD4]), "H-3"),
        (hello(4..5, &[0]), "H-8"),
        (hello(4..6, &[2, 1]), "H-8"),
        (hello(6..7, &[0]), "H-9"),
        (hello(6..7, &[3]), "H-9"),
        (hello(7..8, &[1]), "F-11"),
        (hello(28..28, &[0x80, 1, 0]), "H-20"),
        (hello(28..28, &[0x80, 1, 0, 1]), "H-20"),
        (hello(28..28, &[0x80, 2, 0, 0, 0x80, 2, 0, 0]), "H-19"),
        (hello(28..28, &[0x80, 2, 0, 0, 0x00, 3, 0, 0]), "H-19"),
        ((0x02, vec![0, 0, 0xFF]), "F-9"),
        (bitmap(0, 1, 0, &[]), "P-18"),
        (bitmap(0, 0, 1, &[]), "P-18"),
        (bitmap(1, 9, 2, &[0xFF]), "P-16"),
        (bitmap(1, 9, 2, &[0xFF, 0x80, 0]), "P-16"),
        (bitmap(1, 9, 0, &[0]), "P-16"),
        (bitmap(1, 9, 2, &[0xFF, 0xC0]), "P-17"),
        (bitmap(1, 9, 3, &[]), "F-10"),
        ((0x13, vec![0; 9]), "P-21"),
        ((0x13, [[0; 4], 262_144u32.to_be_bytes()].concat()), "P-22"),
        (request(0), "P-29"),
        (request(MAX_BLOCK + 1), "P-29"),
        ((0x21, [&[0; 8][..], &[2, 4, 0, 0, 80, 1, 2, 3, 4]].concat()), "F-11"),
        ((0x21, [&[0; 8][..], &[1, 5, 0, 0, 80, 1, 2, 3, 4]].concat()), "F-10"),
        ((0x21, [&[0; 8][..], &[1, 6, 0, 0, 80, 1, 2, 3, 4]].concat()), "F-7"),
        ((0x21, [&[0; 8][..], &[1, 4, 3, 0, 80, 1, 2, 3, 4]].concat()), "F-10"),
        ((0x22, vec![0, 0, 0, 0, 2]), "F-11"),
        ((0x22, vec![0; 5 + 32]), "F-7"),
        ((0x25, [&[0, 0, 0, 1, 0, 201, 0][..], &[0; 5]].concat()), "F-10"),
        ((0x25, [&[0, 0, 0, 1, 0, 1, 3][..], &[0; 32]].concat()), "F-10"),
        ((0x25, [&[0, 0, 0, 1, 0, 1, 1][..], &[0; 33]].concat()), "F-7"),
        ((0x27, vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), "F-10"),
        ((0x27, vec![0, 0, 0, 1, 1, 245, 0, 0, 0, 0]), "F-10"),
        ((0x27, vec![0, 0, 0, 1, 0, 1, 4, 1, 0, 0]), "F-10"),
        ((0x27, vec![0, 0, 0, 1, 0, 1, 0, 1, 0, 0]), "F-7"),
        ((0x28, vec![0, 0, 0, 1, 2]), "F-11"),
    ];
    for ((kind, body), expected) in table {
        match Message::decode(*kind, body) {
            Err(DecodeError::Field { rule, .. }) => assert_eq!(rule, *expected, "{body:?}"),
            other => panic!("type {kind:#x}, {body:?}: expected [{expected}], got {other:?}"),
        }
    }
    let (kind, body) = hello(28..28, &[0x00, 4, 0, 0]);
    assert_eq!(Message::decode(kind, &body), Err(DecodeError::UnknownTag { tag: 4 }));
    assert_eq!(Message::decode(kind, &body).unwrap_err().code(), Some(Code::UNKNOWN_TYPE));
}

#[test]
fn lengths_outside_the_table_and_unknown_types_are_refused_from_the_header() {
    for spec in frame::KINDS {
        let lens = [spec.min.checked_sub(1), Some(spec.max + 1)];
        for len in lens.into_iter().flatten() {
            let body = vec![0; len as usize];
            let error = Message::decode(spec.kind, &body).unwrap_err();
            assert!(matches!(error, DecodeError::Length { .. }), "{} of {len}", spec.name);
            assert_eq!(error.code(), Some(Code::LIMIT));
        }
    }
    // ORDER is reserved, DATA is not a control message.
    for kind in [0x29, 0x7F, 0xEE] {
        assert_eq!(Message::decode(kind, &[]), Err(DecodeError::UnknownType { kind }));
    }
    assert_eq!(Message::decode(0x15, &[0; 13]), Err(DecodeError::UnknownType { kind: 0x15 }));
}

/// The largest numbers of a Record and a BITMAP are taken, and those above are not.
#[test]
fn numbers_end_at_their_limits() {
    let record = |at: usize, bytes: &[u8]| {
        let mut body = vec![0; 21 + 99];
        body[21 + at..21 + at + bytes.len()].copy_from_slice(bytes);
        (0x23, body)
    };
    let bitmap = |at: usize, value: u32| {
        let mut body = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
        body[at..at + 4].copy_from_slice(&value.to_be_bytes());
        (0x12, body)
    };
    let table = [
        (record(64, &MAX_OBJECT.to_be_bytes()), record(64, &(MAX_OBJECT + 1).to_be_bytes())),
        (record(84, &MAX_MANIFEST.to_be_bytes()), record(84, &(MAX_MANIFEST + 1).to_be_bytes())),
        (record(88, &MAX_PIECES.to_be_bytes()), record(88, &(MAX_PIECES + 1).to_be_bytes())),
        (record(92, &MAX_FILES.to_be_bytes()), record(92, &(MAX_FILES + 1).to_be_bytes())),
        (record(96, &[24]), record(96, &[25])),
        (bitmap(4, MAX_MANIFEST), bitmap(4, MAX_MANIFEST + 1)),
        (bitmap(8, MAX_PIECES), bitmap(8, MAX_PIECES + 1)),
    ];
    for ((kind, good), (_, bad)) in table {
        let message = Message::decode(kind, &good).expect("at the limit");
        assert_eq!(&message.to_frame()[4..], good);
        match Message::decode(kind, &bad) {
            Err(DecodeError::Field { rule: "F-10", .. }) => {}
            other => panic!("{bad:?}: {other:?}"),
        }
    }
}

/// The largest message of each type that has lists or text fits its frame exactly as the table says.
#[test]
fn the_largest_messages_fit() {
    let text = "x".repeat(100_000);
    let status = Message::Status(Status { rid: RequestId(1), code: Code::OK, retry_ms: 0, text });
    assert_eq!(status.to_frame().len(), 4 + MAX_CONTROL as usize);
    let pieces = vec![0; Have::MAX_PIECES];
    let have = Message::Have(Have { channel: ChannelId(0), pieces });
    assert_eq!(have.to_frame().len(), 4 + MAX_CONTROL as usize);
    assert_eq!(decode(&have.to_frame()), Ok(have));
    let bits = Holdings::Bits(vec![0xFF; 32_768]);
    let (channel, piece_count) = (ChannelId(0), 262_144);
    let bitmap = Message::Bitmap(Bitmap { channel, manifest_len: 1, piece_count, holdings: bits });
    assert_eq!(bitmap.to_frame().len(), 4 + 32_781);
    assert_eq!(decode(&bitmap.to_frame()), Ok(bitmap));
}

/// What an optional field says that is not well-formed is not said. [H-23] [H-24]
#[test]
fn odd_optional_fields_count_as_absent() {
    let hello = |tag, value: &[u8]| Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Peer,
        node: NodeId([7; 16]),
        listen: 0,
        window: 1,
        tlvs: vec![Tlv { tag, value: value.to_vec() }],
    };
    let agent = |value: &[u8]| hello(TlvTag::AGENT, value).agent().map(str::to_owned);
    assert_eq!(agent(b"starling/0.1"), Some("starling/0.1".to_owned()));
    assert_eq!(agent(&[b'a'; 64]), Some("a".repeat(64)));
    assert_eq!(agent(&[b'a'; 65]), None);
    assert_eq!(agent(&[0xFF]), None);
    let addr = PeerAddr { holding: Holding::Dropped, addr: "[::1]:80".parse().unwrap() };
    let tlv = Tlv::advertised(addr);
    assert_eq!(hello(tlv.tag, &tlv.value).advertised(), Some(addr));
    assert_eq!(hello(tlv.tag, &tlv.value[1..]).advertised(), None);
    assert_eq!(hello(tlv.tag, &[&tlv.value[..], &[0]].concat()).advertised(), None);
}
