//! One simulated computer: a machine of the real code, its worker threads, its clock, its disk.
//!
//! The machine and its task runner are the ones that ship. What they ask for is translated into plain
//! values for the world to carry out: nothing here decides what happens when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use peer::job::{Config, Job};
use peer::notice::{Notice, Status};
use peer::storage::Storage;
use peer::{Load, Peer};
use protocol::{NodeId, PublisherKey};
use reactor::{
    Action, Actions, ConnId, Event, Machine, RangeTag, Rng, Source, TaskId, TaskRunner, Time,
};
use tracker::Tracker;
use tracker::store::{Committer, MemoryStore};

use crate::disk::{Cost, Disk};
use crate::link::Parcel;
use crate::rogue::{Rogue, Script};

/// One task of a machine, numbered by its host.
pub(crate) type JobNumber = u64;

/// Which simulated computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey(pub(crate) usize);

/// How a computer is connected and how fast it is.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Bytes per second out; 0: no limit.
    pub up: u64,
    /// Bytes per second in; 0: no limit.
    pub down: u64,
    /// One way to the middle of the network.
    pub latency: Duration,
    /// Bytes cross the network in segments of at most this; sometimes far smaller if `ragged`.
    pub segment: usize,
    /// Cuts the stream at arbitrary places.
    pub ragged: bool,
    /// Bytes between sender and receiver at most, per connection and direction.
    pub window: usize,
    /// Bytes that the sender's system takes ahead of the network, per connection.
    pub send_buffer: usize,
    /// Bytes per second of the disk.
    pub disk: u64,
    /// How long making something durable takes.
    pub sync: Duration,
    /// Its clock runs so many millionths too fast.
    pub drift_ppm: i64,
    /// Tasks at once.
    pub workers: usize,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            up: 12_500_000,
            down: 12_500_000,
            latency: Duration::from_millis(2),
            segment: 16 * 1024,
            ragged: true,
            window: 256 * 1024,
            send_buffer: 128 * 1024,
            disk: 200_000_000,
            sync: Duration::from_millis(5),
            drift_ppm: 0,
            workers: 2,
        }
    }
}

/// What a node does to others that no honest one does. It runs the real code, and its words are twisted
/// on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// Of a million blocks, so many have a wrong bit.
    Corrupt(u64),
    /// Offers everything, sends nothing.
    Mute,
    /// Of a million small frames, so many have a wrong bit.
    Garble(u64),
    /// Says everything so many times.
    Repeat(u32),
    /// A tracker that names peers which are dead, somebody else's, or nobody's.
    Misname,
}

/// What runs on a node.
#[derive(Clone)]
pub(crate) enum Spec {
    Peer { jobs: Vec<Job>, trackers: Vec<String>, tune: fn(&mut Config) },
    Tracker { config: tracker::Config, store: MemoryStore },
    Rogue(Script),
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Off, or its process is gone.
    Down,
    /// Running.
    Up,
    /// Stopped by a signal; the system goes on without it.
    Paused,
    /// The process ended by itself.
    Exited,
}

/// A running machine, whatever its types.
pub(crate) trait Program {
    fn handle(&mut self, now: Time, event: Event<'_, JobNumber>, out: &mut Vec<Action<JobNumber>>);
    /// As [`Machine::landing`].
    fn landing(&mut self, _conn: ConnId) -> Option<&mut [u8]> {
        None
    }
    fn deadline(&self) -> Option<Time>;
    fn execute(&mut self, job: JobNumber);
    fn new_conn_id(&mut self) -> ConnId;
    fn take_notices(&mut self) -> Vec<Notice>;
    fn status(&self) -> Option<Status>;
    fn load(&self) -> Option<Load>;
    /// Misdeeds so far, of those who do them on purpose.
    fn misdeeds(&self) -> u64 {
        0
    }
    /// What nobody honest may do to it, and on which connection it was done.
    fn complaint(&mut self) -> Option<(ConnId, String)> {
        None
    }
}

enum Slot<M: Machine> {
    Waiting(TaskId, M::Task),
    Done(TaskId, M::TaskResult),
}

/// A machine with its task runner.
pub(crate) struct Host<M: Machine, R> {
    machine: M,
    runner: R,
    actions: Actions<M::Task>,
    tasks: BTreeMap<JobNumber, Slot<M>>,
    next_task: JobNumber,
}

impl<M: Machine + Tells, R: TaskRunner<M>> Host<M, R> {
    pub(crate) fn new(machine: M, runner: R) -> Self {
        let actions = Actions::default();
        Self { machine, runner, actions, tasks: BTreeMap::new(), next_task: 0 }
    }

