//! The peer's machine: every job, swarm and connection of one process.
//!
//! This file owns the state and routes events to the part that knows them:
//! [`links`] connections and sessions, [`leaving`] how they end, [`downloading`] pieces on their way in,
//! [`serving`] pieces on their way out, [`seeding`] local files, [`making`] objects of them, [`watching`]
//! their changes, [`fetching`] the life of a fetch, [`verifying`] comparisons, [`asking`] single questions
//! to the tracker. No part reads a clock, a socket or a file.

mod asking;
mod downloading;
mod fetching;
mod giving_way;
mod leaving;
mod links;
mod making;
mod requesting;
mod seeding;
mod serving;
mod steering;
mod verifying;
mod watching;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use protocol::message::Request;
use protocol::{NodeId, ObjectId};
use reactor::{Action, Actions, ConnId, Event, Machine, Rng, TaskId, TaskRunner, Time};

use crate::disk::{FetchKey, FileKey, ShareKey, Task, TaskResult};
use crate::hashing::HashQueue;
use crate::job::{Config, Job};
use crate::link_table::LinkTable;
use crate::notice::{Failure, Load, Notice, Phase, Status};
use crate::rates::{Rate, TokenBucket};
use crate::session::Local;
use crate::sources::Sources;
use crate::storage::Storage;
use crate::storing::StoreQueue;
use crate::swarm::{Swarm, SwarmKey};
use crate::tracker_client::{Ask, Settings, TrackerClient};
use crate::uploads::Uploads;

use asking::Question;
use fetching::Fetch;
use seeding::Seeding;

/// How often things are looked after that have no moment of their own: dialing, silence, stalls.
const TICK: Duration = Duration::from_millis(250);
/// HAVEs are gathered for so long; the protocol allows 100 ms.
const HAVE_DELAY: Duration = Duration::from_millis(20);
/// What we call ourselves in a HELLO.
const AGENT: &str = concat!("starling/", env!("CARGO_PKG_VERSION"));

/// One process: all its jobs.
#[derive(Debug)]
pub struct Peer {
    config: Config,
    rng: Rng,
    local: Local,
    tracker: TrackerClient,
    asks: BTreeMap<Ask, usize>,
    jobs: Vec<Running>,
    /// Jobs as they were given, until the machine starts.
    waiting_jobs: Vec<Job>,
    links: LinkTable,
    dialing: BTreeMap<ConnId, (SwarmKey, SocketAddr)>,
    nodes: BTreeMap<NodeId, ConnId>,
    banned: BTreeMap<NodeId, Time>,
    swarms: BTreeMap<SwarmKey, Swarm>,
    by_object: BTreeMap<ObjectId, SwarmKey>,
    uploads: Uploads,
    sources: Sources,
    /// Requests that wait for a file to be opened.
    opening: BTreeMap<FileKey, VecDeque<(ConnId, SwarmKey, Request)>>,
    hashing: HashQueue,
    storing: StoreQueue,
    notices: Vec<Notice>,
    down: Rate,
    up: Rate,
    down_bucket: Option<TokenBucket>,
    next_tick: Time,
    haves_due: Option<Time>,
    /// When the limit on receiving lets the next request through, if it holds one back.
    down_due: Option<Time>,
    next_share: u32,
    next_fetch: u32,
    next_swarm: u32,
    tracker_up: bool,
    /// Which tracker does not answer, why, and since when.
    tracker_down: Option<(String, String, Time)>,
    /// The `now` of the last event.
    now: Time,
    shutting_down: bool,
    exiting: bool,
}

/// A job under way.
#[derive(Debug)]
enum Running {
    Seed(Box<Seeding>),
    Fetch(Box<Fetch>),
    Ask(Question),
    Over,
}

