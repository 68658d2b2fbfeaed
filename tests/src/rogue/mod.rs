//! Peers that do on purpose what nobody should. They do not run the real peer: only the codec is shared.
//!
//! Each one signs in with the tracker as a holder of the object, so that fetchers dial it, dials others
//! itself, behaves well until both HELLOs and the BITMAPs are exchanged, and then does its kind of harm
//! at every turn, for as long as the world lets it.

mod mutate;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use protocol::limits::MAX_PIECES;
use protocol::message::{
    Announce, AnnounceEntry, Beat, Bitmap, Block, Cancel, DataHead, Find, FindKey, Have, Hello,
    Holdings, List, Open, Publish, Reject, Request, Role, Tlv, Unpublish, Window,
};
use protocol::{
    ChannelId, Code, FrameReader, Holding, Incoming, Message, NodeId, ObjectId, PeerAddr,
    PublisherKey, Record, RequestId,
};
use reactor::{Action, ConnId, Event, Rng, Time};

use crate::faults::Trouble;
use crate::node::{JobNumber, Program};
use peer::Load;
use peer::notice::{Notice, Status};

/// Connections to others at most.
const MAX_CONNS: usize = 12;
/// A connection on which so much is queued is left alone.
const MAX_QUEUED: usize = 64 << 10;

/// Requests that may be open at one that stalls.
const STALL_WINDOW: u16 = 1;

/// What a rogue knows and is.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its kind of harm.
    pub kind: Trouble,
    /// The tracker.
    pub tracker: SocketAddr,
    /// What the tracker says of the object.
    pub record: Record,
    /// Whom it pretends to be.
    pub borrowed: Option<NodeId>,
    /// It stops doing harm after so long.
    pub until: Time,
}

#[derive(Debug, Default)]
struct Talk {
    reader: FrameReader,
    tracker: bool,
    dialed: bool,
    greeted: bool,
    channel: Option<ChannelId>,
    queued: usize,
    finished: bool,
    /// Requests since the channel was opened; none of them is answered in full.
    requests: u32,
}

/// One of them, at work.
pub(crate) struct Rogue {
    script: Script,
    node: NodeId,
    rng: Rng,
    talks: BTreeMap<ConnId, Talk>,
    last_conn: u64,
    began: Option<Time>,
    next: Option<Time>,
    rid: u32,
    misdeeds: u64,
    complaint: Option<(ConnId, String)>,
}

impl Rogue {
    pub(crate) fn new(script: Script, node: NodeId, rng: Rng) -> Self {
        let node = script.borrowed.unwrap_or(node);
        let talks = BTreeMap::new();
        let (began, next) = (None, None);
        Self {
            script,
            node,
            rng,
            talks,
            last_conn: 0,
            began,
            next,
            rid: 0,
            misdeeds: 0,
            complaint: None,
        }
    }

    fn new_conn(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId(self.last_conn)
    }

    fn dial(&mut self, remote: SocketAddr, tracker: bool, out: &mut Vec<Action<JobNumber>>) {
        let conn = self.new_conn();
        self.talks.insert(conn, Talk { tracker, dialed: true, ..Talk::default() });
        out.push(Action::Connect { conn, remote });
    }

    fn is_over(&self, now: Time) -> bool {
        self.began.is_some_and(|began| now.since(began) > self.script.until.since(Time::ZERO))
    }

    fn say(&mut self, conn: ConnId, message: &Message, out: &mut Vec<Action<JobNumber>>) {
        self.say_raw(conn, message.to_frame(), out);
    }

    fn say_raw(&mut self, conn: ConnId, bytes: Vec<u8>, out: &mut Vec<Action<JobNumber>>) {
        let Some(talk) = self.talks.get_mut(&conn) else { return };
        // What another rogue asks for may be more than there is memory.
        if !talk.finished && !bytes.is_empty() && talk.queued < 16 * MAX_QUEUED {
            talk.queued += bytes.len();
            out.push(Action::Send { conn, bytes });
        }
    }

