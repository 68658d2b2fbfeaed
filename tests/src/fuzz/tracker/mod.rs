//! The tracker's machine, through any sequence of events that a driver can bring about.

mod wire;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::{Message, NodeId, RequestId};
use reactor::{Action, Actions, CloseCause, ConnId, Event, Machine, TaskId, Time};
use tracker::store::{Batch, Committed, Committer, MemoryStore, StoreError};
use tracker::{Config, Tracker};

use super::Bytes;
use wire::Wire;

const MAX_CONNS: usize = 12;
/// Steps that one run has at most.
const MAX_STEPS: usize = 300;
/// Bytes that wait for a remote that does not read, at most; see the tracker's own limit.
const MAX_WAITING: usize = 400 << 10;
const REMOTES: [&str; 5] = [
    "192.0.2.1:5000",
    "192.0.2.2:5000",
    "127.0.0.1:5000",
    "[2001:db8::1]:5000",
    "[::ffff:192.0.2.9]:5",
];

struct World {
    tracker: Tracker,
    store: MemoryStore,
    now: Time,
    out: Actions<Batch>,
    wires: BTreeMap<ConnId, Wire>,
    tasks: Vec<(TaskId, Batch)>,
    rid: u32,
    exited: bool,
}

/// Byte 0: the configuration; then steps, each a byte and what it needs. Every reply is a message, every
/// request is answered once and in order [T-2, T-3], nobody is told what he must not be told, deadlines
/// move, and in the end everything is gone.
pub(super) fn tracker(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut world = World::new(bytes.u8());
    for _ in 0..MAX_STEPS {
        if bytes.is_empty() || world.exited {
            break;
        }
        world.step(&mut bytes);
    }
    world.end();
}

impl World {
    fn new(mode: u8) -> Self {
        let config = Config {
            beat_min_s: if mode & 1 == 0 { 15 } else { 1 },
            max_conns: if mode & 2 == 0 { 64 } else { 4 },
            max_per_ip: if mode & 4 == 0 { 64 } else { 2 },
            max_names: if mode & 8 == 0 { 100 } else { 2 },
            max_holdings_per_peer: if mode & 16 == 0 { 100 } else { 2 },
            max_holdings: if mode & 32 == 0 { 100 } else { 4 },
            grease: mode & 64 != 0,
            ..Config::default()
        };
        let store = MemoryStore::new(|| 1_700_000_000);
        let tracker = Tracker::new(config, NodeId([0xFF; 16]), 7, store.snapshot());
        let mut world = Self {
            tracker,
            store,
            now: Time::ZERO,
            out: Actions::default(),
            wires: BTreeMap::new(),
            tasks: Vec::new(),
            rid: 0,
            exited: false,
        };
        world.event(Event::Started);
        world
    }

    // ---- what a driver does