impl Peer {
    /// A peer that will do `jobs`, and push [`Action::Exit`] when all are over.
    pub fn new(config: Config, jobs: Vec<Job>) -> Self {
        let mut rng = Rng::new(config.seed);
        let local = Local {
            node: config.node,
            listen: 0,
            window: protocol::limits::DEFAULT_WINDOW,
            token: config.token.clone(),
            agent: AGENT.into(),
            advertise: None,
        };
        let settings = Settings {
            node: config.node,
            listen: 0,
            token: config.token.clone(),
            advertise: config.advertise,
            agent: AGENT.into(),
            addresses: config.trackers.clone(),
        };
        let tracker = TrackerClient::new(settings, rng.fork());
        Self {
            tracker,
            local,
            asks: BTreeMap::new(),
            jobs: Vec::new(),
            waiting_jobs: jobs,
            links: LinkTable::default(),
            dialing: BTreeMap::new(),
            nodes: BTreeMap::new(),
            banned: BTreeMap::new(),
            swarms: BTreeMap::new(),
            by_object: BTreeMap::new(),
            uploads: Uploads::new(config.up_limit),
            sources: Sources::default(),
            opening: BTreeMap::new(),
            hashing: HashQueue::default(),
            storing: StoreQueue::default(),
            notices: Vec::new(),
            down: Rate::default(),
            up: Rate::default(),
            down_bucket: config.down_limit.map(TokenBucket::new),
            next_tick: Time::ZERO,
            haves_due: None,
            down_due: None,
            next_share: 0,
            next_fetch: 0,
            next_swarm: 0,
            tracker_up: false,
            tracker_down: None,
            now: Time::ZERO,
            shutting_down: false,
            exiting: false,
            rng,
            config,
        }
    }

    /// What happened since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What is held at this moment, for whoever checks that nothing piles up.
    pub fn load(&self) -> Load {
        Load { links: self.links.len(), upload_queues: self.uploads.sessions() }
    }

    /// Figures for a progress display.
    pub fn status(&self) -> Status {
        let now = self.now;
        let mut status = Status {
            down_rate: self.down.per_second(now),
            up_rate: self.up.per_second(now),
            received: self.down.total(),
            sent: self.up.total(),
            peers: self.links.values().filter(|link| link.session.is_ready()).count(),
            seeders: self.swarms.values().map(Swarm::seeders).sum(),
            tracker_up: self.tracker_up,
            serving: self.swarms.values().filter(|swarm| !swarm.have.is_empty()).count(),
            ..Status::default()
        };
        for job in &self.jobs {
            match job {
                Running::Seed(seeding) => self.seed_status(seeding, &mut status),
                Running::Fetch(fetch) => self.fetch_status(fetch, &mut status),
                Running::Ask(_) => status.phase = Phase::Resolve,
                Running::Over => {}
            }
        }
        status
    }

    fn start(&mut self, now: Time, out: &mut Actions<Task>) {
        self.next_tick = now + TICK;
        if !self.config.trackers.is_empty() {
            self.tracker.start(now, out);
        }
        for job in std::mem::take(&mut self.waiting_jobs) {
            let running = self.start_job(now, self.jobs.len(), job, out);
            self.jobs.push(running);
        }
    }

    fn start_job(&mut self, now: Time, at: usize, job: Job, out: &mut Actions<Task>) -> Running {
        match job {
            Job::Seed(seed) => Running::Seed(Box::new(self.start_seeding(now, seed, out))),
            Job::Create(request) => Running::Seed(Box::new(self.start_creating(now, request, out))),
            Job::Fetch(fetch) => {
                let target = fetch.target.clone();
                Running::Fetch(Box::new(self.start_fetch(
                    now,
                    at,
                    target,
                    fetching::Goal::Data(fetch),
                )))
            }
            Job::Manifest(target) => Running::Fetch(Box::new(self.start_fetch(
                now,
                at,
                target,
                fetching::Goal::Manifest,
            ))),
            Job::Verify { target, path } => {
                let goal = fetching::Goal::Verify(path);
                Running::Fetch(Box::new(self.start_fetch(now, at, target, goal)))
            }
            Job::Find { target, want } => Running::Ask(self.start_find(at, &target, want)),
            Job::List { prefix } => Running::Ask(self.start_list(at, prefix)),
            Job::Unpublish { name } => Running::Ask(self.start_unpublish(at, name)),
        }
    }