    fn hello(&mut self, conn: ConnId, out: &mut Vec<Action<JobNumber>>) {
        let mut tlvs = Vec::new();
        if self.script.kind == Trouble::Mislead {
            // Others are to dial hosts that never heard of any of this.
            let host = u8::try_from(self.rng.below(250)).unwrap_or(0);
            let addr = SocketAddr::from(([10, 200, 1, host], 9000));
            tlvs.push(Tlv::advertised(PeerAddr { holding: Holding::Complete, addr }));
            self.misdeeds += 1;
        }
        let window = match self.script.kind {
            Trouble::Mislead => 0,
            Trouble::Stall => STALL_WINDOW,
            _ => 512,
        };
        let (mut versions, mut role) = ((1, 1), Role::Peer);
        if self.script.kind == Trouble::Malform {
            match self.rng.below(12) {
                0 => return self.say_raw(conn, b"GET / HTTP/1.1\r\n\r\n".to_vec(), out),
                // Says nothing at all.
                1 => return,
                2 => versions = (2, 9),
                3 => role = Role::Tracker,
                _ => {}
            }
        }
        let hello = Message::Hello(Hello {
            version_min: versions.0,
            version_max: versions.1,
            role,
            node: self.node,
            listen: 9000,
            window,
            tlvs,
        });
        self.say(conn, &hello, out);
    }

    fn rid(&mut self) -> RequestId {
        self.rid += 1;
        RequestId(self.rid)
    }

    /// As much of the object as it claims.
    fn bitmap(&mut self, channel: ChannelId) -> Message {
        let record = &self.script.record;
        let (mut manifest_len, mut piece_count) = (record.manifest_len, record.piece_count);
        let mut holdings = Holdings::All;
        match self.script.kind {
            Trouble::Lie => {
                self.misdeeds += 1;
                match self.rng.below(3) {
                    0 => piece_count = piece_count.saturating_add(1),
                    1 => manifest_len = manifest_len.saturating_add(1),
                    _ => {}
                }
            }
            Trouble::Flood | Trouble::Mislead => {
                (manifest_len, piece_count, holdings) = (0, 0, Holdings::None);
            }
            _ => {}
        }
        Message::Bitmap(Bitmap { channel, manifest_len, piece_count, holdings })
    }

    fn sign_in(&mut self, conn: ConnId, out: &mut Vec<Action<JobNumber>>) {
        let (rid, object) = (self.rid(), self.script.record.object);
        let beat = Beat { rid, objects: 0, digest: 0, free: 0, sent: 0, received: 0 };
        if self.script.kind != Trouble::Malform || self.rng.below(2) == 0 {
            self.say(conn, &Message::Beat(beat), out);
        }
        let entries = vec![AnnounceEntry { object, holding: Holding::Complete }];
        let rid = self.rid();
        self.say(conn, &Message::Announce(Announce { rid, reset: true, entries }), out);
        let find = Find { rid: self.rid(), want: 50, key: FindKey::Object(object) };
        self.say(conn, &Message::Find(find), out);
    }

    fn heard(&mut self, now: Time, conn: ConnId, bytes: &[u8], out: &mut Vec<Action<JobNumber>>) {
        let mut input = bytes;
        loop {
            let Some(talk) = self.talks.get_mut(&conn) else { return };
            let message = match talk.reader.next(&mut input) {
                Ok(Some(Incoming::Message(message))) => message,
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => return,
            };
            self.answer(now, conn, message, out);
        }
    }

