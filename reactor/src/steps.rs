//! The steps of a turn: each takes what is ready, does it within its budget, and delivers the events.
//!
//! No step waits, and none loops for longer than its budget says.

use std::fmt::Debug;
use std::io;
use std::mem;
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::SockRef;

use crate::conn::{Conn, Reading, Writing};
use crate::connect::{self, Progress};
use crate::event_loop::{Life, Pending};
use crate::listener::Accepted;
use crate::options::{BETWEEN_LANDINGS, LANDING_MIN};
use crate::tasks::{Job, Outcome};
use crate::token::ConnToken;
use crate::{CloseCause, ConnId, ConnectError, Event, Machine, Reactor, TaskRunner};

impl<M: Machine + 'static, R: TaskRunner<M>> Reactor<M, R> {
    /// Begins an attempt to connect.
    pub(crate) fn connect(&mut self, id: ConnId, remote: SocketAddr) {
        let begun = if self.conns.len() < self.connections_max {
            TcpStream::connect(remote)
                .and_then(|stream| self.conns.insert(id, remote, stream))
                .map_err(|error| connect::connect_error(&error))
        } else {
            Err(ConnectError::NoResources)
        };
        match begun {
            Ok(_) => self.connects.add(id, self.now + self.options.connect_timeout),
            // Told in the next turn, so that a machine that tries again at once can't keep the loop.
            Err(error) => self.pending.push_back(Pending::ConnectFailed(id, error)),
        }
    }

    /// Hands blocking work to the workers.
    pub(crate) fn submit(&mut self, job: Job<M::Task>) {
        if let Err(error) = self.tasks.submit(job) {
            self.failure = Some(error);
        }
    }

    /// Does something to a living connection, which answers `None` if it does not apply, and queues it
    /// for what it can do then.
    pub(crate) fn on_conn(&mut self, id: ConnId, act: impl FnOnce(&mut Conn) -> Option<()>) {
        let done = self.conns.by_id_mut(id).and_then(|(token, conn)| act(conn).map(|()| token));
        match done {
            Some(token) => self.conns.schedule(token),
            None => self.stats.stale_actions += 1,
        }
    }

    /// Ends a connection without telling the machine.
    pub(crate) fn remove(&mut self, token: ConnToken, why: impl Debug) {
        if let Some(conn) = self.conns.remove(token) {
            log::debug!("closed conn={} remote={} why={why:?}", conn.id.0, conn.remote);
            self.stats.closed += 1;
            self.backoff.end();
        }
    }

    /// Ends a connection and tells the machine.
    fn fail(&mut self, token: ConnToken, id: ConnId, cause: CloseCause) {
        self.stats.failed_sources += u64::from(cause == CloseCause::SourceFailed);
        self.remove(token, cause);
        self.deliver(Event::Closed { conn: id, cause });
    }

    /// Looks into the attempts for which events came, and gives up those whose time is up.
    pub(crate) fn finish_connects(&mut self) {
        let mut touched = mem::take(&mut self.connects.touched);
        for token in touched.drain(..) {
            let Some(conn) = self.conns.get_mut(token).filter(|conn| !conn.open) else { continue };
            let id = conn.id;
            match connect::progress(&conn.stream) {
                Progress::Waiting => {}
                Progress::Up => {
                    self.open(token);
                    self.stats.connected += 1;
                    self.deliver(Event::Connected { conn: id });
                }
                Progress::Failed(error) => self.fail_connect(token, id, error),
            }
        }
        self.connects.touched = touched;
        while let Some(id) = self.connects.pop_due(self.now) {
            if let Some((token, conn)) = self.conns.by_id_mut(id)
                && !conn.open
            {
                self.fail_connect(token, id, ConnectError::TimedOut);
            }
        }
    }

    fn fail_connect(&mut self, token: ConnToken, id: ConnId, error: ConnectError) {
        self.remove(token, error);
        self.stats.connect_failures += 1;
        self.deliver(Event::ConnectFailed { conn: id, error });
    }

    /// Makes a connection ready for use. Both directions are tried before the first event says so.
    fn open(&mut self, token: ConnToken) {
        let unsent_limit = self.options.unsent_limit;
        let Some(conn) = self.conns.get_mut(token) else { return };
        let socket = SockRef::from(&conn.stream);
        // Small frames must not wait for acknowledgements. An option that the system refuses costs
        // speed, not correctness.
        let nodelay = socket.set_tcp_nodelay(true);
        let unsent = unsent_limit.map_or(Ok(()), |limit| socket.set_tcp_notsent_lowat(limit));
        for error in nodelay.err().into_iter().chain(unsent.err()) {
            log::debug!("socket option refused conn={} error={error}", conn.id.0);
        }
        conn.open = true;
        conn.readable = true;
        conn.writable = true;
        self.conns.schedule(token);
    }

    /// Delivers the events that were waiting when the step began.
    pub(crate) fn deliver_pending(&mut self) {
        for _ in 0..self.pending.len() {
            match self.pending.pop_front() {
                None => return,
                Some(Pending::Listening(local)) => self.deliver(Event::Listening { local }),
                Some(Pending::ShutdownRequested) => self.deliver(Event::ShutdownRequested),
                Some(Pending::ConnectFailed(conn, error)) => {
                    self.stats.connect_failures += 1;
                    self.deliver(Event::ConnectFailed { conn, error });
                }
            }
        }
    }

    /// Accepts from each listener that may have something.
    pub(crate) fn accept_ready(&mut self) {
        for index in 0..self.listeners.len() {
            for _ in 0..self.options.accept_budget {
                if self.life != Life::Running || self.backoff.waits(self.now) {
                    return;
                }
                let listener = &mut self.listeners[index];
                if !listener.acceptable {
                    break;
                }
                if self.conns.len() >= self.connections_max {
                    if self.backoff.warn(self.now) {
                        let max = self.connections_max;
                        log::warn!("at the limit of {max} connections, new ones wait");
                    }
                    return;
                }
                match listener.accept() {
                    Accepted::Conn(stream, remote) => self.accept(stream, remote),
                    Accepted::Skipped => {}
                    Accepted::WouldBlock => break,
                    Accepted::NoResources(error) => self.put_off_accepting(&error),
                }
            }
        }
    }

    fn accept(&mut self, stream: TcpStream, remote: SocketAddr) {
        let id = self.actions.new_conn_id();
        match self.conns.insert(id, remote, stream) {
            Ok(token) => {
                self.open(token);
                self.stats.accepted += 1;
                self.deliver(Event::Accepted { conn: id, remote });
            }
            Err(error) => self.put_off_accepting(&error),
        }
    }

    fn put_off_accepting(&mut self, error: &io::Error) {
        self.stats.accept_failures += 1;
        if self.backoff.start(self.now, self.now + self.options.accept_retry) {
            log::warn!("cannot accept connections, they wait error={error}");
        }
    }

    /// Reads from each connection that was queued when the step began.
    pub(crate) fn read_ready(&mut self) {
        let mut buffer = mem::take(&mut self.read_buffer);
        for _ in 0..self.conns.readers.len() {
            if self.life != Life::Running {
                break;
            }
            if let Some(token) = self.conns.next_reader() {
                self.read_conn(token, &mut buffer);
                self.conns.schedule(token);
            }
        }
        self.read_buffer = buffer;
    }

    /// Reads one connection until it is empty, out of budget, paused or gone. What belongs to a large place
    /// that the machine knows of is read straight into it.
    fn read_conn(&mut self, token: ConnToken, buffer: &mut [u8]) {
        let mut left = self.options.read_budget;
        while left > 0 {
            let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.wants_read()) else {
                return;
            };
            let id = conn.id;
            let place = self.machine.landing(id).filter(|place| place.len() >= LANDING_MIN);
            let lands = place.is_some();
            let few = if conn.lands && !lands { BETWEEN_LANDINGS } else { usize::MAX };
            let into = place.unwrap_or(&mut buffer[..]);
            let room = into.len().min(left).min(few);
            match conn.read(&mut into[..room]) {
                Reading::Bytes(count) => {
                    conn.lands = lands || count < few && conn.lands;
                    left -= count;
                    self.stats.bytes_in += count as u64;
                    if lands {
                        self.stats.bytes_landed += count as u64;
                        self.deliver(Event::Landed { conn: id, len: count });
                    } else {
                        self.deliver(Event::Received { conn: id, bytes: &buffer[..count] });
                    }
                }
                Reading::WouldBlock => return,
                Reading::Finished => {
                    conn.remote_finished = true;
                    self.deliver(Event::RemoteFinished { conn: id });
                    self.finish_if_due(token);
                    return;
                }
                Reading::Failed(cause) => return self.fail(token, id, cause),
            }
        }
    }

    /// Sends our FIN if its time has come, and ends the connection after both.
    fn finish_if_due(&mut self, token: ConnToken) {
        if let Some(conn) = self.conns.get_mut(token)
            && conn.finish_if_due()
        {
            let id = conn.id;
            self.fail(token, id, CloseCause::Finished);
        }
    }

    /// Writes to each connection that was queued when the step began.
    pub(crate) fn write_ready(&mut self) {
        for _ in 0..self.conns.writers.len() {
            if let Some(token) = self.conns.next_writer() {
                self.write_conn(token);
                self.conns.schedule(token);
            }
        }
    }

    /// Writes one connection until its queue is empty, its budget spent or the system's buffer full.
    fn write_conn(&mut self, token: ConnToken) {
        let mut failed = mem::take(&mut self.failed_ranges);
        let Some(conn) = self.conns.get_mut(token).filter(|conn| conn.wants_write()) else {
            return;
        };
        let id = conn.id;
        let outcome = if conn.queue.is_empty() {
            None
        } else {
            let mut written = 0;
            let mut cold = None;
            let budget = self.options.write_budget;
            let outcome = conn.write(budget, &mut written, &mut failed, &mut cold);
            self.stats.bytes_out += written as u64;
            if let Some(cold) = cold {
                self.stats.loads += 1;
                self.submit(Job::Load(id, cold));
            }
            Some(outcome)
        };
        for (tag, error) in failed.drain(..) {
            self.stats.failed_ranges += 1;
            // The machine may close the connection on the first of several.
            if self.conns.get_mut(token).is_some() {
                self.deliver(Event::RangeFailed { conn: id, tag, error });
            }
        }
        self.failed_ranges = failed;
        if self.conns.get_mut(token).is_none() {
            return;
        }
        match outcome {
            Some(Writing::More) => {}
            // Our FIN, if it is due, follows in the next turn.
            Some(Writing::Emptied) => self.deliver(Event::Flushed { conn: id }),
            None => self.finish_if_due(token),
            Some(Writing::Failed(cause)) => self.break_off(token, id, cause),
        }
    }

    /// After a failed write: what the remote sent before it went away may still say why, so a reset is
    /// told after the last bytes, unless nobody reads them.
    fn break_off(&mut self, token: ConnToken, id: ConnId, cause: CloseCause) {
        match self.conns.get_mut(token) {
            Some(conn)
                if cause != CloseCause::SourceFailed && !conn.remote_finished && !conn.paused =>
            {
                conn.break_off(cause);
            }
            _ => self.fail(token, id, cause),
        }
    }

    /// Delivers the results that are there.
    pub(crate) fn deliver_results(&mut self) {
        self.more_results = false;
        for _ in 0..self.options.results_budget {
            match self.tasks.try_next() {
                None => return,
                Some(Outcome::Done(id, result)) => {
                    self.stats.tasks_done += 1;
                    self.deliver(Event::TaskDone { id, result });
                }
                // Nobody waits any more if the connection is gone.
                Some(Outcome::Loaded(id)) => {
                    if let Some((token, conn)) = self.conns.by_id_mut(id) {
                        conn.queue.loaded();
                        self.conns.schedule(token);
                    }
                }
                Some(Outcome::Panicked(what)) => {
                    let text = format!("{what} panicked, which is a bug");
                    self.failure = Some(io::Error::other(text));
                }
            }
        }
        self.more_results = true;
    }

    /// Delivers the machine's deadline if it has come; once, however late.
    pub(crate) fn deliver_deadline(&mut self) {
        if self.machine.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.deliver(Event::Deadline);
        }
    }

    /// Ends the loop when the machine wanted that and nothing is left to send, or time is up.
    pub(crate) fn leave_if_done(&mut self) {
        let Life::Leaving(until) = self.life else { return };
        if self.now < until && self.conns.any_unsent() {
            return;
        }
        self.life = Life::Ended;
        let mut buffer = mem::take(&mut self.read_buffer);
        for token in self.conns.tokens() {
            if let Some(mut conn) = self.conns.remove(token) {
                conn.part(&mut buffer);
                self.stats.closed += 1;
            }
        }
        self.conns.reap();
        self.listeners.clear();
        self.tasks.stop(self.options.exit_tasks);
    }
}