    /// Runs one job's step with the job taken out, so that it may use everything else.
    fn with_job<T>(
        &mut self,
        at: usize,
        step: impl FnOnce(&mut Self, &mut Running) -> T,
    ) -> Option<T> {
        let slot = self.jobs.get_mut(at)?;
        let mut job = std::mem::replace(slot, Running::Over);
        let result = step(self, &mut job);
        self.jobs[at] = job;
        Some(result)
    }

    fn tell(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn fail(&mut self, failure: Failure) {
        self.tell(Notice::Failed(failure));
    }

    fn new_share(&mut self) -> ShareKey {
        self.next_share += 1;
        ShareKey(self.next_share - 1)
    }

    fn new_fetch(&mut self) -> FetchKey {
        self.next_fetch += 1;
        FetchKey(self.next_fetch - 1)
    }

    fn on_task_done(&mut self, now: Time, result: TaskResult, out: &mut Actions<Task>) {
        match result {
            TaskResult::Resolved { address, outcome } => {
                self.tracker.on_resolved(now, &address, outcome, out);
            }
            TaskResult::Scanned { share, outcome } => self.on_scanned(now, share, outcome, out),
            TaskResult::Hashed { share, object, first, done, unfinished, bytes } => {
                let key = (share, object);
                if let Some(files) = self.hashing.on_hashed(key, first, done, unfinished, bytes) {
                    self.on_files_hashed(now, key, files, out);
                }
            }
            TaskResult::FilesChecked { share, object, changed } => {
                self.on_files_checked(now, share, object, changed, out);
            }
            TaskResult::Opened { key, outcome } => self.on_opened(now, &key, outcome, out),
            TaskResult::Recalled { fetch, manifest } => {
                self.on_recalled(now, fetch, manifest, out);
            }
            TaskResult::Prepared { fetch, outcome } => self.on_prepared(now, fetch, outcome, out),
            TaskResult::Stored { fetch, pieces } => self.on_stored(now, fetch, pieces, out),
            TaskResult::Rechecked { fetch, outcome } => {
                self.on_rechecked(now, fetch, outcome, out);
            }
            TaskResult::Checkpointed { fetch, outcome } => {
                self.on_checkpointed(fetch, outcome, out)
            }
            TaskResult::Finished { fetch, outcome } => self.on_finished(now, fetch, outcome, out),
            TaskResult::Released { fetch } => self.on_released(fetch),
        }
    }

    fn on_deadline(&mut self, now: Time, out: &mut Actions<Task>) {
        if self.tracker.deadline().is_some_and(|at| at <= now) {
            self.tracker.on_deadline(now, out);
        }
        self.check_links(now, out);
        if self.haves_due.is_some_and(|at| at <= now) {
            self.flush_haves(now, out);
        }
        if self.down_due.take_if(|at| *at <= now).is_some() {
            self.fill_all(now, out);
        }
        if self.next_tick <= now {
            let idle = canary!("lost-wakeup") && self.links.is_empty() && now > self.next_tick;
            self.next_tick = if idle { Time::MAX } else { now + TICK };
            self.tick(now, out);
        }
    }

    fn tick(&mut self, now: Time, out: &mut Actions<Task>) {
        self.banned.retain(|_, until| *until > now);
        self.tracker.set_totals(0, self.up.total(), self.down.total());
        self.tick_swarms(now, out);
        for at in 0..self.jobs.len() {
            self.with_job(at, |peer, job| match job {
                Running::Seed(seeding) => {
                    Self::publish_postponed(now, seeding);
                    peer.pump_asks(at, seeding);
                    peer.tick_seeding(now, seeding, out);
                }
                Running::Fetch(fetch) => peer.tick_fetch(now, fetch, out),
                Running::Ask(question) => peer.tick_question(now, question),
                Running::Over => {}
            });
        }
    }

    /// What every event may have made possible: hashing, storing, asking the tracker, serving, ending.
    fn pump(&mut self, now: Time, out: &mut Actions<Task>) {
        self.hashing.pump(self.config.workers, out);
        self.storing.pump(self.config.workers, out);
        self.on_tracker_events(now, out);
        self.tracker.pump(now, out);
        self.pump_uploads(now, out);
        self.end_jobs(now, out);
    }

    /// Ends the process when every job is over and nothing is left to be made durable.
    fn end_jobs(&mut self, now: Time, out: &mut Actions<Task>) {
        for at in 0..self.jobs.len() {
            let over = self.with_job(at, |_, job| match job {
                Running::Seed(seeding) => seeding.is_over(),
                Running::Fetch(fetch) => fetch.is_over(),
                Running::Ask(question) => question.is_over(),
                Running::Over => true,
            });
            if over == Some(true) {
                self.jobs[at] = Running::Over;
            }
        }
        let all_over = self.jobs.iter().all(|job| matches!(job, Running::Over));
        if all_over && self.waiting_jobs.is_empty() && !self.exiting {
            self.exiting = true;
            self.say_bye(now, out);
            self.tracker.leave(now, out);
            out.push(Action::Exit);
        }
    }

    fn on_shutdown(&mut self, now: Time, out: &mut Actions<Task>) {
        mark!("shutdown");
        self.shutting_down = true;
        for at in 0..self.jobs.len() {
            self.with_job(at, |_, job| match job {
                Running::Fetch(fetch) => fetch.stop(out),
                Running::Seed(seeding) => seeding.stop(),
                Running::Ask(_) | Running::Over => *job = Running::Over,
            });
        }
        log::debug!("shutdown requested now={now:?}");
    }
}

impl Machine for Peer {
    type Task = Task;
    type TaskResult = TaskResult;

