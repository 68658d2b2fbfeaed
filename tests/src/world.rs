//! Virtual time: one ordered queue of everything that will happen, decided by one seed.
//!
//! Invariants: time never goes back; what happens at the same time happens in the order in which it was
//! planned; nothing outside the queue and the seed has any influence, so a seed replays bit for bit.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use reactor::{Action, ConnId, ConnectError, Event, Rng, Time};
use sha2::{Digest as _, Sha256};

use crate::check::Check;
use crate::faults::{Faults, Trouble};
use crate::leases::Leases;
use crate::link::{Link, Parcel};
use crate::node::{EndKey, JobNumber, Life, Node, NodeKey};
use crate::rules::Rules;
use crate::stuck::Stuck;

/// Events at one moment of virtual time that mean that something spins: so many, and some more for each
/// node, because all may begin or end together.
const STUCK_EVENTS: u64 = 200_000;
const STUCK_EVENTS_PER_NODE: u64 = 1_000;
/// Deadlines in a row, each at once after the other, that mean that a machine spins.
const SPINNING_WAKES: u32 = 1_000;
/// Nanoseconds that a loop which wakes up takes at least.
const TURN: u64 = 1_000;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum What {
    /// A machine's deadline.
    Wake { node: usize, epoch: u64 },
    /// A driver moves bytes from a sending queue into the system's buffer.
    Pump(EndKey),
    /// A driver reads what has arrived.
    Read(EndKey),
    /// A segment has left through the uplink of its node.
    Left { end: EndKey, len: usize },
    /// Something arrives at an end.
    Arrive { end: EndKey, parcel: Parcel },
    /// An end's system gives up what nobody acknowledges.
    GiveUp(EndKey),
    /// What was first in a node's downlink is through.
    Through { node: usize },
    /// A connection request arrives.
    Syn { from: usize, epoch: u64, conn: ConnId, remote: SocketAddr },
    /// A process takes a new connection.
    Accepted { end: EndKey, remote: SocketAddr },
    /// A request was answered.
    Connected { end: EndKey, epoch: u64 },
    /// A request failed.
    ConnectFailed { node: usize, epoch: u64, conn: ConnId, error: ConnectError },
    /// A task is done.
    TaskDone { node: usize, epoch: u64, job: JobNumber },
    /// An ended process's sockets are closed for good.
    Reap { node: usize, epoch: u64 },
    /// The test has something to do.
    Script(usize),
}

