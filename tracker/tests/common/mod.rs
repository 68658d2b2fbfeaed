//! A tracker in memory with scripted clients: bytes in, bytes out, time by hand.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a failed test shall end here")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::message::{
    Announce, AnnounceEntry, Beat, Find, FindKey, Hello, Lease, List, Page, Publish, Role, Status,
    Swarm, Unpublish,
};
use protocol::{
    Code, Digest, FrameReader, Holding, Incoming, Message, NodeId, ObjectId, PublisherKey, Record,
    RequestId, holdings_digest,
};
use reactor::{Action, Actions, ConnId, Event, Machine, Time};
use tracker::store::{Batch, Committer, MemoryStore};
use tracker::{Config, Tracker};

pub(crate) const NODE: NodeId = NodeId([0xFF; 16]);
pub(crate) const NOW: u64 = 1_700_000_000;

/// What a client sees of its connection.
#[derive(Default)]
pub(crate) struct Wire {
    reader: FrameReader,
    pub(crate) inbox: Vec<Message>,
    pub(crate) bytes: usize,
    /// The tracker dropped the connection.
    pub(crate) closed: bool,
    /// The tracker sends no more.
    pub(crate) finished: bool,
    pub(crate) paused: bool,
    /// Leave what is sent unread: the tracker hears of no flush.
    pub(crate) stuck: bool,
}

pub(crate) struct World {
    pub(crate) tracker: Tracker,
    pub(crate) store: MemoryStore,
    pub(crate) now: Time,
    pub(crate) out: Actions<Batch>,
    pub(crate) wires: BTreeMap<ConnId, Wire>,
    /// Batches that wait to be committed.
    pub(crate) tasks: Vec<(reactor::TaskId, Batch)>,
    /// Commit at once.
    pub(crate) commit: bool,
    pub(crate) commits: usize,
    pub(crate) exited: bool,
}

