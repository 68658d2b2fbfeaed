//! Strategies for every message that a sender may send, and helpers for streams of frames.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use protocol::limits::*;
use protocol::message::*;
use protocol::{
    ChannelId, Code, DecodeError, Digest, FrameReader, Incoming, NodeId, ObjectId, PublisherKey,
    RequestId,
};

/// The same cases in every run. `PROPTEST_RNG_SEED` gives others, `PROPTEST_CASES` another number (times
/// eight).
pub(crate) fn config() -> ProptestConfig {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config.cases = config.cases.saturating_mul(8);
    config
}

/// Text of at most `max` bytes.
pub(crate) fn text(max: usize) -> impl Strategy<Value = String> {
    vec(prop_oneof![4 => prop::char::range(' ', '~'), 1 => any::<char>()], 0..=max).prop_map(
        move |chars| {
            let mut text = String::new();
            for c in chars {
                if text.len() + c.len_utf8() <= max {
                    text.push(c);
                }
            }
            text
        },
    )
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => text(40), 1 => Just("n".repeat(MAX_PATH))]
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn object() -> impl Strategy<Value = ObjectId> {
    any::<[u8; 32]>().prop_map(ObjectId)
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<u32>().prop_map(ChannelId)
}

fn rid() -> impl Strategy<Value = RequestId> {
    any::<u32>().prop_map(RequestId)
}

fn code() -> impl Strategy<Value = Code> {
    any::<u16>().prop_map(Code)
}

fn holding() -> impl Strategy<Value = Holding> {
    prop_oneof![Just(Holding::Dropped), Just(Holding::Partial), Just(Holding::Complete)]
}

pub(crate) fn peer_addr() -> impl Strategy<Value = PeerAddr> {
    let ip =
        prop_oneof![any::<[u8; 4]>().prop_map(Into::into), any::<[u8; 16]>().prop_map(Into::into)];
    (holding(), ip, any::<u16>())
        .prop_map(|(holding, ip, port)| PeerAddr { holding, addr: SocketAddr::new(ip, port) })
}

fn record() -> impl Strategy<Value = Record> {
    let numbers = (0..=MAX_MANIFEST, 0..=MAX_PIECES, 0..=MAX_FILES, 0..=MAX_PIECE_LOG2);
    let ids = (object(), digest(), 0..=MAX_OBJECT, any::<u64>(), any::<u32>());
    (ids, numbers, name()).prop_map(|(ids, numbers, name)| {
        let (object, content, length, published_at, version) = ids;
        let (manifest_len, piece_count, file_count, piece_log2) = numbers;
        Record {
            object,
            content,
            length,
            published_at,
            version,
            manifest_len,
            piece_count,
            file_count,
            piece_log2,
            name,
        }
    })
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let tag = prop_oneof![Just(3), Just(0x8001), Just(0x8002), 0x8000..=u16::MAX];
    let tlvs = prop::collection::btree_map(tag, vec(any::<u8>(), 0..60), 0..6).prop_map(|tlvs| {
        tlvs.into_iter().map(|(tag, value)| Tlv { tag: TlvTag(tag), value }).collect()
    });
    let role = prop_oneof![Just(Role::Peer), Just(Role::Tracker)];
    (1..=u8::MAX, any::<u8>(), role, any::<[u8; 16]>(), any::<(u16, u16)>(), tlvs).prop_map(
        |(version_min, more, role, node, (listen, window), tlvs)| Hello {
            version_min,
            version_max: version_min.saturating_add(more),
            role,
            node: NodeId(node),
            listen,
            window,
            tlvs,
        },
    )
}

