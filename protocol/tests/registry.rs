//! Numbers that have a meaning keep it: layouts, types, tags and codes of version 1 as they were first
//! written down, held against the ones in use.

use std::collections::BTreeSet;

use protocol::message::{
    Beat, Bitmap, Block, Bye, Close, Find, FindKey, Holdings, Lease, Message, Open, Reject,
    Request, TlvTag, Window,
};
use protocol::{
    ChannelId, Code, FrameReader, Holding, Incoming, ObjectId, PeerAddr, RequestId, frame,
};

/// Type, name, smallest and largest payload., [X-7]
const TYPES: [(u8, &str, u32, u32); 24] = [
    (0x00, "NOOP", 0, 0),
    (0x01, "HELLO", 28, 1_024),
    (0x02, "BYE", 2, 256),
    (0x10, "OPEN", 36, 36),
    (0x11, "CLOSE", 6, 6),
    (0x12, "BITMAP", 13, 32_781),
    (0x13, "HAVE", 8, 65_536),
    (0x14, "REQUEST", 16, 16),
    (0x15, "DATA", 13, 1_048_588),
    (0x16, "REJECT", 14, 14),
    (0x17, "CANCEL", 12, 12),
    (0x18, "WINDOW", 2, 2),
    (0x20, "BEAT", 40, 40),
    (0x21, "LEASE", 17, 29),
    (0x22, "ANNOUNCE", 5, 65_510),
    (0x23, "PUBLISH", 120, 1_144),
    (0x24, "UNPUBLISH", 22, 1_046),
    (0x25, "FIND", 11, 1_035),
    (0x26, "SWARM", 111, 65_536),
    (0x27, "LIST", 10, 2_058),
    (0x28, "PAGE", 5, 65_536),
    (0x2A, "STATUS", 10, 65_536),
    (0x2B, "SUMMARY_REQUEST", 4, 4),
    (0x2C, "SUMMARY", 48, 48),
];

/// Codes by name.
const CODES: [(u16, &str); 24] = [
    (0, "OK"),
    (1, "MALFORMED"),
    (2, "VERSION"),
    (3, "UNKNOWN_TYPE"),
    (4, "BAD_STATE"),
    (5, "LIMIT"),
    (6, "TIMEOUT"),
    (7, "OVERLOADED"),
    (8, "SHUTDOWN"),
    (9, "DUPLICATE"),
    (10, "WRONG_ROLE"),
    (11, "DENIED"),
    (12, "BAD_DATA"),
    (32, "NOT_FOUND"),
    (33, "NO_PIECE"),
    (34, "BUSY"),
    (35, "CANCELLED"),
    (36, "BAD_RANGE"),
    (37, "GONE"),
    (38, "IO"),
    (64, "NAME_TAKEN"),
    (65, "BAD_NAME"),
    (66, "NOT_OWNER"),
    (67, "FULL"),
];

#[test]
fn types_and_codes_keep_their_numbers() {
    for (kind, name, min, max) in TYPES {
        let spec = frame::spec(kind).unwrap_or_else(|| panic!("[X-7]: {name} is gone"));
        assert_eq!((spec.name, spec.min, spec.max), (name, min, max), "[X-6]");
    }
    for (code, name) in CODES {
        assert!(Code::ALL.contains(&(Code(code), name)), "[X-7]: {code} is not {name}");
    }
    let kinds: BTreeSet<u8> = frame::KINDS.iter().map(|spec| spec.kind).collect();
    assert_eq!(kinds.len(), frame::KINDS.len(), "[X-7]: one type, two meanings");
    let codes: BTreeSet<Code> = Code::ALL.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes.len(), Code::ALL.len(), "[X-7]: one code, two meanings");
    let tags = [TlvTag::CLUSTER_TOKEN, TlvTag::AGENT, TlvTag::ADVERTISED].map(|tag| tag.0);
    assert_eq!(tags, [0x0003, 0x8001, 0x8002], "[X-7]");
}

#[test]
fn grease_and_private_types_have_no_meaning() {
    assert!(frame::KINDS.iter().all(|spec| spec.kind < 0xE0), "[X-4]");
    let hello = [&[1, 0, 0, 28, 0xD3, 0x53, 0x57, 0x50, 1, 1, 1][..], &[0; 21]].concat();
    let mut reader = FrameReader::new();
    assert!(matches!(reader.next(&mut hello.as_slice()), Ok(Some(Incoming::Message(_)))));
    for kind in 0xE0..=0xFF {
        let frame = [&[kind, 0, 0, 5][..], b"bytes"].concat();
        let incoming = reader.next(&mut frame.as_slice());
        assert_eq!(incoming, Ok(Some(Incoming::Skipped { kind })), "[X-4]");
    }
}

/// Frames as they must be, byte by byte, with a different byte in each place of a number. [F-1], [X-6]
#[test]
fn layouts_stay_and_numbers_are_big_endian() {
    let channel = ChannelId(0x0102_0304);
    let block = Block { channel, piece: 0x0506_0708, begin: 0x090A_0B0C };
    let addr = |text: &str| text.parse().expect("an address");
    let cases: [(Message, &str); 10] = [
        (Message::Bye(Bye { code: Code(0x0102), text: "é".into() }), "02000004 0102 c3a9"),
        (
            Message::Open(Open { channel, object: ObjectId([0xA0; 32]) }),
            "10000024 01020304 \
             a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0",
        ),
        (Message::Close(Close { channel, code: Code(0x0506) }), "11000006 01020304 0506"),
        (
            Message::Bitmap(Bitmap {
                channel,
                manifest_len: 0x0005_0607,
                piece_count: 0x0001_0203,
                holdings: Holdings::All,
            }),
            "1200000d 01020304 00050607 00010203 01",
        ),
        (
            Message::Request(Request { block, len: 0x000D_0E0F }),
            "14000010 01020304 05060708 090a0b0c 000d0e0f",
        ),
        (
            Message::Reject(Reject { block, code: Code(0x0D0E) }),
            "1600000e 01020304 05060708 090a0b0c 0d0e",
        ),
        (Message::Window(Window { requests: 0x0102 }), "18000002 0102"),
        (
            Message::Beat(Beat {
                rid: RequestId(0x0102_0304),
                objects: 0x0506_0708,
                digest: 0x1112_1314_1516_1718,
                free: 0x2122_2324_2526_2728,
                sent: 0x3132_3334_3536_3738,
                received: 0x4142_4344_4546_4748,
            }),
            "20000028 01020304 05060708 1112131415161718 2122232425262728 3132333435363738 \
             4142434445464748",
        ),
        (
            Message::Lease(Lease {
                rid: RequestId(0x0102_0304),
                interval_s: 0x0506,
                lease_s: 0x0708,
                sync: true,
                you: PeerAddr { holding: Holding::Partial, addr: addr("1.2.3.4:2319") },
            }),
            "21000011 01020304 0506 0708 01 04 01 090f 01020304",
        ),
        (
            Message::Find(Find {
                rid: RequestId(0x0102_0304),
                want: 0x0056,
                key: FindKey::Name { version: 0x0708_090A, name: "n".into() },
            }),
            "2500000c 01020304 0056 00 0708090a 6e",
        ),
    ];
    for (message, expected) in cases {
        let frame: String = message.to_frame().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected: String = expected.split_whitespace().collect();
        assert_eq!(frame, expected, "[F-1], [X-6]: {message:?}");
    }
}