pub(crate) fn quiet() -> Config {
    Config { grease: false, ..Config::default() }
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self::with_store(config, MemoryStore::new(|| NOW))
    }

    pub(crate) fn with_store(config: Config, store: MemoryStore) -> Self {
        let tracker = Tracker::new(config, NODE, 7, store.snapshot());
        let mut world = Self {
            tracker,
            store,
            now: Time::ZERO,
            out: Actions::default(),
            wires: BTreeMap::new(),
            tasks: Vec::new(),
            commit: true,
            commits: 0,
            exited: false,
        };
        world.event(Event::Started);
        world
    }

    pub(crate) fn event(&mut self, event: Event<'_, tracker::store::Committed>) {
        self.tracker.handle(self.now, event, &mut self.out);
        self.settle();
    }

    /// Carries out actions until there are none.
    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Send { conn, bytes } => {
                    let wire = self.wires.get_mut(&conn).unwrap();
                    assert!(!wire.closed && !wire.finished, "nothing is sent after the end");
                    wire.bytes += bytes.len();
                    let mut input = bytes.as_slice();
                    while let Some(incoming) = wire.reader.next(&mut input).unwrap() {
                        if let Incoming::Message(message) = incoming {
                            wire.inbox.push(message);
                        }
                    }
                    if !wire.stuck {
                        self.tracker.handle(self.now, Event::Flushed { conn }, &mut self.out);
                    }
                }
                Action::Finish { conn } => self.wires.get_mut(&conn).unwrap().finished = true,
                Action::Close { conn, .. } => self.wires.get_mut(&conn).unwrap().closed = true,
                Action::PauseReading { conn } => self.wires.get_mut(&conn).unwrap().paused = true,
                Action::ResumeReading { conn } => self.wires.get_mut(&conn).unwrap().paused = false,
                Action::Run { id, task } => {
                    self.tasks.push((id, task));
                    if self.commit {
                        self.commit_one();
                    }
                }
                Action::Exit => self.exited = true,
                other => panic!("a tracker does not ask for {other:?}"),
            }
        }
    }

    pub(crate) fn commit_one(&mut self) {
        let (id, batch) = self.tasks.remove(0);
        self.commits += 1;
        let result = Committer::new(self.store.clone()).commit(batch);
        self.event(Event::TaskDone { id, result });
    }

    /// Lets time pass as a driver does: every deadline is met.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.tracker.deadline().filter(|due| *due <= end) {
            assert!(!self.exited);
            self.now = self.now.max(due);
            self.event(Event::Deadline);
            assert!(self.tracker.deadline() != Some(due), "a deadline that stays is a busy loop");
        }
        self.now = end;
    }

    pub(crate) fn accept(&mut self, remote: &str) -> ConnId {
        let conn = self.out.new_conn_id();
        self.wires.insert(conn, Wire::default());
        let remote: SocketAddr = remote.parse().unwrap();
        self.event(Event::Accepted { conn, remote });
        conn
    }

    pub(crate) fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.event(Event::Received { conn, bytes });
    }

    pub(crate) fn say(&mut self, conn: ConnId, message: &Message) {
        self.bytes(conn, &message.to_frame());
    }

    pub(crate) fn take(&mut self, conn: ConnId) -> Vec<Message> {
        std::mem::take(&mut self.wires.get_mut(&conn).unwrap().inbox)
    }

    /// The only message that came, but for NOOPs.
    pub(crate) fn one(&mut self, conn: ConnId) -> Message {
        let mut all = self.take(conn);
        all.retain(|message| *message != Message::Noop);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    pub(crate) fn ask(&mut self, conn: ConnId, message: &Message) -> Message {
        self.say(conn, message);
        self.one(conn)
    }

    pub(crate) fn bye_code(&mut self, conn: ConnId) -> Option<Code> {
        match self.take(conn).pop() {
            Some(Message::Bye(bye)) => Some(bye.code),
            _ => None,
        }
    }

    // ---- whole steps

    /// A peer that has said HELLO; `node` also makes its address.
    pub(crate) fn peer(&mut self, node: u8) -> ConnId {
        self.peer_from(node, &format!("192.0.2.{node}:40000"))
    }

    pub(crate) fn peer_from(&mut self, node: u8, remote: &str) -> ConnId {
        let conn = self.accept(remote);
        let reply = self.ask(conn, &hello(node));
        assert!(matches!(reply, Message::Hello(_)), "{reply:?}");
        conn
    }

    pub(crate) fn beat(&mut self, conn: ConnId, holdings: &[(ObjectId, Holding)]) -> Lease {
        let beat = Beat {
            rid: RequestId(1),
            objects: u32::try_from(holdings.len()).unwrap(),
            digest: holdings_digest(holdings.iter().copied()),
            free: 0,
            sent: 0,
            received: 0,
        };
        match self.ask(conn, &Message::Beat(beat)) {
            Message::Lease(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn announce(
        &mut self,
        conn: ConnId,
        reset: bool,
        holdings: &[(ObjectId, Holding)],
    ) -> Code {
        match self.ask(conn, &announce(reset, holdings)) {
            Message::Status(status) => status.code,
            other => panic!("{other:?}"),
        }
    }

    /// A peer that is known to hold these.
    pub(crate) fn holder(&mut self, node: u8, holdings: &[(ObjectId, Holding)]) -> ConnId {
        let conn = self.peer(node);
        self.beat(conn, &[]);
        assert_eq!(self.announce(conn, true, holdings), Code::OK);
        assert!(!self.beat(conn, holdings).sync);
        conn
    }

    pub(crate) fn publish(&mut self, conn: ConnId, key: u8, name: &str, content: u8) -> Status {
        match self.ask(conn, &publish(9, key, name, content)) {
            Message::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn find(&mut self, conn: ConnId, want: u16, key: FindKey) -> Result<Swarm, Code> {
        match self.ask(conn, &Message::Find(Find { rid: RequestId(5), want, key })) {
            Message::Swarm(swarm) => Ok(swarm),
            Message::Status(status) => Err(status.code),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn find_name(
        &mut self,
        conn: ConnId,
        name: &str,
        version: u32,
    ) -> Result<Swarm, Code> {
        self.find(conn, 50, FindKey::Name { version, name: name.to_owned() })
    }

    pub(crate) fn list(&mut self, conn: ConnId, limit: u16, prefix: &str, after: &str) -> Page {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        match self.ask(conn, &Message::List(List { rid: RequestId(6), limit, prefix, after })) {
            Message::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn hello(node: u8) -> Message {
    Message::Hello(raw_hello(node))
}

pub(crate) fn raw_hello(node: u8) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Peer,
        node: NodeId([node; 16]),
        listen: 9_001,
        window: 512,
        tlvs: Vec::new(),
    }
}

pub(crate) fn object(n: u8) -> ObjectId {
    ObjectId([n; 32])
}

pub(crate) fn announce(reset: bool, holdings: &[(ObjectId, Holding)]) -> Message {
    let entries = holdings.iter().map(|&(object, holding)| AnnounceEntry { object, holding });
    Message::Announce(Announce { rid: RequestId(2), reset, entries: entries.collect() })
}

pub(crate) fn record(name: &str, content: u8) -> Record {
    Record {
        object: object(content),
        content: Digest([content ^ 0xFF; 32]),
        length: 1_000,
        published_at: 5,
        version: 77,
        manifest_len: 100,
        piece_count: 1,
        file_count: 1,
        piece_log2: 18,
        name: name.to_owned(),
    }
}

pub(crate) fn publish(rid: u32, key: u8, name: &str, content: u8) -> Message {
    let (key, record) = (PublisherKey([key; 16]), record(name, content));
    Message::Publish(Publish { rid: RequestId(rid), key, copies: 0, record })
}

pub(crate) fn unpublish(rid: u32, key: u8, name: &str) -> Message {
    let (key, name) = (PublisherKey([key; 16]), name.to_owned());
    Message::Unpublish(Unpublish { rid: RequestId(rid), key, name })
}