fn bitmap() -> impl Strategy<Value = Bitmap> {
    let bits = vec(any::<u8>(), 1..100).prop_flat_map(|bytes| {
        let most = u32::try_from(bytes.len() * 8).unwrap();
        (Just(bytes), most - 7..=most).prop_map(|(mut bytes, piece_count)| {
            let spare = bytes.len() as u32 * 8 - piece_count;
            *bytes.last_mut().unwrap() &= 0xFF << spare;
            (piece_count, Holdings::Bits(bytes))
        })
    });
    let holdings = prop_oneof![
        (0..=MAX_PIECES, Just(Holdings::None)),
        (0..=MAX_PIECES, Just(Holdings::All)),
        bits,
        Just((0, Holdings::Bits(Vec::new()))),
    ];
    let known = (channel(), 1..=MAX_MANIFEST, holdings).prop_map(
        |(channel, manifest_len, (piece_count, holdings))| Bitmap {
            channel,
            manifest_len,
            piece_count,
            holdings,
        },
    );
    let unknown = channel().prop_map(|channel| Bitmap {
        channel,
        manifest_len: 0,
        piece_count: 0,
        holdings: Holdings::None,
    });
    prop_oneof![4 => known, 1 => unknown]
}

fn block() -> impl Strategy<Value = Block> {
    (channel(), any::<u32>(), any::<u32>()).prop_map(|(channel, piece, begin)| Block {
        channel,
        piece,
        begin,
    })
}

fn between_peers() -> impl Strategy<Value = Message> {
    prop_oneof![
        (channel(), object()).prop_map(|(channel, object)| Message::Open(Open { channel, object })),
        (channel(), code()).prop_map(|(channel, code)| Message::Close(Close { channel, code })),
        bitmap().prop_map(Message::Bitmap),
        (channel(), vec(0..MAX_PIECES, 1..50))
            .prop_map(|(channel, pieces)| Message::Have(Have { channel, pieces })),
        (block(), 1..=MAX_BLOCK).prop_map(|(block, len)| Message::Request(Request { block, len })),
        (block(), code()).prop_map(|(block, code)| Message::Reject(Reject { block, code })),
        block().prop_map(|block| Message::Cancel(Cancel { block })),
        any::<u16>().prop_map(|requests| Message::Window(Window { requests })),
    ]
}

fn beat() -> impl Strategy<Value = Beat> {
    (rid(), any::<u32>(), any::<[u64; 4]>()).prop_map(
        |(rid, objects, [digest, free, sent, received])| Beat {
            rid,
            objects,
            digest,
            free,
            sent,
            received,
        },
    )
}

fn summary() -> impl Strategy<Value = Summary> {
    (rid(), any::<[u64; 3]>(), any::<[u32; 5]>()).prop_map(|(rid, wide, narrow)| {
        let [uptime_s, holdings, bytes] = wide;
        let [connections, peers, names, versions, objects] = narrow;
        Summary { rid, uptime_s, connections, peers, names, versions, objects, holdings, bytes }
    })
}

fn presence() -> impl Strategy<Value = Message> {
    let entry =
        (object(), holding()).prop_map(|(object, holding)| AnnounceEntry { object, holding });
    prop_oneof![
        beat().prop_map(Message::Beat),
        (rid(), any::<(u16, u16, bool)>(), peer_addr()).prop_map(
            |(rid, (interval_s, lease_s, sync), you)| {
                Message::Lease(Lease { rid, interval_s, lease_s, sync, you })
            }
        ),
        (rid(), any::<bool>(), vec(entry, 0..20)).prop_map(|(rid, reset, entries)| {
            Message::Announce(Announce { rid, reset, entries })
        }),
        rid().prop_map(|rid| Message::SummaryRequest(SummaryRequest { rid })),
        summary().prop_map(Message::Summary),
    ]
}