    fn answer(
        &mut self,
        now: Time,
        conn: ConnId,
        message: Message,
        out: &mut Vec<Action<JobNumber>>,
    ) {
        let over = self.is_over(now);
        let Some(talk) = self.talks.get_mut(&conn) else { return };
        match message {
            Message::Hello(_) => {
                let (tracker, dialed) = (talk.tracker, talk.dialed);
                talk.greeted = true;
                if tracker {
                    self.sign_in(conn, out);
                    return;
                }
                if !dialed {
                    self.hello(conn, out);
                } else {
                    let channel = ChannelId(0);
                    let object = self.script.record.object;
                    talk.channel = Some(channel);
                    self.say(conn, &Message::Open(Open { channel, object }), out);
                    let bitmap = self.bitmap(channel);
                    self.say(conn, &bitmap, out);
                }
            }
            Message::Open(open) => {
                talk.channel = Some(open.channel);
                talk.requests = 0;
                let bitmap = self.bitmap(open.channel);
                self.say(conn, &bitmap, out);
            }
            Message::Swarm(swarm) => {
                let us = self.talks.len();
                for peer in swarm.peers.iter().take(MAX_CONNS.saturating_sub(us)) {
                    self.dial(peer.addr, false, out);
                }
            }
            Message::Close(_) => talk.requests = 0,
            Message::Request(request) if !over => {
                talk.requests += 1;
                if self.script.kind == Trouble::Stall && talk.requests > STALL_WINDOW.into() {
                    let count = talk.requests;
                    let what = format!("{count} requests in a window of {STALL_WINDOW}");
                    self.complaint = Some((conn, what));
                }
                self.on_request(conn, request, out);
            }
            _ => {}
        }
    }

    fn on_request(&mut self, conn: ConnId, request: Request, out: &mut Vec<Action<JobNumber>>) {
        let Request { block, len } = request;
        match self.script.kind {
            Trouble::Stall => {
                // A head, a byte now and then, and never the rest.
                self.misdeeds += 1;
                let mut bytes = DataHead { block, len }.to_frame_head().to_vec();
                bytes.push(0);
                self.say_raw(conn, bytes, out);
                out.push(Action::PauseReading { conn });
            }
            Trouble::Lie => {
                self.misdeeds += 1;
                let code = [Code::BUSY, Code::NO_PIECE, Code::GONE][self.rng.index(3)];
                let message = match self.rng.below(4) {
                    // One byte can't be answered with less, and one that is wrong is no lie but corrupt.
                    0 if len > 1 => {
                        let len = len - 1;
                        let mut bytes = DataHead { block, len }.to_frame_head().to_vec();
                        bytes.resize(bytes.len() + len as usize, 0);
                        return self.say_raw(conn, bytes, out);
                    }
                    1 => {
                        Message::Have(Have { channel: block.channel, pieces: vec![MAX_PIECES - 1] })
                    }
                    _ => Message::Reject(Reject { block, code }),
                };
                self.say(conn, &message, out);
            }
            Trouble::HalfClose => {
                self.misdeeds += 1;
                out.push(Action::Finish { conn });
                if let Some(talk) = self.talks.get_mut(&conn) {
                    talk.finished = true;
                }
            }
            _ => {}
        }
    }

    /// What it does unasked, on every connection.
    fn act(&mut self, now: Time, out: &mut Vec<Action<JobNumber>>) {
        let again = now + std::time::Duration::from_millis(40 + self.rng.below(400));
        self.next = (!self.is_over(now)).then_some(again);
        if self.is_over(now) {
            return;
        }
        let wanted =
            if self.script.kind == Trouble::Spoof && self.rng.below(9) == 0 { 2 } else { 1 };
        if self.talks.values().filter(|talk| talk.tracker).count() < wanted {
            self.dial(self.script.tracker, true, out);
        }
        let idle = |talk: &Talk| talk.greeted && !talk.finished && talk.queued < MAX_QUEUED;
        let conns: Vec<(ConnId, bool, Option<ChannelId>)> = self
            .talks
            .iter()
            .filter(|(_, talk)| idle(talk))
            .map(|(conn, talk)| (*conn, talk.tracker, talk.channel))
            .collect();
        for (conn, tracker, channel) in conns {
            match self.script.kind {
                Trouble::Malform => {
                    let bytes = mutate::frame(&self.script.record, &mut self.rng);
                    self.misdeeds += 1;
                    self.say_raw(conn, bytes, out);
                }
                Trouble::Flood if tracker => self.flood_tracker(conn, out),
                Trouble::Flood => self.flood(conn, channel.unwrap_or(ChannelId(0)), out),
                Trouble::Stall if self.rng.below(20) == 0 => {
                    self.say_raw(conn, vec![0], out);
                }
                Trouble::Mislead if !tracker => {
                    let requests = u16::try_from(self.rng.below(2)).unwrap_or(0);
                    self.say(conn, &Message::Window(Window { requests }), out);
                }
                Trouble::Spoof => self.misdeeds += 1,
                _ => {}
            }
        }
    }