    fn result(&mut self, job: JobNumber) -> (TaskId, M::TaskResult) {
        match self.tasks.remove(&job).expect("the world ends only tasks that were begun") {
            Slot::Waiting(id, task) => (id, self.runner.run(task)),
            Slot::Done(id, result) => (id, result),
        }
    }
}

/// What a machine tells beside its actions.
pub(crate) trait Tells {
    fn notices(&mut self) -> Vec<Notice>;
    fn figures(&self) -> Option<Status>;
    fn held(&self) -> Option<Load>;
}

impl Tells for Peer {
    fn notices(&mut self) -> Vec<Notice> {
        self.take_notices()
    }

    fn figures(&self) -> Option<Status> {
        Some(self.status())
    }

    fn held(&self) -> Option<Load> {
        Some(self.load())
    }
}

impl Tells for Tracker {
    fn notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }

    fn figures(&self) -> Option<Status> {
        None
    }

    fn held(&self) -> Option<Load> {
        None
    }
}

impl<M: Machine + Tells, R: TaskRunner<M>> Program for Host<M, R> {
    fn handle(&mut self, now: Time, event: Event<'_, JobNumber>, out: &mut Vec<Action<JobNumber>>) {
        let event = match event {
            Event::TaskDone { id: _, result: job } => {
                let (id, result) = self.result(job);
                Event::TaskDone { id, result }
            }
            other => convert_event(other),
        };
        self.machine.handle(now, event, &mut self.actions);
        while let Some(action) = self.actions.pop() {
            out.push(match action {
                Action::Run { id, task } => {
                    let job = self.next_task;
                    self.next_task += 1;
                    self.tasks.insert(job, Slot::Waiting(id, task));
                    Action::Run { id, task: job }
                }
                other => convert_action(other),
            });
        }
    }

    fn landing(&mut self, conn: ConnId) -> Option<&mut [u8]> {
        self.machine.landing(conn)
    }

    fn deadline(&self) -> Option<Time> {
        self.machine.deadline()
    }

    fn execute(&mut self, job: JobNumber) {
        let (id, result) = self.result(job);
        self.tasks.insert(job, Slot::Done(id, result));
    }

    fn new_conn_id(&mut self) -> ConnId {
        self.actions.new_conn_id()
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        self.machine.notices()
    }

    fn status(&self) -> Option<Status> {
        self.machine.figures()
    }

    fn load(&self) -> Option<Load> {
        self.machine.held()
    }
}

