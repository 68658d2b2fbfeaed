//! What remotes say: frames that are right for the moment, or nearly.

use protocol::limits::MANIFEST_PIECE;
use protocol::message::{
    Bitmap, Block, Bye, Cancel, Close, DataHead, Have, Hello, Holdings, Lease, Open, Page,
    PageEntry, Reject, Request, Role, Status, Swarm, Window,
};
use protocol::{
    ChannelId, Code, Holding, Message, NodeId, ObjectId, PeerAddr, PieceSet, Record, RequestId,
};

use super::super::Bytes;
use super::tasks::{FETCHED, PIECES, SEEDED, content};
use super::wire::Wire;

const CODES: [Code; 8] = [
    Code::OK,
    Code::NO_PIECE,
    Code::BUSY,
    Code::CANCELLED,
    Code::GONE,
    Code::NOT_FOUND,
    Code::DUPLICATE,
    Code(999),
];

fn hello(role: Role, node: u8, window: u16) -> Vec<u8> {
    let (version_min, version_max, listen, tlvs) = (1, 1, 4_000, Vec::new());
    let node = NodeId([node; 16]);
    Message::Hello(Hello { version_min, version_max, role, node, listen, window, tlvs }).to_frame()
}

/// The bytes that were asked for.
fn answer(request: Request, wrong: bool) -> Vec<u8> {
    let Request { block, len } = request;
    let all: Vec<u8> = if block.piece == MANIFEST_PIECE {
        FETCHED.bytes().to_vec()
    } else {
        let piece = FETCHED.geometry().piece(block.piece);
        let at = piece.map_or(0, |piece| FETCHED.geometry().span(piece).offset);
        content().split_off(usize::try_from(at).expect("small"))
    };
    let begin = block.begin as usize;
    let mut bytes: Vec<u8> = all.into_iter().skip(begin).take(len as usize).collect();
    bytes.resize(len as usize, 0);
    if wrong {
        bytes[0] ^= 1;
    }
    let mut frame = DataHead { block, len }.to_frame_head().to_vec();
    frame.append(&mut bytes);
    frame
}

fn channel(wire: &Wire, bytes: &mut Bytes<'_>) -> ChannelId {
    let any = ChannelId(u32::try_from(bytes.below(6)).expect("small"));
    bytes.choose(&wire.channels()).copied().unwrap_or(any)
}

/// A frame, or several, of another peer.
pub(super) fn of_peer(wire: &Wire, what: u8, bytes: &mut Bytes<'_>) -> Vec<u8> {
    let code = CODES[bytes.below(CODES.len())];
    let block = |bytes: &mut Bytes<'_>| {
        let piece = if bytes.u8() == 0 { MANIFEST_PIECE } else { u32::from(bytes.u8() % 8) };
        let begin = u32::from(bytes.u8() % 4) * 1_024;
        Block { channel: channel(wire, bytes), piece, begin }
    };
    let message = match what {
        11 => return hello(Role::Peer, bytes.u8() % 10, u16::from(bytes.u8())),
        12 => {
            // Dialers have even numbers; now and then nobody keeps to that.
            let number = u32::from(bytes.u8() % 8) * 2 + u32::from(wire.dialed);
            let ids = [FETCHED.id(), FETCHED.id(), SEEDED.id(), ObjectId([3; 32])];
            let object = ids[bytes.below(4)];
            Message::Open(Open { channel: ChannelId(number), object })
        }
        13 | 14 => {
            let manifest_len = u32::try_from(FETCHED.bytes().len()).expect("small");
            let mut set = PieceSet::empty(PIECES);
            let mask = bytes.u8();
            for piece in FETCHED.geometry().pieces().filter(|p| mask & (1 << p.get()) != 0) {
                set.insert(piece);
            }
            let (manifest_len, piece_count, holdings) = match bytes.below(4) {
                0 => (0, 0, Holdings::None),
                1 => (manifest_len, PIECES, Holdings::of(&set)),
                2 => (manifest_len, PIECES, Holdings::All),
                _ => (
                    manifest_len + u32::from(mask & 1),
                    PIECES + u32::from(mask & 2),
                    Holdings::None,
                ),
            };
            let channel = channel(wire, bytes);
            Message::Bitmap(Bitmap { channel, manifest_len, piece_count, holdings })
        }
        15 => {
            let pieces = (0..=bytes.below(3)).map(|_| u32::from(bytes.u8() % 6)).collect();
            Message::Have(Have { channel: channel(wire, bytes), pieces })
        }
        16 | 17 => {
            let block = block(bytes);
            Message::Request(Request { block, len: 1 + u32::from(bytes.u16()) % 5_000 })
        }
        // Answers: to one request right or wrong, or to all right.
        18 => match bytes.choose(&wire.asked) {
            Some(request) => return answer(*request, bytes.u8() & 3 == 3),
            None => Message::Noop,
        },
        19 | 20 => return wire.asked.iter().flat_map(|request| answer(*request, false)).collect(),
        21 => match bytes.choose(&wire.asked) {
            Some(request) => Message::Reject(Reject { block: request.block, code }),
            None => Message::Reject(Reject { block: block(bytes), code }),
        },
        22 => match bytes.below(3) {
            0 => Message::Cancel(Cancel { block: block(bytes) }),
            1 => Message::Close(Close { channel: channel(wire, bytes), code }),
            _ => Message::Window(Window { requests: u16::from(bytes.u8()) }),
        },
        _ if bytes.u8() == 0xFF => Message::Bye(Bye { code, text: "enough\n".to_owned() }),
        _ => Message::Noop,
    };
    message.to_frame()
}

