//! The loop that runs a machine on real sockets.
//!
//! One turn: wait; note what is ready; finish connects; accept; read; write; deliver task results; at
//! most one deadline; free the slots of what ended. Each step has a budget per connection or turn, and
//! what is left over keeps the next wait from waiting. The steps themselves are in `steps.rs`.
//!
//! Invariant L1: one `now` per turn. Invariant L2: the actions of an event are carried out, in order,
//! before the next event is delivered. Invariant L3: after [`Action::Exit`] the machine hears nothing.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::clock::Clock;
use crate::connect::Connects;
use crate::conns::Conns;
use crate::descriptors::connections_max;
use crate::listener::{Backoff, Listener};
use crate::options::{EVENTS_PER_POLL, WAIT_MAX};
use crate::send_queue::FailedRange;
use crate::signals::Signals;
use crate::tasks::{Job, TaskPool};
use crate::token::Target;
use crate::{
    Action, Actions, ConnId, ConnectError, Event, Machine, Options, Stats, TaskRunner, Time,
};

/// Runs one machine on real sockets, on the calling thread; only its tasks run on others.
///
/// Whoever makes one calls [`Reactor::listen`] and [`Reactor::handle_signals`] as needed and then
/// [`Reactor::run`], or [`Reactor::turn`] step by step. Dropping it closes everything at once.
#[derive(Debug)]
pub struct Reactor<M: Machine, R> {
    pub(crate) machine: M,
    pub(crate) actions: Actions<M::Task>,
    pub(crate) tasks: TaskPool<M, R>,
    pub(crate) poll: Poll,
    pub(crate) events: Events,
    pub(crate) conns: Conns,
    pub(crate) connects: Connects,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) backoff: Backoff,
    pub(crate) connections_max: usize,
    pub(crate) signals: Option<Signals>,
    /// Events that no readiness will announce.
    pub(crate) pending: VecDeque<Pending>,
    /// Results may be left over from the last turn.
    pub(crate) more_results: bool,
    /// Reused for every read.
    pub(crate) read_buffer: Vec<u8>,
    /// Reused for every write; empty in between.
    pub(crate) failed_ranges: Vec<FailedRange>,
    pub(crate) clock: Clock,
    pub(crate) now: Time,
    pub(crate) life: Life,
    pub(crate) failure: Option<io::Error>,
    pub(crate) options: Options,
    pub(crate) stats: Stats,
}

/// An event that waits for its step.
#[derive(Debug)]
pub(crate) enum Pending {
    Listening(SocketAddr),
    ConnectFailed(ConnId, ConnectError),
    ShutdownRequested,
}

/// Where the machine is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It has heard nothing yet.
    New,
    Running,
    /// It asked to end; what is queued may leave until then.
    Leaving(Time),
    /// All is over.
    Ended,
}