fn convert_event<R>(event: Event<'_, JobNumber>) -> Event<'_, R> {
    match event {
        Event::Started => Event::Started,
        Event::Listening { local } => Event::Listening { local },
        Event::Accepted { conn, remote } => Event::Accepted { conn, remote },
        Event::Connected { conn } => Event::Connected { conn },
        Event::ConnectFailed { conn, error } => Event::ConnectFailed { conn, error },
        Event::Received { conn, bytes } => Event::Received { conn, bytes },
        Event::Landed { conn, len } => Event::Landed { conn, len },
        Event::Flushed { conn } => Event::Flushed { conn },
        Event::RangeFailed { conn, tag, error } => Event::RangeFailed { conn, tag, error },
        Event::RemoteFinished { conn } => Event::RemoteFinished { conn },
        Event::Closed { conn, cause } => Event::Closed { conn, cause },
        Event::Deadline => Event::Deadline,
        Event::ShutdownRequested => Event::ShutdownRequested,
        Event::TaskDone { .. } => unreachable!("the caller takes these"),
    }
}

fn convert_action<T>(action: Action<T>) -> Action<JobNumber> {
    match action {
        Action::Connect { conn, remote } => Action::Connect { conn, remote },
        Action::Send { conn, bytes } => Action::Send { conn, bytes },
        Action::SendRange { conn, tag, header, source, range } => {
            Action::SendRange { conn, tag, header, source, range }
        }
        Action::Finish { conn } => Action::Finish { conn },
        Action::Close { conn, reason } => Action::Close { conn, reason },
        Action::PauseReading { conn } => Action::PauseReading { conn },
        Action::ResumeReading { conn } => Action::ResumeReading { conn },
        Action::Exit => Action::Exit,
        Action::Run { .. } => unreachable!("the caller takes these"),
    }
}

/// A piece of a sending queue.
#[derive(Debug)]
pub(crate) enum Queued {
    Bytes(Vec<u8>),
    Range { tag: RangeTag, header: Vec<u8>, source: Source, range: std::ops::Range<u64> },
}

/// One end of one connection.
pub(crate) type EndKey = (usize, usize);

/// The way out of a node: one segment at a time, connections in turns.
#[derive(Debug, Default)]
pub(crate) struct Uplink {
    pub(crate) busy: bool,
    pub(crate) waiting: VecDeque<EndKey>,
}

/// One simulated computer.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) spec: Spec,
    pub(crate) profile: Profile,
    pub(crate) twist: Option<Twist>,
    pub(crate) disk: Disk,
    pub(crate) rng: Rng,
    pub(crate) key: PublisherKey,
    pub(crate) life: Life,
    /// Counts processes; events of earlier ones mean nothing.
    pub(crate) epoch: u64,
    pub(crate) program: Option<Box<dyn Program>>,
    pub(crate) conns: BTreeMap<ConnId, EndKey>,
    pub(crate) connecting: BTreeSet<ConnId>,
    /// Its ends of connections that it lost with its power.
    pub(crate) silenced: Vec<EndKey>,
    pub(crate) uplink: Uplink,
    /// What has come for it, the first on its way through the downlink.
    pub(crate) downlink: VecDeque<(EndKey, Parcel)>,
    /// When its clock began, and what it showed then.
    pub(crate) boot: u64,
    pub(crate) clock_base: u64,
    /// The wake-up that is scheduled.
    pub(crate) wake: Option<u64>,
    pub(crate) jobs: VecDeque<JobNumber>,
    pub(crate) jobs_running: usize,
    pub(crate) held: Vec<crate::world::What>,
    pub(crate) notices: Vec<(Time, Notice)>,
    /// Wake-ups in a row without anything else, to find machines that spin.
    pub(crate) idle_wakes: u32,
    pub(crate) out: Vec<Action<JobNumber>>,
    /// Powered off, rather than its process killed: it answers nothing at all.
    pub(crate) dark: bool,
    /// Payload bytes that left it and came to it.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// What it is called on the wire.
    pub(crate) id: NodeId,
    /// When its process ended.
    pub(crate) ended: u64,
    /// How far its clock on the wall is off.
    pub(crate) wall: u64,
    /// New connections are refused.
    pub(crate) refuses: bool,
    /// It can open nothing more.
    pub(crate) exhausted: bool,
    /// Its ways are so many times slower.
    pub(crate) slowness: u64,
}

