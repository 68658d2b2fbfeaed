//! The contract between a protocol core and whoever runs it.
//!
//! **A machine has one entry, [`Machine::handle`], and leaves every consequence of one event in the
//! [`Actions`] it was given.** It reads no clock, socket, file or entropy. A driver delivers what
//! happened and carries out what is asked: the mio loop of this crate on real sockets, the simulator
//! in `tests` in virtual time.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use crate::{Source, Time};

/// One connection, for as long as it lives. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Names one blocking task, so that its result can be told from others. Chosen by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// Names one [`Action::SendRange`] towards the machine that asked for it. Chosen by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeTag(pub u64);

/// A protocol core.
///
/// Drivers keep to these rules, and machines may rely on them:
/// 1. `now` never decreases.
/// 2. `Started` is the first event, and comes once. `Listening` for every listener that was there before
///    it follows at once.
/// 3. After `Closed` or `ConnectFailed` no event names that [`ConnId`] again. After the machine's own
///    [`Action::Close`] neither.
/// 4. Each [`Action::Run`] is answered by exactly one `TaskDone`.
/// 5. Actions are carried out in the order in which they were pushed.
pub trait Machine {
    /// Blocking work that this machine asks for.
    type Task: Send + 'static;
    /// What comes of it.
    type TaskResult: Send + 'static;

    /// Takes one event and leaves every consequence in `out`. Never blocks and never fails: a remote
    /// that breaks the rules becomes an [`Action::Close`]; a panic is a bug.
    fn handle(
        &mut self,
        now: Time,
        event: Event<'_, Self::TaskResult>,
        out: &mut Actions<Self::Task>,
    );

    /// Where the next bytes of this connection belong, if the machine knows that and wants them there without
    /// seeing them first. A driver may fill the place, or its beginning, and deliver [`Event::Landed`] as the
    /// very next event, or ignore it and deliver [`Event::Received`]. Changes nothing, and never empty.
    fn landing(&mut self, conn: ConnId) -> Option<&mut [u8]> {
        let _ = conn;
        None
    }

    /// When it wants [`Event::Deadline`] at the latest. Cheap. A wake-up that comes early or twice
    /// changes nothing.
    fn deadline(&self) -> Option<Time>;
}

/// Carries out a machine's blocking tasks, on as many threads at once as the driver has workers.
pub trait TaskRunner<M: Machine>: Send + Sync + 'static {
    /// Does one task; may block.
    fn run(&self, task: M::Task) -> M::TaskResult;
}

/// What happened.
#[derive(Debug)]
pub enum Event<'a, R> {
    /// The driver is about to run this machine.
    Started,
    /// Connections to `local` are accepted from now on.
    Listening {
        /// The bound address, with the real port.
        local: SocketAddr,
    },
    /// A remote connected to us.
    Accepted {
        /// The new connection.
        conn: ConnId,
        /// Where it came from.
        remote: SocketAddr,
    },
    /// A connection that we asked for is up.
    Connected {
        /// As returned by [`Actions::connect`].
        conn: ConnId,
    },
    /// A connection that we asked for did not come about. Its id is dead.
    ConnectFailed {
        /// As returned by [`Actions::connect`].
        conn: ConnId,
        /// Why.
        error: ConnectError,
    },
    /// Bytes arrived; any amount, cut anywhere.
    Received {
        /// On which connection.
        conn: ConnId,
        /// What, never empty.
        bytes: &'a [u8],
    },
    /// Bytes arrived and are where [`Machine::landing`] said, from its beginning on.
    Landed {
        /// On which connection.
        conn: ConnId,
        /// How many, never 0.
        len: usize,
    },
    /// Everything queued on this connection has been handed to the system. Comes once each time that
    /// the queue becomes empty.
    Flushed {
        /// Whose queue.
        conn: ConnId,
    },
    /// A range could not be sent, and not one byte of its header or data was: the stream is intact.
    RangeFailed {
        /// On which connection.
        conn: ConnId,
        /// As given in [`Action::SendRange`].
        tag: RangeTag,
        /// Why.
        error: RangeError,
    },
    /// The remote will send no more. What we have queued is still sent.
    RemoteFinished {
        /// On which connection.
        conn: ConnId,
    },
    /// The connection is gone. Its id is dead.
    Closed {
        /// Which.
        conn: ConnId,
        /// Why.
        cause: CloseCause,
    },
    /// The time that [`Machine::deadline`] named has come.
    Deadline,
    /// A task is finished.
    TaskDone {
        /// As given in [`Action::Run`].
        id: TaskId,
        /// What came of it.
        result: R,
    },
    /// A person or a supervisor wants us to end. The machine winds up and pushes [`Action::Exit`].
    ShutdownRequested,
}

