//! What peers say to a tracker.

use std::collections::BTreeMap;

use protocol::message::{
    Announce, AnnounceEntry, Beat, Bye, Find, FindKey, Hello, List, Open, Publish, Role,
    SummaryRequest, Tlv, Unpublish,
};
use protocol::{
    ChannelId, Code, Digest, Holding, Message, NodeId, ObjectId, PeerAddr, PublisherKey, Record,
    RequestId, holdings_digest,
};

use crate::fuzz::Bytes;

const NAMES: [&str; 6] = ["a", "a/b", "späße", "x@1", "../x", "models/llama"];

fn object(n: usize) -> ObjectId {
    ObjectId([u8::try_from(n % 5).expect("small") + 1; 32])
}

fn small(bytes: &mut Bytes<'_>, bound: usize) -> u8 {
    u8::try_from(bytes.below(bound)).expect("small")
}

/// A HELLO of one of few nodes, mostly a good one.
pub(super) fn hello(node: u8, variant: u8) -> Message {
    let advertised = |text: &str| {
        Tlv::advertised(PeerAddr {
            holding: Holding::Dropped,
            addr: text.parse().expect("an address"),
        })
    };
    let tlvs = match variant & 7 {
        1 => vec![advertised("198.51.100.7:7000")],
        2 => vec![advertised("127.0.0.1:7000")],
        3 => vec![advertised("224.0.0.1:7000")],
        _ => Vec::new(),
    };
    Message::Hello(Hello {
        version_min: 1,
        version_max: 1 + variant / 64,
        role: if variant & 0x38 == 0x38 { Role::Tracker } else { Role::Peer },
        node: NodeId([node; 16]),
        listen: if variant & 0x38 == 0x30 { 0 } else { 9_001 },
        window: 9,
        tlvs,
    })
}

fn holdings(bytes: &mut Bytes<'_>) -> Vec<(ObjectId, Holding)> {
    let count = bytes.below(4);
    let states = [Holding::Dropped, Holding::Partial, Holding::Complete];
    (0..count).map(|_| (object(bytes.below(5)), states[bytes.below(3)])).collect()
}

fn record(name: String, bytes: &mut Bytes<'_>) -> Record {
    let n = small(bytes, 5);
    Record {
        object: object(usize::from(n)),
        content: Digest([n; 32]),
        length: 1_000,
        published_at: 1,
        version: 9,
        manifest_len: if bytes.u8() == 0 { 0 } else { 100 },
        piece_count: 1,
        file_count: 1,
        piece_log2: 18,
        name,
    }
}

/// A message; `what` is 2 to 9.
pub(super) fn of_peer(what: u8, rid: RequestId, bytes: &mut Bytes<'_>) -> Message {
    let name = NAMES[bytes.below(NAMES.len())].to_owned();
    let key = PublisherKey([small(bytes, 3); 16]);
    match what {
        2 => {
            let held: BTreeMap<_, _> = holdings(bytes).into_iter().collect();
            let objects = u32::try_from(held.len()).expect("few");
            let digest = holdings_digest(held);
            Message::Beat(Beat { rid, objects, digest, free: 0, sent: 0, received: 0 })
        }
        3 | 4 => {
            let held = holdings(bytes).into_iter();
            let entries = held.map(|(object, holding)| AnnounceEntry { object, holding });
            let entries = entries.collect();
            Message::Announce(Announce { rid, reset: bytes.flag(), entries })
        }
        5 => {
            let record = record(name, bytes);
            Message::Publish(Publish { rid, key, copies: bytes.u8(), record })
        }
        6 => Message::Unpublish(Unpublish { rid, key, name }),
        7 => {
            let key = match bytes.below(3) {
                0 => FindKey::Name { version: u32::from(small(bytes, 4)), name },
                1 => FindKey::Object(object(bytes.below(5))),
                _ => FindKey::Content(Digest([small(bytes, 5); 32])),
            };
            Message::Find(Find { rid, want: u16::from(small(bytes, 8)), key })
        }
        8 => {
            let limit = 1 + u16::from(small(bytes, 4));
            let after = if bytes.flag() { name.clone() } else { String::new() };
            let prefix = if bytes.flag() { name } else { String::new() };
            Message::List(List { rid, limit, prefix, after })
        }
        _ => match bytes.below(4) {
            0 => Message::Noop,
            1 => Message::SummaryRequest(SummaryRequest { rid }),
            2 => Message::Bye(Bye { code: Code(u16::from(bytes.u8())), text: name }),
            _ => Message::Open(Open { channel: ChannelId(0), object: object(1) }),
        },
    }
}
