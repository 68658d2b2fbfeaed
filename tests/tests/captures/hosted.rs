//! What runs on a node: a machine of the real code with its task runner, or a script.

use std::collections::VecDeque;
use std::net::SocketAddr;

use reactor::{
    Action, Actions, CloseCause, ConnId, ConnectError, Event, Machine, RangeError, TaskId,
    TaskRunner, Time,
};

/// What happened, without the types of a machine.
#[derive(Debug)]
pub(crate) enum Happens {
    Started,
    Listening(SocketAddr),
    Accepted(ConnId, SocketAddr),
    Connected(ConnId),
    Refused(ConnId),
    Received(ConnId, Vec<u8>),
    Flushed(ConnId),
    RemoteFinished(ConnId),
    Closed(ConnId, CloseCause),
    Deadline,
    TaskDone,
    Shutdown,
}

/// What it wants.
#[derive(Debug)]
pub(crate) enum Wish {
    Connect(ConnId, SocketAddr),
    Send(ConnId, Vec<u8>),
    Finish(ConnId),
    Close(ConnId),
    Pause(ConnId, bool),
    /// A task was done; it waits to hear of it.
    Task,
    Exit,
}

pub(crate) trait Program {
    fn handle(&mut self, now: Time, what: Happens) -> Vec<Wish>;
    fn deadline(&self) -> Option<Time>;
    fn new_conn(&mut self) -> ConnId;
}

/// A machine whose tasks are done at once and reported later.
pub(crate) struct Hosted<M: Machine, R> {
    machine: M,
    runner: R,
    actions: Actions<M::Task>,
    done: VecDeque<(TaskId, M::TaskResult)>,
}

impl<M: Machine, R: TaskRunner<M>> Hosted<M, R> {
    pub(crate) fn new(machine: M, runner: R) -> Self {
        Self { machine, runner, actions: Actions::default(), done: VecDeque::new() }
    }

    fn event(&mut self, now: Time, what: Happens) {
        let result;
        let bytes;
        let event = match what {
            Happens::Started => Event::Started,
            Happens::Listening(local) => Event::Listening { local },
            Happens::Accepted(conn, remote) => Event::Accepted { conn, remote },
            Happens::Connected(conn) => Event::Connected { conn },
            Happens::Refused(conn) => Event::ConnectFailed { conn, error: ConnectError::Refused },
            Happens::Received(conn, received) => {
                bytes = received;
                Event::Received { conn, bytes: &bytes }
            }
            Happens::Flushed(conn) => Event::Flushed { conn },
            Happens::RemoteFinished(conn) => Event::RemoteFinished { conn },
            Happens::Closed(conn, cause) => Event::Closed { conn, cause },
            Happens::Deadline => Event::Deadline,
            Happens::TaskDone => {
                result = self.done.pop_front().expect("one for each task");
                Event::TaskDone { id: result.0, result: result.1 }
            }
            Happens::Shutdown => Event::ShutdownRequested,
        };
        self.machine.handle(now, event, &mut self.actions);
    }
}

impl<M: Machine, R: TaskRunner<M>> Program for Hosted<M, R> {
    fn handle(&mut self, now: Time, what: Happens) -> Vec<Wish> {
        self.event(now, what);
        let mut wishes = Vec::new();
        while let Some(action) = self.actions.pop() {
            wishes.push(match action {
                Action::Connect { conn, remote } => Wish::Connect(conn, remote),
                Action::Send { conn, bytes } => Wish::Send(conn, bytes),
                Action::SendRange { conn, tag, header, source, range } => {
                    let mut bytes = header;
                    if !source.is_unchanged() || source.read_range(range, &mut bytes).is_err() {
                        let error = RangeError::Changed;
                        let failed = Event::RangeFailed { conn, tag, error };
                        self.machine.handle(now, failed, &mut self.actions);
                        continue;
                    }
                    Wish::Send(conn, bytes)
                }
                Action::Finish { conn } => Wish::Finish(conn),
                Action::Close { conn, .. } => Wish::Close(conn),
                Action::PauseReading { conn } => Wish::Pause(conn, true),
                Action::ResumeReading { conn } => Wish::Pause(conn, false),
                Action::Run { id, task } => {
                    self.done.push_back((id, self.runner.run(task)));
                    Wish::Task
                }
                Action::Exit => Wish::Exit,
            });
        }
        wishes
    }

    fn deadline(&self) -> Option<Time> {
        self.machine.deadline()
    }

    fn new_conn(&mut self) -> ConnId {
        self.actions.new_conn_id()
    }
}

/// Dials, and says things when it hears things.
pub(crate) struct Script {
    target: SocketAddr,
    /// Each: the type of frame to wait for, and what to say then.
    lines: VecDeque<(u8, Vec<u8>)>,
    heard: Vec<u8>,
    conn: ConnId,
}

impl Script {
    /// Says `first` when it is connected. It closes when the other side has finished.
    pub(crate) fn new(target: SocketAddr, first: Vec<u8>, then: Vec<(u8, Vec<u8>)>) -> Self {
        let mut lines = VecDeque::from(then);
        lines.push_front((u8::MAX, first));
        Self { target, lines, heard: Vec::new(), conn: ConnId(1) }
    }

    fn hear(&mut self, bytes: &[u8]) -> Vec<Wish> {
        self.heard.extend(bytes);
        let mut wishes = Vec::new();
        while let Some(&[kind, a, b, c]) = self.heard.first_chunk() {
            let len = 4 + u32::from_be_bytes([0, a, b, c]) as usize;
            if self.heard.len() < len {
                break;
            }
            self.heard.drain(..len);
            if self.lines.front().is_some_and(|(wanted, _)| *wanted == kind) {
                wishes.extend(self.say());
            }
        }
        wishes
    }

    fn say(&mut self) -> Option<Wish> {
        self.lines.pop_front().map(|(_, bytes)| Wish::Send(self.conn, bytes))
    }
}

impl Program for Script {
    fn handle(&mut self, _now: Time, what: Happens) -> Vec<Wish> {
        match what {
            Happens::Started => vec![Wish::Connect(self.conn, self.target)],
            Happens::Connected(_) => self.say().into_iter().collect(),
            Happens::Received(_, bytes) => self.hear(&bytes),
            Happens::RemoteFinished(conn) => vec![Wish::Close(conn)],
            _ => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn new_conn(&mut self) -> ConnId {
        self.conn
    }
}