struct Entry {
    at: u64,
    seq: u64,
    what: What,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

type Script = Box<dyn FnOnce(&mut World)>;

/// A whole swarm, its network and its time.
pub struct World {
    seed: u64,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    next_seq: u64,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Option<Link>>,
    scripts: Vec<Option<Script>>,
    /// Ways, from node to node, on which nothing gets through, and which trouble that is.
    pub(crate) cuts: BTreeMap<(usize, usize), Trouble>,
    pub(crate) check: Check,
    pub(crate) rules: Rules,
    pub(crate) leases: Leases,
    pub(crate) faults: Faults,
    hash: Sha256,
    trace: bool,
    pub(crate) replay: Option<String>,
    pub(crate) about: String,
    same_time: u64,
    steps: u64,
}

impl World {
    /// An empty world in which everything follows from `seed`, or from `SIM_SEED` of the environment.
    pub fn new(seed: u64) -> Self {
        let given = std::env::var("SIM_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or(seed);
        Self {
            seed,
            now: 0,
            queue: BinaryHeap::new(),
            next_seq: 0,
            rng: Rng::new(seed),
            nodes: Vec::new(),
            links: Vec::new(),
            scripts: Vec::new(),
            cuts: BTreeMap::new(),
            check: Check::default(),
            rules: Rules::default(),
            leases: Leases::default(),
            faults: Faults::default(),
            hash: Sha256::new(),
            replay: None,
            about: String::new(),
            trace: std::env::var_os("SIM_TRACE").is_some(),
            same_time: 0,
            steps: 0,
        }
    }

    /// The command that replays this run, and whether to print all that happens.
    pub fn set_replay(&mut self, command: String, trace: bool) {
        self.replay = Some(command);
        self.trace |= trace;
    }

    /// What kind of run it is, for its failure to tell.
    pub fn set_about(&mut self, about: String) {
        self.about = about;
    }

    /// The seed that decides everything.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Random choices of the test itself.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Virtual time since the beginning.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Events so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A hash of everything that happened.
    pub fn trace_hash(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // ---- time

    /// Does something after `delay`.
    pub fn after(&mut self, delay: Duration, script: impl FnOnce(&mut Self) + 'static) {
        self.scripts.push(Some(Box::new(script)));
        self.plan(self.now + nanos(delay), What::Script(self.scripts.len() - 1));
    }

    pub(crate) fn plan(&mut self, at: u64, what: What) {
        debug_assert!(at >= self.now, "nothing is planned for the past");
        self.next_seq += 1;
        self.queue.push(Reverse(Entry { at, seq: self.next_seq, what }));
    }

    /// One event; whether there was one.
    pub fn step(&mut self) -> bool {
        let Some(Reverse(entry)) = self.queue.pop() else { return false };
        self.same_time = if entry.at == self.now { self.same_time + 1 } else { 0 };
        if self.same_time > STUCK_EVENTS + STUCK_EVENTS_PER_NODE * self.nodes.len() as u64 {
            self.check.fail("S14", format!("time stands still at {:?}", self.elapsed()));
        }
        self.now = entry.at;
        self.steps += 1;
        self.happen(entry.what);
        true
    }

    /// Runs until `done`.
    ///
    /// # Errors
    /// When an invariant breaks, nothing more happens, or `limit` of virtual time has passed.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<Duration, Stuck> {
        let end = self.now.saturating_add(nanos(limit));
        loop {
            if let Some(broken) = self.check.broken() {
                return Err(self.stuck(broken));
            }
            if done(self) {
                return Ok(self.elapsed());
            }
            if self.queue.peek().is_some_and(|Reverse(next)| next.at > end) {
                return Err(self.stuck(format!("not done after {limit:?}")));
            }
            if !self.step() {
                return Err(self.stuck("nothing will ever happen again".to_owned()));
            }
        }
    }

    /// Runs for so long.
    ///
    /// # Errors
    /// When an invariant breaks.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Stuck> {
        let end = self.now.saturating_add(nanos(time));
        while self.queue.peek().is_some_and(|Reverse(next)| next.at <= end) {
            self.step();
            if let Some(broken) = self.check.broken() {
                return Err(self.stuck(broken));
            }
        }
        self.now = end;
        Ok(())
    }

    // ---- what happens

    fn happen(&mut self, what: What) {
        if let Some((index, epoch)) = self.process_of(&what) {
            let node = &mut self.nodes[index];
            if epoch.is_some_and(|epoch| epoch != node.epoch) {
                if let What::Connected { end, .. } = what {
                    self.close_end(end, true);
                }
                return;
            }
            if node.life == Life::Paused {
                node.held.push(what);
                return;
            }
        }
        match what {
            What::Wake { node, .. } => self.wake(node),
            What::Pump(end) => self.pump(end),
            What::Read(end) => self.read(end),
            What::Left { end, len } => self.segment_left(end, len),
            What::Arrive { end, parcel } => self.arrive(end, parcel),
            What::GiveUp(end) => self.enter(end, Parcel::GaveUp),
            What::Through { node } => self.through_downlink(node),
            What::Syn { from, epoch, conn, remote } => self.syn(from, epoch, conn, remote),
            What::Accepted { end, remote } => self.accepted(end, remote),
            What::Connected { end, .. } => self.connected(end),
            What::ConnectFailed { node, conn, error, .. } => {
                if self.nodes[node].connecting.remove(&conn) {
                    self.deliver(node, Event::ConnectFailed { conn, error });
                }
            }
            What::TaskDone { node, job, .. } => self.task_done(node, job),
            What::Reap { node, epoch } => self.reap(node, epoch),
            What::Script(index) => {
                if let Some(script) = self.scripts[index].take() {
                    script(self);
                }
            }
        }
    }