fn record(name: &str, version: u32) -> Record {
    Record {
        object: FETCHED.id(),
        content: FETCHED.content(),
        length: FETCHED.geometry().total_len(),
        published_at: 0,
        version,
        manifest_len: u32::try_from(FETCHED.bytes().len()).expect("small"),
        piece_count: PIECES,
        file_count: 1,
        piece_log2: 12,
        name: name.to_owned(),
    }
}

fn peers(bytes: &mut Bytes<'_>) -> Vec<PeerAddr> {
    let hosts = ["10.0.0.20:4000", "10.0.0.21:4000", "0.0.0.0:1", "10.0.0.22:0", "224.0.0.1:9"];
    let count = bytes.below(6);
    let one = |host: &&str| PeerAddr {
        holding: Holding::Complete,
        addr: host.parse().expect("an address"),
    };
    hosts.iter().take(count).map(one).collect()
}

/// What a tracker says next: mostly the answer to the oldest question.
pub(super) fn of_tracker(wire: &mut Wire, bytes: &mut Bytes<'_>) -> Vec<u8> {
    let status = |rid, code, text: &str| {
        let text = text.to_owned();
        Message::Status(Status { rid, code, retry_ms: 100, text })
    };
    let mood = bytes.u8();
    match mood & 31 {
        0 | 1 => return hello(Role::Tracker, 9, 0),
        2 => {
            let (complete, partial) = (1, 0);
            let (record, peers) = (record("a", 1), peers(bytes));
            let rid = RequestId(0);
            return Message::Swarm(Swarm { rid, complete, partial, record, peers }).to_frame();
        }
        3 => {
            let code = [Code::OK, Code::DENIED, Code::VERSION, Code::SHUTDOWN][bytes.below(4)];
            return Message::Bye(Bye { code, text: String::new() }).to_frame();
        }
        4 => return Message::Noop.to_frame(),
        _ => {}
    }
    let Some(question) = wire.questions.pop_front() else { return Message::Noop.to_frame() };
    let fails = mood & 0xE0 == 0xE0;
    let codes =
        [Code::NOT_FOUND, Code::OVERLOADED, Code::IO, Code::BAD_STATE, Code::DENIED, Code::FULL];
    let code = codes[bytes.below(codes.len())];
    let version = u32::try_from(bytes.below(3)).expect("small");
    let answer = match question {
        Message::Beat(beat) if fails => status(beat.rid, code, ""),
        Message::Beat(beat) => Message::Lease(Lease {
            rid: beat.rid,
            interval_s: u16::from(bytes.u8()),
            lease_s: 70,
            sync: bytes.flag(),
            you: PeerAddr {
                holding: Holding::Dropped,
                addr: "10.0.0.1:4000".parse().expect("an address"),
            },
        }),
        Message::Announce(announce) => {
            status(announce.rid, if fails { code } else { Code::OK }, "")
        }
        Message::Publish(publish) => status(publish.rid, if fails { code } else { Code::OK }, "1"),
        Message::Unpublish(unpublish) => {
            status(unpublish.rid, if fails { code } else { Code::OK }, "")
        }
        Message::Find(find) if fails => status(find.rid, code, ""),
        Message::Find(find) => Message::Swarm(Swarm {
            rid: find.rid,
            complete: 1,
            partial: 0,
            record: record(if bytes.flag() { "a" } else { "../a" }, version),
            peers: peers(bytes),
        }),
        Message::List(list) if fails => status(list.rid, code, ""),
        Message::List(list) => {
            let entry =
                |name: &str| PageEntry { complete: 1, partial: 0, record: record(name, version) };
            let entries = ["a", "a/../b", "ab"].iter().take(bytes.below(4)).map(|n| entry(n));
            Message::Page(Page { rid: list.rid, more: bytes.flag(), entries: entries.collect() })
        }
        other => panic!("no question: {other:?}"),
    };
    answer.to_frame()
}
