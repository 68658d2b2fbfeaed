//! Frames and messages.

use protocol::frame::{self, KINDS};
use protocol::limits::{FRAME_HEADER, MAX_CONTROL};
use protocol::message::{Hello, Role};
use protocol::{DecodeError, FrameReader, Incoming, Message, NodeId};
use reactor::Rng;

use super::Bytes;
use super::memory::bounded;

/// Nothing on the wire is more than nine times as big in memory.
const GROWTH: usize = 9;

fn hello() -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Peer,
        node: NodeId([1; 16]),
        listen: 0,
        window: 0,
        tlvs: Vec::new(),
    }
}

/// A stream that is handed over in parts.
struct Cut<'i> {
    reader: FrameReader,
    now: &'i [u8],
    later: &'i [u8],
    /// `None`: all at once.
    rng: Option<Rng>,
}

impl<'i> Cut<'i> {
    fn new(greeted: bool, stream: &'i [u8], rng: Option<Rng>) -> Self {
        let mut reader = FrameReader::new();
        if greeted {
            let hello = Message::Hello(hello()).to_frame();
            let first = reader.next(&mut hello.as_slice()).expect("a HELLO");
            assert!(matches!(first, Some(Incoming::Message(Message::Hello(_)))));
        }
        Self { reader, now: &[], later: stream, rng }
    }

    fn next(&mut self) -> Result<Option<Incoming<'i>>, DecodeError> {
        loop {
            let before = self.now.len();
            let incoming = self.reader.next(&mut self.now)?;
            assert!(self.reader.buffered() <= FRAME_HEADER + MAX_CONTROL as usize, "[F-16]");
            assert!(self.now.len() <= before);
            if incoming.is_some() {
                return Ok(incoming);
            }
            assert!(self.now.is_empty(), "input is left behind");
            if self.later.is_empty() {
                return Ok(None);
            }
            let len = match &mut self.rng {
                None => self.later.len(),
                Some(rng) => {
                    let most = if rng.below(2) == 0 { 5 } else { 200 };
                    1 + rng.index(most)
                }
            };
            (self.now, self.later) = self.later.split_at(len.min(self.later.len()));
        }
    }
}

/// Byte 0: whether HELLO is over, and how the stream is cut; the rest is the stream. The same frames
/// come out however it is cut [F-12], and each control message encodes to what came.
pub(super) fn frames(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mode = bytes.u8();
    let stream = bytes.rest();
    let greeted = mode & 1 == 1;
    bounded(stream.len(), GROWTH, || {
        let mut whole = Cut::new(greeted, stream, None);
        let mut parts = Cut::new(greeted, stream, Some(Rng::new(u64::from(mode))));
        while same_next(&mut whole, &mut parts) {}
    });
}

/// Whether there may be more.
fn same_next(whole: &mut Cut<'_>, parts: &mut Cut<'_>) -> bool {
    match whole.next() {
        Ok(Some(Incoming::Data { head, offset, bytes })) => {
            let mut done = 0;
            while done < bytes.len() {
                let Ok(Some(Incoming::Data { head: other, offset: at, bytes: part })) =
                    parts.next()
                else {
                    panic!("[F-12]: a part of DATA is missing");
                };
                assert_eq!((head, offset as usize + done), (other, at as usize), "[F-12]");
                assert_eq!(bytes.get(done..done + part.len()), Some(part), "[F-12]");
                done += part.len();
            }
            true
        }
        other => {
            if let Ok(Some(Incoming::Message(message))) = &other {
                check_frame(message);
            }
            assert_eq!(other, parts.next(), "[F-12]");
            if other.is_ok() {
                assert_eq!(whole.reader.at_boundary(), parts.reader.at_boundary());
            }
            matches!(other, Ok(Some(_)))
        }
    }
}

/// A message that was decoded makes a frame that decodes to it.
fn check_frame(message: &Message) {
    let frame = message.to_frame();
    let spec = frame::spec(frame[0]).expect("a known type");
    assert_eq!((spec.kind, spec.name), (message.kind(), message.name()));
    let again = Message::decode(frame[0], &frame[FRAME_HEADER..]);
    assert_eq!(again.as_ref(), Ok(message));
}

/// Byte 0: a type; the rest is a payload. What is accepted has one encoding: the one that came.
pub(super) fn messages(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let kind = bytes.u8();
    let body = bytes.rest();
    let other = KINDS[usize::from(kind) % KINDS.len()].kind;
    let kind = frame::spec(kind).map_or(other, |spec| spec.kind);
    let message = match bounded(body.len(), GROWTH, || Message::decode(kind, body)) {
        Ok(message) => message,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.code().is_some() || error == DecodeError::NotOurs);
            return;
        }
    };
    let frame = message.to_frame();
    assert_eq!(frame[0], kind);
    assert_eq!(&frame[FRAME_HEADER..], body, "one value, one encoding");
    if let Message::Hello(theirs) = &message {
        assert!(theirs.agent().is_none_or(|agent| agent.len() <= 64), "[H-23]");
        let _ = theirs.advertised();
        let ours = protocol::negotiate((1, 1), theirs.versions());
        let back = protocol::negotiate(theirs.versions(), (1, 1));
        assert_eq!(ours, back, "[H-12]: both find the same version");
    }
}