    fn flood(&mut self, conn: ConnId, channel: ChannelId, out: &mut Vec<Action<JobNumber>>) {
        let pieces = u64::from(self.script.record.piece_count.max(1));
        // Some floods are of what one may ask, some of what nobody may.
        let wild = self.rng.below(4);
        let mut bytes = Vec::new();
        for number in 0..700_u32 {
            let piece = u32::try_from(self.rng.below(pieces + wild)).unwrap_or(0);
            let block = Block { channel, piece, begin: number };
            let len = if wild == 1 { 1 << 20 } else { 16 };
            Message::Request(Request { block, len }).encode(&mut bytes);
            if self.rng.below(3) == 0 {
                Message::Cancel(Cancel { block }).encode(&mut bytes);
            }
        }
        self.misdeeds += 1;
        self.say_raw(conn, bytes, out);
        if self.rng.below(4) == 0 {
            out.push(Action::PauseReading { conn });
        }
    }

    fn flood_tracker(&mut self, conn: ConnId, out: &mut Vec<Action<JobNumber>>) {
        for _ in 0..20 {
            self.misdeeds += 1;
            let rid = self.rid();
            let name = self.script.record.name.clone();
            let key = PublisherKey([7; 16]);
            let message = match self.rng.below(4) {
                0 => Message::Find(Find { rid, want: 50, key: FindKey::Name { version: 0, name } }),
                1 => {
                    let (prefix, after) = (String::new(), String::new());
                    Message::List(List { rid, limit: 200, prefix, after })
                }
                2 => Message::Unpublish(Unpublish { rid, key, name }),
                _ => {
                    // Somebody else's name for something else, or a name of its own.
                    let number = u8::try_from(self.rng.below(250)).unwrap_or(0);
                    let object = ObjectId([number; 32]);
                    let own = self.rng.below(2) == 0;
                    let name = if own { format!("flood-{}", number % 4) } else { name };
                    let record = Record { object, name, ..self.script.record.clone() };
                    Message::Publish(Publish { rid, key, copies: 0, record })
                }
            };
            self.say(conn, &message, out);
        }
        if self.rng.below(8) == 0 {
            out.push(Action::PauseReading { conn });
        }
    }
}

impl Program for Rogue {
    fn handle(&mut self, now: Time, event: Event<'_, JobNumber>, out: &mut Vec<Action<JobNumber>>) {
        match event {
            Event::Started => {
                self.began = Some(now);
                self.dial(self.script.tracker, true, out);
                self.next = Some(now);
            }
            Event::Accepted { conn, .. } => {
                if self.talks.len() >= 4 * MAX_CONNS {
                    out.push(Action::Close { conn, reason: reactor::CloseReason::Overload });
                } else {
                    self.talks.insert(conn, Talk::default());
                }
            }
            Event::Connected { conn } => self.hello(conn, out),
            Event::ConnectFailed { conn, .. } | Event::Closed { conn, .. } => {
                self.talks.remove(&conn);
            }
            Event::Received { conn, bytes } => self.heard(now, conn, bytes, out),
            Event::Flushed { conn } => {
                if let Some(talk) = self.talks.get_mut(&conn) {
                    talk.queued = 0;
                }
            }
            Event::RemoteFinished { conn } => {
                self.talks.remove(&conn);
                out.push(Action::Close { conn, reason: reactor::CloseReason::Done });
            }
            Event::Deadline if self.next.is_some_and(|next| next <= now) => self.act(now, out),
            Event::ShutdownRequested => {
                self.next = None;
                out.push(Action::Exit);
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.next
    }

    fn execute(&mut self, _job: JobNumber) {}

    fn new_conn_id(&mut self) -> ConnId {
        self.new_conn()
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    fn status(&self) -> Option<Status> {
        None
    }

    fn load(&self) -> Option<Load> {
        None
    }

    fn misdeeds(&self) -> u64 {
        self.misdeeds
    }

    fn complaint(&mut self) -> Option<(ConnId, String)> {
        self.complaint.take()
    }
}
