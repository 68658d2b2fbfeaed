//! The machine: events to sessions, timers, what one session's request means for others, shutdown.
//!
//! Invariant K1: each session has exactly one entry in `timers`, at its `wake`. Invariant K2: a
//! session's lease names that session, and is taken from it when the lease ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use protocol::message::Summary;
use protocol::{Code, NodeId, RequestId};
use reactor::{Action, Actions, CloseReason, ConnId, Event, Machine, Time};

use crate::catalog::Snapshot;
use crate::config::Config;
use crate::contact::host_key;
use crate::core::{Core, Effect, plain, status};
use crate::ledger::failure_code;
use crate::session::{Phase, Session};
use crate::store::{Batch, Committed, StoreError};

/// Connections beyond the limit that still get HELLO and a reason; more are dropped without a word.
const REFUSALS: usize = 256;

/// The same for connections from one address.
const REFUSALS_PER_IP: u32 = 8;

/// How long lookups are served after the store failed. Then the process ends, because opening the store
/// anew is the only repair.
const FAILED_FOR: Duration = Duration::from_secs(30);

/// How long a clean stop waits for the disk.
const STOP_WITHIN: Duration = Duration::from_millis(1_500);

/// A tracker. Made by whoever starts one, driven by a reactor or a simulator until it asks to exit.
#[derive(Debug)]
pub struct Tracker {
    core: Core,
    sessions: BTreeMap<ConnId, Box<Session>>,
    timers: BTreeSet<(Time, ConnId)>,
    per_ip: BTreeMap<IpAddr, u32>,
    /// Silence before this was ours.
    awake_since: Time,
    stopping: Option<Time>,
    exited: bool,
}

impl Tracker {
    /// A tracker that knows `names`, as its store had them. `node` is its identity for this run, drawn at
    /// random; everything that it draws itself comes from `seed`.
    pub fn new(config: Config, node: NodeId, seed: u64, names: Snapshot) -> Self {
        Self {
            core: Core::new(config, node, seed, names),
            sessions: BTreeMap::new(),
            timers: BTreeSet::new(),
            per_ip: BTreeMap::new(),
            awake_since: Time::ZERO,
            stopping: None,
            exited: false,
        }
    }

    /// Why names can't be written any more, if so. A tracker with a failure exits by itself after a
    /// while.
    pub fn failure(&self) -> Option<&StoreError> {
        self.core.ledger.failure().map(|(error, _)| error)
    }

    /// Its totals, as SUMMARY tells them.
    pub fn summary(&self, now: Time) -> Summary {
        self.core.summary(now, RequestId(0))
    }

    // ---- sessions

    fn accept(&mut self, now: Time, conn: ConnId, remote: SocketAddr, out: &mut Actions<Batch>) {
        let addr = plain(remote);
        let from_there = self.per_ip.get(&host_key(addr.ip())).copied().unwrap_or(0);
        let config = &self.core.config;
        let hopeless = self.sessions.len() >= config.max_conns.saturating_add(REFUSALS)
            || from_there >= config.max_per_ip.saturating_add(REFUSALS_PER_IP);
        if hopeless || self.stopping.is_some() {
            out.close(conn, CloseReason::Overload);
            return;
        }
        let mut session = Session::new(conn, addr, now);
        session.refused = if self.sessions.len() >= config.max_conns {
            Some("this tracker has no room for more connections")
        } else if from_there >= config.max_per_ip {
            Some("too many connections from your address")
        } else {
            None
        };
        *self.per_ip.entry(host_key(addr.ip())).or_insert(0) += 1;
        self.timers.insert((session.wake, conn));
        self.sessions.insert(conn, Box::new(session));
        self.core.connections = self.sessions.len();
    }

