//! One connection from outside: what the peer says on it, against what it may say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::limits::{MANIFEST_PIECE, MAX_BLOCK};
use protocol::message::{Bitmap, Block, Holdings, Request};
use protocol::{ChannelId, FrameReader, Incoming, Message, ObjectId, PieceIndex};

use super::tasks::{FETCHED, SEEDED, content};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Tracker,
    Peer,
}

/// What the whole process may say by now.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Pieces of the fetched object that are stored.
    pub(super) stored: BTreeSet<u32>,
    /// The manifest of the fetched object is there.
    pub(super) manifest: bool,
}

/// A connection.
pub(super) struct Wire {
    pub(super) role: Role,
    /// The peer dialed.
    pub(super) dialed: bool,
    reader: FrameReader,
    /// What the peer is told, to know what it must answer; `None` after an error.
    oracle: Option<FrameReader>,
    greeted: bool,
    /// BYE was said by the peer, or it finished.
    pub(super) ended: bool,
    /// The remote said something after which it gets no more answers.
    pub(super) spoiled: bool,
    /// Requests of the peer to this remote, not answered yet.
    pub(super) asked: Vec<Request>,
    /// Requests of this remote that the peer must answer.
    owed: BTreeSet<Block>,
    /// Channels with who told what it holds: the remote, the peer.
    channels: BTreeMap<ChannelId, (ObjectId, bool, bool)>,
    window: usize,
    /// Requests to the tracker, not answered yet.
    pub(super) questions: VecDeque<Message>,
    /// Written, but not yet delivered.
    pub(super) unsent: VecDeque<u8>,
    pub(super) paused: bool,
    pub(super) stuck: bool,
    pub(super) waiting: bool,
}

impl Wire {
    pub(super) fn new(role: Role, dialed: bool) -> Self {
        Self {
            role,
            dialed,
            reader: FrameReader::new(),
            oracle: Some(FrameReader::new()),
            greeted: false,
            ended: false,
            spoiled: false,
            asked: Vec::new(),
            owed: BTreeSet::new(),
            channels: BTreeMap::new(),
            window: 0,
            questions: VecDeque::new(),
            unsent: VecDeque::new(),
            paused: false,
            stuck: false,
            waiting: false,
        }
    }

    /// Channels that were opened by either side and not closed.
    pub(super) fn channels(&self) -> Vec<ChannelId> {
        self.channels.keys().copied().collect()
    }

    /// Requests that are not answered though nothing is in the way.
    pub(super) fn overdue(&self) -> usize {
        let sound = self.greeted && !self.ended && !self.spoiled && self.oracle.is_some();
        if sound { self.owed.len() } else { 0 }
    }

    fn close(&mut self, channel: ChannelId) {
        self.channels.remove(&channel);
        self.asked.retain(|request| request.block.channel != channel);
        self.owed.retain(|block| block.channel != channel);
    }

    // ---- what the peer is told

    /// Notes what the peer is told next: bytes to the end of a frame, or all. How many, at least one.
    pub(super) fn told(&mut self, bytes: &[u8]) -> usize {
        let Some(mut reader) = self.oracle.take() else { return bytes.len() };
        let mut rest = bytes;
        match reader.next(&mut rest) {
            Ok(Some(Incoming::Message(message))) => self.told_message(&message),
            Ok(Some(Incoming::Data { head, offset, bytes })) => {
                if offset as usize + bytes.len() == head.len as usize {
                    self.asked.retain(|request| request.block != head.block);
                }
            }
            Ok(_) => {}
            Err(_) => return bytes.len(),
        }
        self.oracle = Some(reader);
        bytes.len() - rest.len()
    }

    fn told_message(&mut self, message: &Message) {
        match message {
            Message::Hello(hello) => self.window = usize::from(hello.window),
            Message::Window(window) => self.window = self.window.max(usize::from(window.requests)),
            Message::Bye(_) => self.spoiled = true,
            Message::Open(open) => {
                self.channels.entry(open.channel).or_insert((open.object, false, false));
            }
            Message::Bitmap(bitmap) => {
                if let Some(channel) = self.channels.get_mut(&bitmap.channel) {
                    channel.1 = true;
                }
            }
            Message::Close(close) => self.close(close.channel),
            Message::Reject(reject) => self.asked.retain(|request| request.block != reject.block),
            Message::Request(request) => {
                let live = self.channels.get(&request.block.channel);
                // Anything else is a violation, or void.
                if live.is_some_and(|(_, theirs, ours)| *theirs && *ours) {
                    self.owed.insert(request.block);
                }
            }
            _ => {}
        }
    }

    // ---- what the peer says

    pub(super) fn hear(&mut self, known: &Known, mut bytes: &[u8]) {
        assert!(!self.ended, "[F-21]: bytes after the last word");
        loop {
            let incoming = self.reader.next(&mut bytes).expect("the peer sends frames");
            let Some(incoming) = incoming else { break };
            assert!(!self.ended, "[F-21]: a frame after BYE");
            match incoming {
                Incoming::Message(message) => {
                    assert_eq!(
                        self.greeted,
                        !matches!(message, Message::Hello(_)),
                        "[H-1], [H-10]"
                    );
                    self.greeted = true;
                    match self.role {
                        Role::Tracker => self.hear_question(message),
                        Role::Peer => self.hear_peer(known, &message),
                    }
                }
                Incoming::Skipped { kind } => assert!((0xE0..=0xEF).contains(&kind), "[X-3]"),
                Incoming::Data { head, offset, bytes } => {
                    assert_eq!(self.role, Role::Peer);
                    self.hear_data(known, head.block, offset, bytes);
                    if offset as usize + bytes.len() == head.len as usize {
                        self.answered(head.block);
                    }
                }
            }
        }
        assert!(self.reader.at_boundary(), "half a frame");
    }