    /// Whose process takes part in it, and which of its processes, if it matters.
    fn process_of(&self, what: &What) -> Option<(usize, Option<u64>)> {
        match what {
            What::Wake { node, epoch }
            | What::ConnectFailed { node, epoch, .. }
            | What::TaskDone { node, epoch, .. } => Some((*node, Some(*epoch))),
            What::Connected { end, epoch } => Some((self.end(*end)?.node, Some(*epoch))),
            What::Pump(end) | What::Read(end) | What::Accepted { end, .. } => {
                Some((self.end(*end)?.node, None))
            }
            _ => None,
        }
    }

    fn wake(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.wake.is_none_or(|at| at > self.now) {
            return;
        }
        node.wake = None;
        let local = node.local(self.now);
        let due = node.program.as_ref().and_then(|program| program.deadline());
        if due.is_some_and(|due| due <= local) {
            node.idle_wakes += 1;
            if node.idle_wakes > SPINNING_WAKES {
                self.check.fail("S14", format!("{} spins: its deadline stays past", index));
            }
            self.deliver(index, Event::Deadline);
        } else {
            self.plan_wake(index);
        }
    }

    fn plan_wake(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(due) = node.program.as_ref().and_then(|program| program.deadline()) else {
            return;
        };
        let floor = self.now + TURN;
        let wanted = node.world_time(due);
        if wanted > floor {
            node.idle_wakes = 0;
        }
        let at = wanted.max(floor);
        if node.wake.is_none_or(|planned| at < planned) {
            node.wake = Some(at);
            let epoch = node.epoch;
            self.plan(at, What::Wake { node: index, epoch });
        }
    }

    /// Lets a machine handle one event, and carries out what it asks for.
    pub(crate) fn deliver(&mut self, index: usize, event: Event<'_, JobNumber>) {
        let (what, conn, len) = outline(&event);
        self.note(index, what, conn, len);
        if self.nodes[index].is_tracker() {
            self.leases_on_event(index, &event);
        }
        let now = self.now;
        let node = &mut self.nodes[index];
        let local = node.local(now);
        let mut out = std::mem::take(&mut node.out);
        let Some(program) = &mut node.program else { return };
        program.handle(local, event, &mut out);
        let complaint = program.complaint();
        let mut told = Vec::new();
        for notice in program.take_notices() {
            if self.trace {
                eprintln!("{:>12.6} {} * {notice:?}", now as f64 / 1e9, node.name);
            }
            self.check.notice(index, node, &notice);
            told.push(notice);
        }
        self.rules_on_complaint(index, complaint);
        for notice in told {
            self.rules_on_notice(index, &notice);
            self.nodes[index].notices.push((Time::from_nanos(now), notice));
        }
        for action in out.drain(..) {
            self.act(index, action);
        }
        self.nodes[index].out = out;
        self.rules_on_load(index);
        self.start_tasks(index);
        self.plan_wake(index);
    }

    fn act(&mut self, index: usize, action: Action<JobNumber>) {
        let (what, conn, len) = action_outline(&action);
        self.note(index, what, conn, len);
        match action {
            Action::Connect { conn, remote } => self.connect(index, conn, remote),
            Action::Run { task, .. } => self.nodes[index].jobs.push_back(task),
            Action::Exit => self.exit(index),
            Action::Send { .. }
            | Action::SendRange { .. }
            | Action::Finish { .. }
            | Action::Close { .. }
            | Action::PauseReading { .. }
            | Action::ResumeReading { .. } => self.act_on_conn(index, action),
        }
    }