    fn handle(&mut self, now: Time, event: Event<'_, TaskResult>, out: &mut Actions<Task>) {
        if self.exiting {
            return;
        }
        self.now = now;
        match event {
            Event::Started => self.start(now, out),
            Event::Listening { local } => self.on_listening(local),
            Event::Accepted { conn, remote } => self.on_accepted(now, conn, remote, out),
            Event::Connected { conn } => self.on_connected(now, conn, out),
            Event::ConnectFailed { conn, error } => self.on_connect_failed(now, conn, error, out),
            Event::Received { conn, bytes } => self.on_received(now, conn, bytes, out),
            Event::Landed { conn, len } => self.on_landed(now, conn, len, out),
            Event::Flushed { conn } => self.on_flushed(now, conn, out),
            Event::RangeFailed { conn, tag, error } => {
                self.on_range_failed(now, conn, tag, error, out);
            }
            Event::RemoteFinished { conn } => self.on_remote_finished(now, conn, out),
            Event::Closed { conn, cause } => self.on_closed(now, conn, cause, out),
            Event::Deadline => self.on_deadline(now, out),
            Event::TaskDone { id: _, result } => self.on_task_done(now, result, out),
            Event::ShutdownRequested => self.on_shutdown(now, out),
        }
        self.pump(now, out);
        self.links.settle();
    }

    fn landing(&mut self, conn: ConnId) -> Option<&mut [u8]> {
        self.place_of_next(conn)
    }

    fn deadline(&self) -> Option<Time> {
        if self.exiting {
            return None;
        }
        [
            Some(self.next_tick),
            self.tracker.deadline(),
            self.haves_due,
            self.down_due,
            self.links.deadline(),
            self.uploads_due(self.now),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Asks for a blocking task. Results carry the keys of their tasks, so ids are not needed.
fn run(out: &mut Actions<Task>, task: Task) {
    out.run(TaskId(0), task);
}

impl TaskRunner<Peer> for Storage {
    fn run(&self, task: Task) -> TaskResult {
        Self::run(self, task)
    }
}