/// Why a connection attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Nobody listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No way there, or forbidden by this host.
    Unreachable,
    /// This process has no descriptors, ports or memory left for it.
    NoResources,
    /// Anything else, as the system calls it.
    Other(io::ErrorKind),
}

/// Why a connection ended without our asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// Both directions finished in order.
    Finished,
    /// The remote reset it.
    Reset,
    /// The network gave it up.
    TimedOut,
    /// The file behind a range that was being sent shrank or failed to read; part of the range was
    /// already out, so the stream could not be saved.
    SourceFailed,
    /// Anything else, as the system calls it.
    Other(io::ErrorKind),
}

/// Why a range could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// The file is no longer the one that was opened.
    Changed,
    /// The range does not lie inside the source.
    OutOfBounds,
}

/// Why the machine closes a connection; for the driver's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The conversation is over.
    Done,
    /// The remote broke the rules.
    Violation,
    /// The remote was silent or slow for too long.
    Timeout,
    /// We have no room for it.
    Overload,
}

/// What to do.
#[derive(Debug)]
pub enum Action<T> {
    /// Connect to `remote`; answered by `Connected` or `ConnectFailed`.
    Connect {
        /// The id of the connection to be.
        conn: ConnId,
        /// Where to.
        remote: SocketAddr,
    },
    /// Append bytes to the connection's queue.
    Send {
        /// On which connection.
        conn: ConnId,
        /// What.
        bytes: Vec<u8>,
    },
    /// Append `header` and then `range` of `source`. The driver checks that the source is unchanged
    /// before the first byte of the header leaves, and answers `RangeFailed` if it is not.
    SendRange {
        /// On which connection.
        conn: ConnId,
        /// Names this range in `RangeFailed`.
        tag: RangeTag,
        /// Sent in front of the data.
        header: Vec<u8>,
        /// Where the data is.
        source: Source,
        /// Which part of it.
        range: Range<u64>,
    },
    /// Send what is queued, then finish our direction. The connection lives on until the remote
    /// finishes too, or the machine closes it.
    Finish {
        /// Which connection.
        conn: ConnId,
    },
    /// Drop the connection and its queue at once. The machine hears no more of it.
    Close {
        /// Which connection.
        conn: ConnId,
        /// For the log.
        reason: CloseReason,
    },
    /// Deliver no more received bytes until `ResumeReading`.
    PauseReading {
        /// Which connection.
        conn: ConnId,
    },
    /// Deliver received bytes again.
    ResumeReading {
        /// Which connection.
        conn: ConnId,
    },
    /// Do a blocking task; answered by `TaskDone`.
    Run {
        /// Comes back with the result.
        id: TaskId,
        /// What to do.
        task: T,
    },
    /// Stop running this machine. Actions pushed before it are carried out, and queued bytes are sent
    /// as far as they go without waiting longer than a moment.
    Exit,
}

/// Where a machine leaves the consequences of an event. The driver drains it after each call and
/// keeps it for the next, so its allocation is made once.
#[derive(Debug)]
pub struct Actions<T> {
    queue: VecDeque<Action<T>>,
    next_conn: u64,
}

impl<T> Default for Actions<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), next_conn: 1 }
    }
}

impl<T> Actions<T> {
    /// Pushes one action.
    pub fn push(&mut self, action: Action<T>) {
        self.queue.push_back(action);
    }

    /// Asks for a connection and returns the id it will have.
    pub fn connect(&mut self, remote: SocketAddr) -> ConnId {
        let conn = self.new_conn_id();
        self.push(Action::Connect { conn, remote });
        conn
    }

    /// Appends bytes to a connection's queue.
    pub fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        self.push(Action::Send { conn, bytes });
    }

    /// Drops a connection.
    pub fn close(&mut self, conn: ConnId, reason: CloseReason) {
        self.push(Action::Close { conn, reason });
    }

    /// Asks for a blocking task.
    pub fn run(&mut self, id: TaskId, task: T) {
        self.push(Action::Run { id, task });
    }

    /// The oldest action that was not taken yet. For drivers.
    pub fn pop(&mut self) -> Option<Action<T>> {
        self.queue.pop_front()
    }

    /// A connection id that was never used before. Drivers number accepted connections with it.
    pub fn new_conn_id(&mut self) -> ConnId {
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        conn
    }
}