impl Node {
    pub(crate) fn new(name: &str, spec: Spec, profile: Profile, mut rng: Rng) -> Self {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&rng.next_u64().to_le_bytes());
        Self {
            name: name.to_owned(),
            spec,
            profile,
            twist: None,
            disk: Disk::watched(),
            rng,
            key: PublisherKey(key),
            life: Life::Down,
            epoch: 0,
            program: None,
            conns: BTreeMap::new(),
            connecting: BTreeSet::new(),
            silenced: Vec::new(),
            uplink: Uplink::default(),
            downlink: VecDeque::new(),
            boot: 0,
            clock_base: 0,
            wake: None,
            jobs: VecDeque::new(),
            jobs_running: 0,
            held: Vec::new(),
            notices: Vec::new(),
            idle_wakes: 0,
            out: Vec::new(),
            dark: false,
            sent: 0,
            received: 0,
            id: NodeId([0; 16]),
            ended: 0,
            wall: 0,
            refuses: false,
            exhausted: false,
            slowness: 1,
        }
    }

    /// A new process of the real code.
    pub(crate) fn boot(&mut self, now: u64) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        id[8..].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        let (node, seed) = (NodeId(id), self.rng.next_u64());
        self.id = node;
        self.program = Some(match &self.spec {
            Spec::Peer { jobs, trackers, tune } => {
                let mut config = Config {
                    node,
                    trackers: trackers.clone(),
                    token: None,
                    publisher: self.key,
                    advertise: None,
                    up_limit: None,
                    down_limit: None,
                    max_peers: 50,
                    piece_log2: None,
                    buffer_bytes: 64 << 20,
                    workers: self.profile.workers,
                    seed,
                };
                tune(&mut config);
                let storage = Storage::new(Arc::new(self.disk.clone()), None);
                Box::new(Host::new(Peer::new(config, jobs.clone()), storage))
            }
            Spec::Tracker { config, store } => {
                let machine = Tracker::new(config.clone(), node, seed, store.snapshot());
                Box::new(Host::new(machine, Committer::new(store.clone())))
            }
            Spec::Rogue(script) => Box::new(Rogue::new(script.clone(), node, Rng::new(seed))),
        });
        self.epoch += 1;
        self.life = Life::Up;
        self.dark = false;
        self.boot = now;
        self.clock_base = self.rng.below(1 << 40);
        self.wake = None;
        self.idle_wakes = 0;
    }

    /// The process is gone, whatever becomes of its connections.
    pub(crate) fn end_process(&mut self, life: Life, now: u64) {
        self.program = None;
        self.ended = now;
        self.life = life;
        self.jobs.clear();
        self.jobs_running = 0;
        self.held.clear();
        self.connecting.clear();
        self.wake = None;
    }

    /// Whether it does nothing on purpose that nobody should.
    pub(crate) fn is_honest(&self) -> bool {
        self.twist.is_none() && !self.is_rogue()
    }

    /// What its clock on the wall shows.
    pub(crate) fn wall_clock(&self, now: u64) -> u64 {
        now.saturating_add(self.wall)
    }

    pub(crate) fn is_rogue(&self) -> bool {
        matches!(self.spec, Spec::Rogue(_))
    }

    pub(crate) fn is_tracker(&self) -> bool {
        matches!(self.spec, Spec::Tracker { .. })
    }

    /// What its own clock shows.
    pub(crate) fn local(&self, now: u64) -> Time {
        let real = i128::from(now - self.boot);
        let shown = real + real * i128::from(self.profile.drift_ppm) / 1_000_000;
        Time::from_nanos(self.clock_base + u64::try_from(shown).unwrap_or(0))
    }

    /// The world's time at which its clock shows `local`, or a little later.
    pub(crate) fn world_time(&self, local: Time) -> u64 {
        let shown = i128::from(local.as_nanos().saturating_sub(self.clock_base));
        let real = shown * 1_000_000 / (1_000_000 + i128::from(self.profile.drift_ppm));
        let slack = u64::from(self.profile.drift_ppm != 0) * 2;
        self.boot.saturating_add(u64::try_from(real).unwrap_or(u64::MAX)).saturating_add(slack)
    }

    /// How long a task takes that cost so much of the disk.
    pub(crate) fn task_time(&mut self, cost: Cost) -> u64 {
        let transfer = cost.bytes.saturating_mul(1_000_000_000) / self.profile.disk.max(1);
        let sync = u64::try_from(self.profile.sync.as_nanos()).unwrap_or(u64::MAX);
        let base = 20_000 + cost.calls * 2_000 + transfer + cost.syncs.saturating_mul(sync);
        base / 2 + self.rng.below(base)
    }
}

/// Every peer listens at this port of its own address, and so does a tracker.
pub(crate) const PORT: u16 = 9000;

/// The address of the node with this index.
pub(crate) fn address(index: usize) -> SocketAddr {
    let n = u32::try_from(index).expect("fewer nodes than addresses");
    let [_, a, b, c] = (n + 1).to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, a, b, c)), PORT)
}

/// The node that has this address.
pub(crate) fn index_of(ip: IpAddr) -> Option<usize> {
    let IpAddr::V4(ip) = ip else { return None };
    let [ten, a, b, c] = ip.octets();
    let n = u32::from_be_bytes([0, a, b, c]);
    (ten == 10).then(|| usize::try_from(n).ok()?.checked_sub(1)).flatten()
}