    /// Lets `act` work on a session, then sends what that led to and sets its timer.
    fn step(
        &mut self,
        now: Time,
        conn: ConnId,
        out: &mut Actions<Batch>,
        act: impl FnOnce(&mut Core, &mut Session),
    ) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        act(&mut self.core, session);
        session.flush(now, out);
        if matches!(session.phase, Phase::Dead(_)) {
            self.forget(conn);
            return;
        }
        let due = session.due(self.awake_since);
        // Timers that are set too early put themselves right when they fire; see `check_timers`.
        if due < session.wake {
            self.timers.remove(&(session.wake, conn));
            session.wake = due;
            self.timers.insert((due, conn));
        }
    }

    fn forget(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.remove(&conn) else { return };
        self.timers.remove(&(session.wake, conn));
        if let Some(peer) = session.peer {
            self.core.swarms.detach(peer, conn);
        }
        let key = host_key(session.ip());
        let left = self.per_ip.get(&key).map_or(0, |count| count - 1);
        if left == 0 {
            self.per_ip.remove(&key);
        } else {
            self.per_ip.insert(key, left);
        }
        self.core.connections = self.sessions.len();
    }

    /// Carries out what requests meant for other sessions, and hands the next batch to the store.
    fn settle(&mut self, now: Time, out: &mut Actions<Batch>) {
        while !self.core.effects.is_empty() {
            for effect in std::mem::take(&mut self.core.effects) {
                match effect {
                    Effect::Push { conn, frame } => self.step(now, conn, out, |_, session| {
                        // Pushes are hints: nobody gets them who is behind with reading.
                        if !session.full() {
                            mark!("newcomer-pushed");
                            session.send_raw(&frame);
                        }
                    }),
                    Effect::Replace { conn } => self.step(now, conn, out, |_, session| {
                        mark!("session-taken-over");
                        session.peer = None;
                        session.bye(now, Code::DUPLICATE, "this node has a newer session");
                    }),
                }
            }
        }
        self.core.ledger.start(out);
    }

    // ---- time

    fn check_timers(&mut self, now: Time, out: &mut Actions<Batch>) {
        while let Some(&(due, conn)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            let awake_since = self.awake_since;
            let Some(session) = self.sessions.get_mut(&conn) else { continue };
            session.wake = Time::MAX;
            self.timers.insert((Time::MAX, conn));
            self.step(now, conn, out, |_, session| session.check(now, awake_since));
        }
    }

    fn expire(&mut self, now: Time) {
        while let Some(key) = self.core.swarms.expired(now) {
            mark!("lease-expired");
            let conn = self.core.swarms.peer(key).conn;
            if let Some(session) = conn.and_then(|conn| self.sessions.get_mut(&conn)) {
                session.peer = None;
            }
            self.core.swarms.leave(key);
        }
    }

    fn interval(&self) -> Duration {
        self.core.config.interval(self.core.swarms.peer_count())
    }

    // ---- names that became durable, or did not

    fn committed(
        &mut self,
        now: Time,
        id: reactor::TaskId,
        done: Committed,
        out: &mut Actions<Batch>,
    ) {
        let core = &mut self.core;
        let (waiters, failure) = match done.outcome {
            Ok(at) => (core.ledger.committed(&mut core.catalog, id, done.batch, at), None),
            Err(error) => {
                mark!("store-failed");
                log::error!(
                    "{error}; names can't be changed any more, lookups go on for {} s, then this \
                     process ends with an error",
                    FAILED_FOR.as_secs()
                );
                (core.ledger.fail(now, error.clone()), Some(error))
            }
        };
        for group in waiters.chunk_by(|a, b| a.conn == b.conn) {
            self.step(now, group[0].conn, out, |core, session| {
                for waiter in group {
                    let (code, retry_ms, text) = match &failure {
                        None => (Code::OK, 0, waiter.text.clone()),
                        Some(error) => (failure_code(error), core.retry_ms(), error.to_string()),
                    };
                    session.resolve(waiter.ticket, |rid| status(rid, code, retry_ms, text));
                }
                core.resume(session, now);
            });
        }
    }

    // ---- the end

    fn stop(&mut self, now: Time, out: &mut Actions<Batch>) {
        // A second request does not wait.
        let impatient = self.stopping.is_some();
        self.stopping.get_or_insert(now + STOP_WITHIN);
        if impatient {
            self.exit(now, out);
        }
    }

    fn exit(&mut self, now: Time, out: &mut Actions<Batch>) {
        let conns: Vec<_> = self.sessions.keys().copied().collect();
        for conn in conns {
            self.step(now, conn, out, |_, session| match session.phase {
                Phase::Ready => session.bye(now, Code::SHUTDOWN, "this tracker is stopping"),
                _ => session.leave(now),
            });
        }
        out.push(Action::Exit);
        self.exited = true;
    }

    fn exit_if_over(&mut self, now: Time, out: &mut Actions<Batch>) {
        let failed = self.core.ledger.failure().is_some_and(|(_, at)| now >= *at + FAILED_FOR);
        let stopped = self.stopping.is_some_and(|until| now >= until || !self.core.ledger.busy());
        if failed || stopped {
            self.exit(now, out);
        }
    }
}

impl Machine for Tracker {
    type Task = Batch;
    type TaskResult = Committed;

    fn handle(&mut self, now: Time, event: Event<'_, Committed>, out: &mut Actions<Batch>) {
        if self.exited {
            return;
        }
        let interval = self.interval();
        if self.core.swarms.tick(now, interval) {
            mark!("amnesty-after-sleep");
            log::warn!("this process was asleep; all leases are extended by that and one interval");
            self.awake_since = now;
        }
        match event {
            Event::Started => self.core.started = now,
            Event::Listening { local } => {
                if self.core.listen == 0 {
                    self.core.listen = local.port();
                }
            }
            Event::Accepted { conn, remote } => self.accept(now, conn, remote, out),
            Event::Received { conn, bytes } => {
                self.step(now, conn, out, |core, session| core.received(session, now, bytes));
            }
            Event::Flushed { conn } => self.step(now, conn, out, |core, session| {
                session.flushed();
                core.resume(session, now);
            }),
            Event::RemoteFinished { conn } => self.step(now, conn, out, |core, session| {
                session.remote_finished = true;
                core.resume(session, now);
            }),
            Event::Closed { conn, .. } | Event::ConnectFailed { conn, .. } => self.forget(conn),
            Event::Deadline => {
                self.check_timers(now, out);
                self.expire(now);
                self.core.push_due(now);
            }
            Event::TaskDone { id, result } => self.committed(now, id, result, out),
            Event::ShutdownRequested => self.stop(now, out),
            // This machine asks for no connection, sends no range and names no place.
            Event::Connected { .. } | Event::RangeFailed { .. } | Event::Landed { .. } => {}
        }
        if !self.exited {
            self.settle(now, out);
            self.exit_if_over(now, out);
        }
    }

    fn deadline(&self) -> Option<Time> {
        if self.exited {
            return None;
        }
        [
            self.timers.first().map(|(due, _)| *due),
            self.core.swarms.deadline(self.interval()),
            self.core.pushes.deadline(),
            self.core.ledger.failure().map(|(_, at)| *at + FAILED_FOR),
            self.stopping,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