    fn hear_question(&mut self, message: Message) {
        match message {
            Message::Hello(_) | Message::Noop => {}
            Message::Bye(_) => self.ended = true,
            Message::Beat(_)
            | Message::Announce(_)
            | Message::Publish(_)
            | Message::Unpublish(_)
            | Message::Find(_)
            | Message::List(_)
            | Message::SummaryRequest(_) => self.questions.push_back(message),
            other => panic!("[F-14]: a tracker gets {other:?}"),
        }
        assert!(self.questions.len() < 5_000);
    }

    fn hear_peer(&mut self, known: &Known, message: &Message) {
        match message {
            Message::Hello(_) | Message::Noop | Message::Window(_) | Message::Cancel(_) => {}
            Message::Bye(_) => self.ended = true,
            Message::Open(open) => {
                assert_eq!(open.channel.0 % 2, u32::from(!self.dialed), "[P-1]");
                let new = self.channels.insert(open.channel, (open.object, false, false));
                assert!(new.is_none(), "[P-2]");
            }
            Message::Close(close) => self.close(close.channel),
            Message::Bitmap(bitmap) => self.hear_bitmap(known, bitmap),
            Message::Have(have) => {
                let object = self.told_object(have.channel);
                if object == Some(FETCHED.id()) {
                    let odd = have.pieces.iter().find(|piece| !known.stored.contains(piece));
                    assert_eq!(odd, None, "[P-20]");
                }
            }
            Message::Request(request) => self.hear_request(known, *request),
            Message::Reject(reject) => self.answered(reject.block),
            other => panic!("[F-14]: a peer gets {other:?}"),
        }
    }

    fn told_object(&self, channel: ChannelId) -> Option<ObjectId> {
        let (object, _, told) = self.channels.get(&channel)?;
        assert!(told, "[P-15]");
        Some(*object)
    }

    fn hear_bitmap(&mut self, known: &Known, bitmap: &Bitmap) {
        let (object, _, told) =
            self.channels.get_mut(&bitmap.channel).expect("[P-11]: on an open channel");
        assert!(!std::mem::replace(told, true), "[P-14]");
        if *object != FETCHED.id() {
            return;
        }
        assert!(bitmap.manifest_len == 0 || known.manifest, "[P-18]");
        let told = match &bitmap.holdings {
            Holdings::None => Vec::new(),
            other => {
                let set = other.to_set(bitmap.piece_count).expect("[P-16], [P-17]");
                set.iter().collect()
            }
        };
        assert!(told.iter().all(|piece| known.stored.contains(piece)), "[P-20]: {told:?}");
    }

    fn hear_request(&mut self, known: &Known, request: Request) {
        let Request { block, len } = request;
        let (object, theirs, ours) = *self.channels.get(&block.channel).expect("[P-11]");
        assert!(theirs && ours, "[P-34]");
        assert!((1..=MAX_BLOCK).contains(&len), "[P-29]");
        assert!(self.asked.iter().all(|other| other.block != block), "[P-32]");
        self.asked.push(request);
        assert!(self.asked.len() <= self.window, "[P-42]");
        assert_eq!(object, FETCHED.id(), "nothing else is fetched");
        if block.piece == MANIFEST_PIECE {
            return;
        }
        assert!(known.manifest, "[P-53]");
        let geometry = FETCHED.geometry();
        let piece = geometry.piece(block.piece).expect("[P-30]");
        assert!(geometry.block(piece, block.begin, len).is_some(), "[P-30]");
    }

    /// The remote's request has its one answer.
    fn answered(&mut self, block: Block) {
        if self.channels.contains_key(&block.channel) {
            assert!(self.owed.remove(&block), "[P-27]: {block:?} was not asked, or is answered");
        }
    }

    /// Only bytes that are right are served. [P-47]
    fn hear_data(&self, known: &Known, block: Block, offset: u32, bytes: &[u8]) {
        let Some((object, ..)) = self.channels.get(&block.channel) else { return };
        let manifest = if *object == FETCHED.id() { &*FETCHED } else { &*SEEDED };
        if manifest.id() != *object {
            return;
        }
        let begin = (block.begin + offset) as usize;
        if block.piece == MANIFEST_PIECE {
            assert_eq!(manifest.bytes().get(begin..begin + bytes.len()), Some(bytes), "[P-47]");
            return;
        }
        let piece: PieceIndex = manifest.geometry().piece(block.piece).expect("a piece");
        let at = usize::try_from(manifest.geometry().span(piece).offset).expect("small") + begin;
        assert_eq!(content().get(at..at + bytes.len()), Some(bytes), "[P-47]");
        assert!(*object != FETCHED.id() || known.stored.contains(&block.piece), "[P-47]");
    }
}
