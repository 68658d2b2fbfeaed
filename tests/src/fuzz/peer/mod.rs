//! The peer's machine, through any sequence of events that a driver can bring about: jobs, connections,
//! frames right and wrong, results of tasks in any order, time.

mod tasks;
mod wire;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use peer::Peer;
use peer::disk::{IfExists, ScanRequest, StoreOutcome, StoredPiece, Task, TaskResult};
use peer::job::{Config, FetchJob, Job, Linger, SeedJob, Target};
use peer::notice::Notice;
use protocol::{NodeId, PublisherKey, SafePath};
use reactor::{
    Action, Actions, CloseCause, ConnId, ConnectError, Event, Machine, RangeError, Time,
};

use super::Bytes;
use tasks::FETCHED;
use wire::{Known, Role, Wire};

const TRACKER: &str = "10.0.0.9:7000";
const MAX_STEPS: usize = 400;
const MAX_CONNS: usize = 10;

struct World {
    peer: Peer,
    now: Time,
    out: Actions<Task>,
    dialing: BTreeMap<ConnId, SocketAddr>,
    wires: BTreeMap<ConnId, Wire>,
    tasks: Vec<Task>,
    known: Known,
    exited: bool,
    /// Ranges that could not be sent, not told yet.
    failed: VecDeque<(ConnId, reactor::RangeTag)>,
    /// Of eight ranges, those whose bits are set can't be sent.
    bad_ranges: u8,
    ranges: u32,
}

/// Bytes 0 and 1: jobs and settings; then steps, each a byte and what it needs. What the peer says keeps
/// the rules, each request of a remote has one answer [P-27], nothing unverified is announced or served
/// [P-20, P-47], deadlines move, and told to stop it ends.
pub(super) fn peer(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut world = World::new(bytes.u8(), bytes.u8());
    for _ in 0..MAX_STEPS {
        if bytes.is_empty() || world.exited {
            break;
        }
        world.step(&mut bytes);
    }
    world.end();
}

fn name() -> SafePath {
    SafePath::new("a").expect("a path")
}

fn fetch(mode: u8) -> FetchJob {
    let target = match mode % 4 {
        0 => Target::Manifest { name: name(), manifest: FETCHED.clone() },
        1 => Target::Exact { name: name(), object: FETCHED.id() },
        _ => Target::Name { name: name(), version: 0 },
    };
    FetchJob {
        target,
        folder: "/x".into(),
        if_exists: IfExists::Verify,
        sync: mode & 4 != 0,
        reserve: 0,
        wait: Duration::from_secs(u64::from(mode & 8)),
        timeout: (mode & 16 != 0).then_some(Duration::from_secs(120)),
        stall_timeout: (mode & 32 != 0).then_some(Duration::from_secs(20)),
        check: mode & 64 != 0,
        linger: match mode % 3 {
            0 => Linger::No,
            1 => Linger::For(Duration::from_secs(9)),
            _ => Linger::Forever,
        },
    }
}

fn seed(mode: u8) -> SeedJob {
    let name = (mode & 8 != 0).then(|| "named".to_owned());
    let path = ScanRequest { path: "/s".into(), name, follow_symlinks: false, hidden: false };
    let seed_time = (mode & 16 != 0).then_some(Duration::from_secs(60));
    SeedJob { paths: vec![path], use_cache: true, seed_time, once: mode & 32 != 0 }
}

fn jobs(what: u8, mode: u8) -> Vec<Job> {
    let by_name = || Target::Name { name: name(), version: u32::from(mode % 3) };
    let scan =
        || ScanRequest { path: "/s".into(), name: None, follow_symlinks: false, hidden: false };
    match what % 16 {
        0 => vec![Job::Seed(seed(mode))],
        1 => vec![Job::Seed(seed(mode)), Job::Fetch(fetch(mode))],
        2 => vec![Job::Manifest(Target::Exact { name: name(), object: FETCHED.id() })],
        3 => vec![Job::Verify { target: fetch(mode).target, path: "/s".into() }],
        4 => vec![Job::Find { target: by_name(), want: u16::from(mode) % 201 }],
        5 => vec![Job::List { prefix: "a".to_owned() }],
        6 => vec![Job::Create(scan())],
        7 => vec![Job::Unpublish { name: "a".to_owned() }],
        _ => vec![Job::Fetch(fetch(mode))],
    }
}