impl<M: Machine + 'static, R: TaskRunner<M>> Reactor<M, R> {
    /// A reactor for `machine`, whose tasks are done by `runner`. The machine hears nothing before the
    /// first turn.
    ///
    /// # Errors
    /// When the system gives no descriptors for the loop itself.
    pub fn new(machine: M, runner: R, options: Options) -> io::Result<Self> {
        let options = options.usable();
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token::from(Target::Waker))?;
        let conns = Conns::new(poll.registry().try_clone()?);
        let clock = Clock::start();
        Ok(Self {
            machine,
            actions: Actions::default(),
            tasks: TaskPool::new(runner, waker, options.workers),
            poll,
            events: Events::with_capacity(EVENTS_PER_POLL),
            conns,
            connects: Connects::default(),
            listeners: Vec::new(),
            backoff: Backoff::default(),
            connections_max: connections_max(&options),
            signals: None,
            pending: VecDeque::new(),
            more_results: false,
            read_buffer: vec![0; options.read_budget],
            failed_ranges: Vec::new(),
            clock,
            now: clock.now(),
            life: Life::New,
            failure: None,
            options,
            stats: Stats::default(),
        })
    }

    /// Listens on `addr`; port 0 takes a free one. Returns the address with the real port, of which the
    /// machine is told by [`Event::Listening`]. An IPv6 address takes IPv6 connections only.
    ///
    /// # Errors
    /// When the address is taken, not ours, or not allowed.
    pub fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let mut listener = Listener::bind(addr, self.options.backlog)?;
        let local = listener.socket.local_addr()?;
        let index = u32::try_from(self.listeners.len()).map_err(io::Error::other)?;
        let token = Token::from(Target::Listener(index));
        self.poll.registry().register(&mut listener.socket, token, Interest::READABLE)?;
        self.listeners.push(listener);
        self.pending.push_back(Pending::Listening(local));
        log::debug!("listening local={local}");
        Ok(local)
    }

    /// Turns the first SIGINT or SIGTERM into [`Event::ShutdownRequested`]; a second one ends the
    /// process at once with status 128 plus its number.
    ///
    /// # Errors
    /// When the system refuses the handlers or has no descriptors for them.
    pub fn handle_signals(&mut self) -> io::Result<()> {
        if self.signals.is_none() {
            self.signals = Some(Signals::install(self.poll.registry())?);
        }
        Ok(())
    }

    /// The number of the signal that became [`Event::ShutdownRequested`], if one came: whoever ends the
    /// process reports 128 plus it.
    pub fn signal(&self) -> Option<i32> {
        self.signals.as_ref().and_then(Signals::number)
    }

    /// Runs until the machine exits.
    ///
    /// # Errors
    /// As [`Reactor::turn`].
    pub fn run(&mut self) -> io::Result<()> {
        while !self.exited() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// One turn, which waits for something to do, but at most `max_wait`. Does nothing once the machine
    /// has exited.
    ///
    /// # Errors
    /// When polling fails, no worker thread can be started, or a task panicked: the machine would wait
    /// for ever for what can't come.
    pub fn turn(&mut self, max_wait: Option<Duration>) -> io::Result<()> {
        if self.exited() {
            return Ok(());
        }
        if self.life == Life::New {
            self.life = Life::Running;
            self.now = self.clock.now();
            self.deliver(Event::Started);
            // Before anything else: the machine tells others its port as soon as it speaks to them.
            self.deliver_pending();
        }
        self.wait(max_wait)?;
        self.finish_connects();
        self.deliver_pending();
        self.accept_ready();
        self.read_ready();
        self.write_ready();
        self.deliver_results();
        self.deliver_deadline();
        self.conns.reap();
        self.conns.check();
        self.leave_if_done();
        self.stats.turns += 1;
        self.stats.lag.add(self.clock.now().since(self.now));
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Whether the machine has asked to end and what it had queued is out, or was given up.
    pub fn exited(&self) -> bool {
        self.life == Life::Ended
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, to be asked things between turns.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// What was done so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The time at this moment on the clock of the machine's events.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Waits for readiness and notes it.
    fn wait(&mut self, max_wait: Option<Duration>) -> io::Result<()> {
        let timeout = self.timeout(self.clock.now(), max_wait);
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            // The rest of the turn finds nothing to do, and the next one computes the timeout anew.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(error) => return Err(error),
        }
        self.now = self.clock.now();
        let mut count = 0;
        for event in &self.events {
            count += 1;
            match Target::from(event.token()) {
                // Results are looked for in every turn.
                Target::Waker => {}
                Target::Signals => {
                    if self.signals.as_mut().is_some_and(Signals::take) {
                        self.pending.push_back(Pending::ShutdownRequested);
                    }
                }
                Target::Listener(index) => {
                    if let Some(listener) = self.listeners.get_mut(index as usize) {
                        listener.acceptable = true;
                    }
                }
                Target::Conn(token) => match self.conns.note(token, event) {
                    Ok(true) => self.connects.touched.push(token),
                    Ok(false) => {}
                    Err(_) => self.stats.stale_events += 1,
                },
            }
        }
        self.stats.events += count;
        self.stats.full_polls += u64::from(count >= EVENTS_PER_POLL as u64);
        Ok(())
    }

    /// How long the next poll may wait.
    fn timeout(&self, now: Time, max_wait: Option<Duration>) -> Duration {
        let limit = max_wait.unwrap_or(WAIT_MAX).min(WAIT_MAX);
        if let Life::Leaving(until) = self.life {
            let busy = !self.conns.writers.is_empty();
            return if busy { Duration::ZERO } else { limit.min(until.since(now)) };
        }
        let acceptable = self.listeners.iter().any(|listener| listener.acceptable);
        let accept_waits = self.backoff.waits(now);
        let may_accept = acceptable && self.conns.len() < self.connections_max;
        let busy = !self.conns.readers.is_empty()
            || !self.conns.writers.is_empty()
            || !self.pending.is_empty()
            || !self.connects.touched.is_empty()
            || self.more_results
            || may_accept && !accept_waits;
        if busy {
            return Duration::ZERO;
        }
        let retry = self.backoff.deadline().filter(|_| may_accept);
        [self.machine.deadline(), self.connects.deadline(), retry]
            .into_iter()
            .flatten()
            .map(|deadline| deadline.since(now))
            .fold(limit, Duration::min)
    }

    /// Tells the machine what happened and does what it wants done.
    pub(crate) fn deliver(&mut self, event: Event<'_, M::TaskResult>) {
        if self.life != Life::Running {
            return;
        }
        self.machine.handle(self.now, event, &mut self.actions);
        while let Some(action) = self.actions.pop() {
            if self.life == Life::Running {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action<M::Task>) {
        match action {
            Action::Connect { conn, remote } => self.connect(conn, remote),
            Action::Send { conn, bytes } => {
                self.on_conn(conn, |conn| {
                    conn.send_allowed().then(|| conn.queue.push_bytes(bytes))
                });
            }
            Action::SendRange { conn, tag, header, source, range } => {
                self.on_conn(conn, |conn| {
                    conn.send_allowed().then(|| conn.queue.push_range(tag, header, source, &range))
                });
            }
            Action::Finish { conn } => self.on_conn(conn, |conn| {
                conn.finishing = true;
                Some(())
            }),
            Action::PauseReading { conn } => self.on_conn(conn, |conn| {
                conn.paused = true;
                Some(())
            }),
            Action::ResumeReading { conn } => self.on_conn(conn, |conn| {
                conn.paused = false;
                Some(())
            }),
            Action::Close { conn, reason } => {
                // An attempt that failed at once is not in the table, but its event may be waiting.
                self.pending
                    .retain(|event| !matches!(event, Pending::ConnectFailed(id, _) if *id == conn));
                if let Some(token) = self.conns.find(conn) {
                    self.remove(token, reason);
                }
            }
            Action::Run { id, task } => self.submit(Job::Task(id, task)),
            Action::Exit => self.life = Life::Leaving(self.now + self.options.exit_flush),
        }
    }
}
