//! The session between two peers, through its public door: each rule by itself, then random traces.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside of test functions")]

mod rules;
mod timers;
mod traces;

use peer::session::{Local, Session, SessionEvent, Side, Violation};
use protocol::message::{Bitmap, Block, DataHead, Hello, Holdings, Message, Open, Request, Role};
use protocol::{ChannelId, FrameReader, Incoming, NodeId, ObjectId};
use reactor::{Rng, Time};

const OURS: NodeId = NodeId([1; 16]);
const THEIRS: NodeId = NodeId([2; 16]);
const OBJECT: ObjectId = ObjectId([7; 32]);
/// The first channel of an acceptor, and of a dialer.
const ODD: ChannelId = ChannelId(1);
const EVEN: ChannelId = ChannelId(0);

fn local(node: NodeId) -> Local {
    let agent = "test/1".to_owned();
    Local { node, listen: 4000, window: 16, token: None, agent, advertise: None }
}

fn session(side: Side) -> Session {
    Session::new(side, &local(OURS), &mut Rng::new(1), Time::ZERO)
}

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Peer,
        node: THEIRS,
        listen: 0,
        window: 8,
        tlvs: Vec::new(),
    }
}

/// All events that these bytes cause, their data made to outlive the input.
fn feed_bytes(
    session: &mut Session,
    now: Time,
    bytes: &[u8],
) -> Result<Vec<SessionEvent<'static>>, Violation> {
    let bytes: &'static [u8] = bytes.to_vec().leak();
    let mut input = bytes;
    let mut events = Vec::new();
    while let Some(event) = session.next(now, &mut input)? {
        events.push(event);
    }
    assert!(input.is_empty(), "input left behind");
    Ok(events)
}

fn feed(
    session: &mut Session,
    messages: &[Message],
) -> Result<Vec<SessionEvent<'static>>, Violation> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut bytes));
    feed_bytes(session, Time::ZERO, &bytes)
}

/// Everything in the output, without what means nothing.
fn sent(session: &mut Session) -> Vec<Message> {
    let bytes = session.take_output().unwrap_or_default();
    let mut reader = FrameReader::new();
    let mut input = bytes.as_slice();
    // The reader wants a HELLO first; the output of a session that is under way has none.
    if bytes.first() != Some(&0x01) {
        let greeting = Message::Hello(hello()).to_frame();
        reader.next(&mut greeting.as_slice()).expect("a HELLO");
    }
    let mut messages = Vec::new();
    while let Some(incoming) = reader.next(&mut input).expect("output is frames") {
        match incoming {
            Incoming::Message(message) => messages.push(message),
            Incoming::Skipped { .. } => {}
            Incoming::Data { .. } => panic!("data in the output"),
        }
    }
    assert!(reader.at_boundary());
    messages
}

/// A dialer that is past its HELLOs, with an empty output.
fn ready() -> Session {
    let mut session = session(Side::Dialer);
    let events = feed(&mut session, &[Message::Hello(hello())]).unwrap();
    assert_eq!(events.len(), 1);
    sent(&mut session);
    session
}

/// As [`ready`], with a channel that the remote opened and both BITMAPs.
fn live() -> Session {
    let mut session = ready();
    feed(&mut session, &[open(ODD, OBJECT), bitmap(ODD, 100)]).unwrap();
    session.send_bitmap(ODD, 10, 100, &Holdings::All);
    sent(&mut session);
    session
}

fn open(channel: ChannelId, object: ObjectId) -> Message {
    Message::Open(Open { channel, object })
}

fn bitmap(channel: ChannelId, piece_count: u32) -> Message {
    let holdings = if piece_count == 0 { Holdings::None } else { Holdings::All };
    let manifest_len = if piece_count == 0 { 0 } else { 10 };
    Message::Bitmap(Bitmap { channel, manifest_len, piece_count, holdings })
}

fn block(piece: u32) -> Block {
    Block { channel: ODD, piece, begin: 0 }
}

fn request(piece: u32) -> Request {
    Request { block: block(piece), len: 5 }
}

fn data(block: Block, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    let mut frame = DataHead { block, len }.to_frame_head().to_vec();
    frame.extend_from_slice(bytes);
    frame
}