fn names() -> impl Strategy<Value = Message> {
    let key = || any::<[u8; 16]>().prop_map(PublisherKey);
    let find = prop_oneof![
        (any::<u32>(), name()).prop_map(|(version, name)| FindKey::Name { version, name }),
        object().prop_map(FindKey::Object),
        digest().prop_map(FindKey::Content),
    ];
    let entry = (any::<(u32, u32)>(), record())
        .prop_map(|((complete, partial), record)| PageEntry { complete, partial, record });
    prop_oneof![
        (rid(), key(), any::<u8>(), record()).prop_map(|(rid, key, copies, record)| {
            Message::Publish(Publish { rid, key, copies, record })
        }),
        (rid(), key(), name()).prop_map(|(rid, key, name)| Message::Unpublish(Unpublish {
            rid,
            key,
            name
        })),
        (rid(), 0..=MAX_FIND_WANT, find).prop_map(|(rid, want, key)| Message::Find(Find {
            rid,
            want,
            key
        })),
        (rid(), any::<(u32, u32)>(), record(), vec(peer_addr(), 0..10)).prop_map(
            |(rid, (complete, partial), record, peers)| {
                Message::Swarm(Swarm { rid, complete, partial, record, peers })
            }
        ),
        (rid(), 1..=MAX_LIST_LIMIT, name(), name()).prop_map(|(rid, limit, prefix, after)| {
            Message::List(List { rid, limit, prefix, after })
        }),
        (rid(), any::<bool>(), vec(entry, 0..4))
            .prop_map(|(rid, more, entries)| Message::Page(Page { rid, more, entries })),
        (rid(), code(), any::<u32>(), text(100)).prop_map(|(rid, code, retry_ms, text)| {
            Message::Status(Status { rid, code, retry_ms, text })
        }),
    ]
}

/// Any message at all.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        1 => Just(Message::Noop),
        3 => hello().prop_map(Message::Hello),
        2 => (code(), text(254)).prop_map(|(code, text)| Message::Bye(Bye { code, text })),
        8 => between_peers(),
        5 => presence(),
        7 => names(),
    ]
}

/// One frame of a stream, as its receiver shall see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Message(Message),
    Skipped(u8),
    Data(DataHead, Vec<u8>),
}

impl Seen {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message(message) => message.encode(out),
            Self::Skipped(kind) => out.extend([*kind, 0, 0, 3, 7, 7, 7]),
            Self::Data(head, bytes) => {
                out.extend(head.to_frame_head());
                out.extend(bytes);
            }
        }
    }
}

/// A legal stream: HELLO, then anything.
pub(crate) fn stream() -> impl Strategy<Value = Vec<Seen>> {
    let data = (block(), vec(any::<u8>(), 1..300)).prop_map(|(block, bytes)| {
        Seen::Data(DataHead { block, len: u32::try_from(bytes.len()).unwrap() }, bytes)
    });
    let frame = prop_oneof![
        3 => message().prop_map(Seen::Message),
        1 => (0x80..=u8::MAX).prop_map(Seen::Skipped),
        2 => data,
    ];
    (hello(), vec(frame, 0..8)).prop_map(|(hello, mut frames)| {
        frames.insert(0, Seen::Message(Message::Hello(hello)));
        frames
    })
}

/// Feeds `parts` and joins the parts of each DATA; the error, if one comes, ends it.
pub(crate) fn read_parts<'a>(
    reader: &mut FrameReader,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Seen>, Option<DecodeError>) {
    let mut seen = Vec::new();
    for mut part in parts {
        loop {
            match reader.next(&mut part) {
                Ok(Some(Incoming::Message(message))) => seen.push(Seen::Message(message)),
                Ok(Some(Incoming::Skipped { kind })) => seen.push(Seen::Skipped(kind)),
                Ok(Some(Incoming::Data { head, offset: 0, bytes })) => {
                    seen.push(Seen::Data(head, bytes.to_vec()));
                }
                Ok(Some(Incoming::Data { head, offset, bytes })) => match seen.last_mut() {
                    Some(Seen::Data(first, so_far)) if *first == head => {
                        assert_eq!(so_far.len(), offset as usize, "parts follow each other");
                        assert!(!bytes.is_empty(), "no part is empty");
                        so_far.extend(bytes);
                    }
                    other => panic!("a later part of DATA behind {other:?}"),
                },
                Ok(None) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
        assert!(part.is_empty(), "all input is used up");
    }
    (seen, None)
}

/// Cuts `bytes` at the given places (taken modulo the length).
pub(crate) fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

/// Optional places where to cut.
pub(crate) fn places() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    option::of(vec(any::<prop::sample::Index>(), 0..12)).prop_map(Option::unwrap_or_default)
}