impl World {
    fn new(what: u8, mode: u8) -> Self {
        let config = Config {
            node: NodeId([5; 16]),
            trackers: vec![TRACKER.to_owned()],
            token: None,
            publisher: PublisherKey([1; 16]),
            advertise: None,
            up_limit: (what & 16 != 0).then_some(100_000),
            down_limit: (what & 32 != 0).then_some(100_000),
            max_peers: if what & 64 != 0 { 2 } else { 50 },
            piece_log2: None,
            buffer_bytes: if what & 128 != 0 { 1 } else { 1 << 20 },
            workers: 2,
            seed: 1,
        };
        let mut world = Self {
            peer: Peer::new(config, jobs(what, mode)),
            now: Time::ZERO + Duration::from_secs(1_000),
            out: Actions::default(),
            dialing: BTreeMap::new(),
            wires: BTreeMap::new(),
            tasks: Vec::new(),
            known: Known::default(),
            exited: false,
            failed: VecDeque::new(),
            bad_ranges: 0,
            ranges: 0,
        };
        // Who fetches by a metafile knows the manifest from the start.
        world.known.manifest = jobs(what, mode).iter().any(|job| {
            matches!(job, Job::Fetch(fetch) if matches!(fetch.target, Target::Manifest { .. }))
        });
        world.event(Event::Started);
        world.event(Event::Listening { local: SocketAddr::from(([10, 0, 0, 1], 4_000)) });
        world
    }

    // ---- what a driver does

    fn event(&mut self, event: Event<'_, TaskResult>) {
        if self.exited {
            return;
        }
        self.peer.handle(self.now, event, &mut self.out);
        for notice in self.peer.take_notices() {
            if let Notice::GotManifest { manifest, .. } = notice {
                self.known.manifest |= manifest.id() == FETCHED.id();
            }
        }
        let mut flushed = Vec::new();
        let mut failed = Vec::new();
        while let Some(action) = self.out.pop() {
            match action {
                Action::Send { conn, bytes } => {
                    self.wire(conn).hear_all(&bytes);
                    flushed.push(conn);
                }
                Action::SendRange { conn, tag, header, source, range } => {
                    self.ranges += 1;
                    flushed.push(conn);
                    if self.bad_ranges & (1 << (self.ranges % 8)) != 0 {
                        failed.push((conn, tag));
                        continue;
                    }
                    let mut bytes = header;
                    source.read_range(range, &mut bytes).expect("a range of the source");
                    self.wire(conn).hear_all(&bytes);
                }
                other => self.carry_out(other),
            }
        }
        self.after(flushed, failed);
    }

    fn carry_out(&mut self, action: Action<Task>) {
        match action {
            Action::Connect { conn, remote } => {
                self.dialing.insert(conn, remote);
                assert!(self.dialing.len() <= 200, "dials without end");
            }
            Action::Finish { conn } => self.wire(conn).1.ended = true,
            Action::Close { conn, .. } => {
                let known = self.wires.remove(&conn).is_some();
                assert!(self.dialing.remove(&conn).is_some() || known, "closed twice");
            }
            Action::PauseReading { conn } => self.wire(conn).1.paused = true,
            Action::ResumeReading { conn } => self.wire(conn).1.paused = false,
            Action::Run { task, .. } => {
                self.tasks.push(task);
                assert!(self.tasks.len() <= 200, "tasks without end");
            }
            Action::Exit => self.exited = true,
            Action::Send { .. } | Action::SendRange { .. } => unreachable!("carried out before"),
        }
    }