    /// Begins tasks while there are free workers. Each has its effect at its beginning or at its end,
    /// so that a crash in between finds both.
    fn start_tasks(&mut self, index: usize) {
        loop {
            let node = &mut self.nodes[index];
            if node.life != Life::Up || node.jobs_running >= node.profile.workers {
                return;
            }
            let Some(job) = node.jobs.pop_front() else { return };
            let clock = node.wall_clock(self.now);
            let Some(program) = &mut node.program else { return };
            node.jobs_running += 1;
            let late = node.rng.below(8) == 0;
            if !late {
                node.disk.set_clock(clock);
                program.execute(job);
                self.check.stored(index, &node.disk);
            }
            let cost = node.disk.take_cost();
            let (time, epoch) = (node.task_time(cost), node.epoch);
            if node.disk.is_dark() {
                self.cut_power(NodeKey(index));
                return;
            }
            self.plan(self.now + time, What::TaskDone { node: index, epoch, job });
        }
    }

    fn task_done(&mut self, index: usize, job: JobNumber) {
        let node = &mut self.nodes[index];
        let clock = node.wall_clock(self.now);
        let Some(program) = &mut node.program else { return };
        node.jobs_running -= 1;
        node.disk.set_clock(clock);
        program.execute(job);
        self.check.stored(index, &node.disk);
        if node.disk.is_dark() {
            self.cut_power(NodeKey(index));
            return;
        }
        self.deliver(index, Event::TaskDone { id: reactor::TaskId(0), result: job });
    }

    fn exit(&mut self, index: usize) {
        let ends: Vec<EndKey> = self.nodes[index].conns.values().copied().collect();
        let epoch = self.nodes[index].epoch;
        self.nodes[index].end_process(Life::Exited, self.now);
        self.nodes[index].disk.forget_process();
        // What is queued goes on leaving for a moment.
        for end in ends {
            self.finish_end(end);
        }
        self.plan(self.now + 200_000_000, What::Reap { node: index, epoch });
    }

    /// Adds to the trace.
    pub(crate) fn note(&mut self, index: usize, what: &str, conn: u64, len: usize) {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        let node = u64::try_from(index).unwrap_or(u64::MAX);
        for word in [self.now, node, conn, len] {
            self.hash.update(word.to_le_bytes());
        }
        self.hash.update(what.as_bytes());
        if self.trace {
            let name = &self.nodes[index].name;
            eprintln!("{:>12.6} {name} {what} conn={conn} len={len}", self.now as f64 / 1e9);
        }
    }

    pub(crate) fn tracing(&self) -> bool {
        self.trace
    }
}

fn outline(event: &Event<'_, JobNumber>) -> (&'static str, u64, usize) {
    match event {
        Event::Started => ("started", 0, 0),
        Event::Listening { .. } => ("listening", 0, 0),
        Event::Accepted { conn, .. } => ("accepted", conn.0, 0),
        Event::Connected { conn } => ("connected", conn.0, 0),
        Event::ConnectFailed { conn, .. } => ("connect-failed", conn.0, 0),
        Event::Received { conn, bytes } => ("received", conn.0, bytes.len()),
        Event::Landed { conn, len } => ("landed", conn.0, *len),
        Event::Flushed { conn } => ("flushed", conn.0, 0),
        Event::RangeFailed { conn, .. } => ("range-failed", conn.0, 0),
        Event::RemoteFinished { conn } => ("remote-finished", conn.0, 0),
        Event::Closed { conn, .. } => ("closed", conn.0, 0),
        Event::Deadline => ("deadline", 0, 0),
        Event::TaskDone { result, .. } => ("task-done", *result, 0),
        Event::ShutdownRequested => ("shutdown", 0, 0),
    }
}

fn action_outline(action: &Action<JobNumber>) -> (&'static str, u64, usize) {
    match action {
        Action::Connect { conn, remote } => ("connect", conn.0, usize::from(remote.port())),
        Action::Send { conn, bytes } => ("send", conn.0, bytes.len()),
        Action::SendRange { conn, header, range, .. } => {
            let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
            ("send-range", conn.0, header.len().saturating_add(len))
        }
        Action::Finish { conn } => ("finish", conn.0, 0),
        Action::Close { conn, .. } => ("close", conn.0, 0),
        Action::PauseReading { conn } => ("pause-reading", conn.0, 0),
        Action::ResumeReading { conn } => ("resume-reading", conn.0, 0),
        Action::Run { task, .. } => ("run", *task, 0),
        Action::Exit => ("exit", 0, 0),
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