    fn event(&mut self, event: Event<'_, Committed>) {
        self.tracker.handle(self.now, event, &mut self.out);
        while let Some(action) = self.out.pop() {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action<Batch>) {
        match action {
            Action::Send { conn, bytes } => {
                let now = self.now;
                let wire = self.wires.get_mut(&conn).expect("bytes for a connection that is gone");
                wire.hear(now, &bytes);
                wire.waiting += bytes.len();
                assert!(wire.waiting <= MAX_WAITING, "{} bytes wait", wire.waiting);
                if !wire.stuck {
                    wire.waiting = 0;
                    self.tracker.handle(now, Event::Flushed { conn }, &mut self.out);
                }
            }
            Action::Finish { conn } => {
                self.wires.get_mut(&conn).expect("a connection that is gone is finished").ended =
                    true;
            }
            Action::Close { conn, .. } => {
                self.wires.remove(&conn).expect("a connection that is gone is closed");
            }
            Action::PauseReading { conn } => {
                self.wires.get_mut(&conn).expect("a connection that is gone is paused").paused =
                    true;
            }
            Action::ResumeReading { conn } => {
                self.wires.get_mut(&conn).expect("a connection that is gone is resumed").paused =
                    false;
            }
            Action::Run { id, task } => {
                self.tasks.push((id, task));
                assert!(self.tasks.len() <= 1, "one batch at a time");
            }
            Action::Exit => self.exited = true,
            other => panic!("a tracker does not ask for {other:?}"),
        }
    }

    /// Hands over what was written on a connection, or the first `most` bytes of it.
    fn deliver(&mut self, conn: ConnId, most: usize) {
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        if wire.paused || wire.unsent.is_empty() || self.exited {
            return;
        }
        let bytes: Vec<u8> = wire.unsent.drain(..most.min(wire.unsent.len())).collect();
        wire.told(&bytes);
        self.event(Event::Received { conn, bytes: &bytes });
    }

    fn wake(&mut self) {
        let before = self.tracker.deadline();
        self.event(Event::Deadline);
        if before.is_some_and(|due| due <= self.now) && !self.exited {
            let after = self.tracker.deadline();
            assert!(after.is_none_or(|due| due > self.now), "a deadline that stays is a busy loop");
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        while let Some(due) = self.tracker.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.wake();
            wakes += 1;
            assert!(wakes < 5_000, "it spins");
        }
        self.now = end;
    }

    fn commit(&mut self, fails: bool) {
        if self.tasks.is_empty() {
            return;
        }
        let (id, batch) = self.tasks.remove(0);
        let what = "no space left on device".to_owned();
        self.store.fail_with(fails.then_some(StoreError { full: true, what }));
        let result = Committer::new(self.store.clone()).commit(batch);
        self.event(Event::TaskDone { id, result });
    }

    // ---- one step

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.u8();
        let conns: Vec<ConnId> = self.wires.keys().copied().collect();
        let conn = bytes.choose(&conns).copied();
        match (what % 16, conn) {
            (0 | 1, _) if self.wires.len() < MAX_CONNS => self.accept(bytes),
            (2..=9, Some(conn)) => {
                let message = self.message(what % 16, bytes);
                let frame = message.to_frame();
                self.wires.get_mut(&conn).expect("chosen").unsent.extend(frame);
                let most = if bytes.flag() { usize::from(bytes.u8()) } else { usize::MAX };
                self.deliver(conn, most);
            }
            (10, Some(conn)) => {
                let raw = bytes.slice();
                self.wires.get_mut(&conn).expect("chosen").unsent.extend(raw);
                self.deliver(conn, usize::MAX);
            }
            (11, _) => {
                let scale = [1, 100, 1_000, 10_000][bytes.below(4)];
                self.pass(Duration::from_millis(scale * u64::from(bytes.u8())));
            }
            (12, _) => {
                let fails = bytes.u8() == 0xFF;
                self.commit(fails);
            }
            (13, Some(conn)) => self.flush(conn, bytes.flag()),
            (14, Some(conn)) => match bytes.below(4) {
                0 => self.event(Event::RemoteFinished { conn }),
                1 => self.deliver(conn, usize::MAX),
                _ => {
                    self.wires.remove(&conn);
                    self.event(Event::Closed { conn, cause: CloseCause::Reset });
                }
            },
            (15, _) if bytes.u8() == 0xFF => self.event(Event::ShutdownRequested),
            _ => self.wake(),
        }
        if what % 16 == 14 && self.wires.contains_key(&conn.unwrap_or(ConnId(0))) {
            // After the end of a remote's stream nothing more of it comes.
            if let Some(wire) = conn.and_then(|conn| self.wires.get_mut(&conn)) {
                wire.spoiled = true;
            }
        }
    }

    fn accept(&mut self, bytes: &mut Bytes<'_>) {
        let remote: SocketAddr = REMOTES[bytes.below(REMOTES.len())].parse().expect("an address");
        let node = u8::try_from(bytes.below(7)).expect("small");
        let conn = self.out.new_conn_id();
        self.wires.insert(conn, Wire::new(remote, node));
        self.event(Event::Accepted { conn, remote });
        let variant = bytes.u8();
        if variant & 0x80 != 0 {
            return;
        }
        let frame = words::hello(node, variant).to_frame();
        if let Some(wire) = self.wires.get_mut(&conn) {
            wire.unsent.extend(frame);
        }
        self.deliver(conn, usize::MAX);
    }

    fn message(&mut self, what: u8, bytes: &mut Bytes<'_>) -> Message {
        self.rid += 1;
        let rid = RequestId(if bytes.u8() == 0xFF { 0 } else { self.rid });
        words::of_peer(what, rid, bytes)
    }

    fn flush(&mut self, conn: ConnId, stuck: bool) {
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        wire.stuck = stuck;
        if !stuck && std::mem::take(&mut wire.waiting) > 0 {
            self.event(Event::Flushed { conn });
        }
    }

    // ---- the end

    /// Everybody reads, the disk answers: all that was asked is answered. Then silence: all is forgotten.
    fn end(mut self) {
        for _ in 0..20_000 {
            if self.exited {
                break;
            }
            let busy = |wire: &Wire| wire.stuck || (!wire.unsent.is_empty() && !wire.paused);
            let next = self.wires.iter().find(|(_, wire)| busy(wire)).map(|(conn, _)| *conn);
            match next {
                Some(conn) if self.wires[&conn].stuck => self.flush(conn, false),
                Some(conn) => self.deliver(conn, usize::MAX),
                None if !self.tasks.is_empty() => self.commit(false),
                None => break,
            }
        }
        if self.exited {
            assert_eq!(self.tracker.deadline(), None);
            return;
        }
        for wire in self.wires.values().filter(|wire| wire.is_sound()) {
            let left: Vec<_> = wire.asked.iter().map(Message::name).collect();
            assert!(left.is_empty(), "[T-2]: {left:?} are not answered");
        }
        self.pass(Duration::from_secs(1_200));
        if !self.exited {
            let summary = self.tracker.summary(self.now);
            assert!(self.wires.is_empty(), "{} connections are left", self.wires.len());
            assert_eq!((summary.connections, summary.peers, summary.holdings), (0, 0, 0));
        }
    }
}