    /// A connection that an action names: it must be there.
    fn wire(&mut self, conn: ConnId) -> Pair<'_> {
        let wire = self.wires.get_mut(&conn).expect("an action for a connection that is gone");
        Pair(&self.known, wire)
    }

    fn after(&mut self, mut flushed: Vec<ConnId>, failed: Vec<(ConnId, reactor::RangeTag)>) {
        // All that failed is told before a connection counts as flushed, whatever is said about the first.
        self.failed.extend(failed);
        while let Some((conn, tag)) = self.failed.pop_front() {
            if self.wires.contains_key(&conn) {
                let error =
                    if tag.0 % 2 == 0 { RangeError::Changed } else { RangeError::OutOfBounds };
                self.event(Event::RangeFailed { conn, tag, error });
            }
        }
        flushed.sort();
        flushed.dedup();
        for conn in flushed {
            let Some(wire) = self.wires.get_mut(&conn) else { continue };
            if wire.stuck {
                wire.waiting = true;
            } else {
                self.event(Event::Flushed { conn });
            }
        }
    }

    /// Hands over what was written on a connection, or the first `most` bytes of it.
    fn deliver(&mut self, conn: ConnId, mut most: usize) {
        while most > 0 && !self.exited {
            let Some(wire) = self.wires.get_mut(&conn) else { return };
            if wire.paused || wire.unsent.is_empty() {
                return;
            }
            let part = most.min(wire.unsent.len());
            let mut bytes: Vec<u8> = wire.unsent.iter().take(part).copied().collect();
            bytes.truncate(wire.told(&bytes));
            wire.unsent.drain(..bytes.len());
            most -= bytes.len();
            self.hand_over(conn, &bytes);
        }
    }

    /// Delivers bytes: on every other connection to where they belong, as far as the peer knows that.
    fn hand_over(&mut self, conn: ConnId, bytes: &[u8]) {
        let asks = conn.0.is_multiple_of(2);
        let place = asks.then(|| self.peer.landing(conn)).flatten();
        let (here, rest) =
            bytes.split_at(place.as_ref().map_or(0, |place| place.len()).min(bytes.len()));
        if let Some(place) = place {
            place[..here.len()].copy_from_slice(here);
            self.event(Event::Landed { conn, len: here.len() });
        }
        let open = self.wires.get(&conn).is_some_and(|wire| !wire.paused);
        if !rest.is_empty() && open && !self.exited {
            self.event(Event::Received { conn, bytes: rest });
        }
    }

    fn done(&mut self, task: Task, fails: bool, bytes: &mut Bytes<'_>) {
        let result = tasks::outcome(task, fails, bytes);
        match &result {
            TaskResult::Stored { pieces, .. } => {
                let right =
                    |piece: &&StoredPiece| matches!(piece.outcome, Ok(StoreOutcome::Stored));
                self.known
                    .stored
                    .extend(pieces.iter().filter(right).map(|piece| piece.piece.get()));
            }
            TaskResult::Rechecked { outcome: Ok(pieces), .. } => {
                let there = pieces.iter().filter(|(_, there)| *there);
                self.known.stored.extend(there.map(|(piece, _)| piece.get()));
            }
            TaskResult::Recalled { manifest: Some(_), .. } => self.known.manifest = true,
            TaskResult::Prepared { outcome: Ok(prepared), .. } => {
                self.known.stored.extend(prepared.have.iter());
            }
            _ => {}
        }
        self.event(Event::TaskDone { id: reactor::TaskId(0), result });
    }

    fn wake(&mut self) {
        self.event(Event::Deadline);
        let due = self.peer.deadline();
        // One wake-up may lead to another, but not for ever.
        if due.is_some_and(|due| due <= self.now) && !self.exited {
            for _ in 0..4 {
                self.event(Event::Deadline);
            }
            let after = self.peer.deadline();
            assert!(self.exited || after.is_none_or(|due| due > self.now), "a busy loop");
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        while let Some(due) = self.peer.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.wake();
            wakes += 1;
            assert!(wakes < 20_000, "it spins");
        }
        self.now = end;
    }

    // ---- one step

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let what = bytes.u8() % 24;
        let conns: Vec<ConnId> = self.wires.keys().copied().collect();
        let conn = bytes.choose(&conns).copied();
        match (what, conn) {
            (0 | 1, _) => self.settle_dial(bytes),
            (2, _) if self.wires.len() < MAX_CONNS => {
                let host = u8::try_from(bytes.below(5)).expect("small");
                let conn = self.out.new_conn_id();
                self.wires.insert(conn, Wire::new(Role::Peer, false));
                let remote = SocketAddr::from(([10, 0, 0, 20 + host], 50_000));
                self.event(Event::Accepted { conn, remote });
            }
            (3..=5, _) if !self.tasks.is_empty() => {
                let task = self.tasks.remove(bytes.below(self.tasks.len()));
                self.done(task, what == 3 && bytes.flag(), bytes);
            }
            (6, _) => {
                let scale = [1, 50, 1_000, 10_000][bytes.below(4)];
                self.pass(Duration::from_millis(scale * u64::from(bytes.u8() % 64)));
            }
            (7, Some(conn)) => self.flush(conn, bytes.flag()),
            (8, Some(conn)) => self.lose(conn, bytes),
            (9, _) => match bytes.u8() {
                0xFF => self.event(Event::ShutdownRequested),
                bad => self.bad_ranges = bad,
            },
            (10, Some(conn)) => {
                let raw = bytes.slice();
                self.write(conn, raw, bytes);
            }
            (_, Some(conn)) => {
                let wire = self.wires.get_mut(&conn).expect("chosen");
                let frame = match wire.role {
                    Role::Tracker => words::of_tracker(wire, bytes),
                    Role::Peer => words::of_peer(wire, what, bytes),
                };
                self.write(conn, &frame, bytes);
            }
            _ => self.wake(),
        }
    }

    fn write(&mut self, conn: ConnId, frame: &[u8], bytes: &mut Bytes<'_>) {
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        wire.unsent.extend(frame);
        let most = if bytes.u8() & 7 == 7 { usize::from(bytes.u8()) } else { usize::MAX };
        self.deliver(conn, most);
    }

    fn settle_dial(&mut self, bytes: &mut Bytes<'_>) {
        let dials: Vec<ConnId> = self.dialing.keys().copied().collect();
        let Some(conn) = bytes.choose(&dials).copied() else { return };
        let remote = self.dialing.remove(&conn).expect("chosen");
        let errors = [ConnectError::Refused, ConnectError::TimedOut, ConnectError::NoResources];
        if let Some(error) = errors.get(bytes.below(16)) {
            self.event(Event::ConnectFailed { conn, error: *error });
            return;
        }
        let role = if remote.to_string() == TRACKER { Role::Tracker } else { Role::Peer };
        self.wires.insert(conn, Wire::new(role, true));
        self.event(Event::Connected { conn });
    }

    fn flush(&mut self, conn: ConnId, stuck: bool) {
        let Some(wire) = self.wires.get_mut(&conn) else { return };
        wire.stuck = stuck;
        if !stuck && std::mem::take(&mut wire.waiting) {
            self.event(Event::Flushed { conn });
        }
    }

    fn lose(&mut self, conn: ConnId, bytes: &mut Bytes<'_>) {
        match bytes.below(4) {
            0 => {
                self.wires.get_mut(&conn).expect("chosen").spoiled = true;
                self.event(Event::RemoteFinished { conn });
            }
            1 => self.deliver(conn, usize::MAX),
            2 => {
                self.wires.remove(&conn);
                self.event(Event::Closed { conn, cause: CloseCause::SourceFailed });
            }
            _ => {
                self.wires.remove(&conn);
                self.event(Event::Closed { conn, cause: CloseCause::Reset });
            }
        }
    }

    // ---- the end

    /// Everybody reads and every task is done: all that was asked is answered. Then it is told to stop.
    fn end(mut self) {
        let nothing = &mut Bytes::new(&[]);
        self.bad_ranges = 0;
        for _ in 0..3 {
            self.quiesce(nothing);
            self.pass(Duration::from_secs(2));
        }
        self.quiesce(nothing);
        let overdue: usize = self.wires.values().map(Wire::overdue).sum();
        assert!(self.exited || overdue == 0, "[P-27]: {overdue} requests are not answered");
        self.event(Event::ShutdownRequested);
        for _ in 0..20 {
            self.quiesce(nothing);
            self.pass(Duration::from_secs(5));
        }
        assert!(self.exited, "told to stop, it goes on");
        assert_eq!(self.peer.deadline(), None);
    }

    fn quiesce(&mut self, nothing: &mut Bytes<'_>) {
        for _ in 0..2_000 {
            if self.exited {
                return;
            }
            let busy = |wire: &Wire| wire.stuck || (!wire.unsent.is_empty() && !wire.paused);
            let next = self.wires.iter().find(|(_, wire)| busy(wire)).map(|(conn, _)| *conn);
            match next {
                Some(conn) if self.wires[&conn].stuck => self.flush(conn, false),
                Some(conn) => self.deliver(conn, usize::MAX),
                None if !self.tasks.is_empty() => {
                    let task = self.tasks.remove(0);
                    self.done(task, false, nothing);
                }
                None => return,
            }
        }
        assert!(self.tasks.is_empty(), "tasks without end");
    }
}

/// A connection, and what may be said on it.
struct Pair<'a>(&'a Known, &'a mut Wire);

impl Pair<'_> {
    fn hear_all(self, bytes: &[u8]) {
        self.1.hear(self.0, bytes);
    }
}
