//! A client for one question: asks a tracker for its totals, over the same protocol as everybody.
//!
//! Tries the addresses it was given one after the other, takes ten seconds at most, and leaves an answer
//! or a reason in [`StatusClient::outcome`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::limits::VERSION;
use protocol::message::{Bye, Hello, Role, Summary, SummaryRequest, Tlv, TlvTag};
use protocol::{Code, FrameReader, Incoming, Message, NodeId, RequestId, negotiate};
use reactor::{
    Action, Actions, CloseReason, ConnId, ConnectError, Event, Machine, TaskRunner, Time,
};
use thiserror::Error;

use crate::config::Secret;

/// From start to answer, over all addresses.
const PATIENCE: Duration = Duration::from_secs(10);

const RID: RequestId = RequestId(1);

/// Why there are no totals.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StatusError {
    /// No connection came about.
    #[error("tracker {addr} {}", connect_text(*cause))]
    Unreachable {
        /// The last address tried.
        addr: SocketAddr,
        /// Why.
        cause: ConnectError,
    },
    /// It did not answer in time, or hung up.
    #[error("{addr} {what}")]
    NoAnswer {
        /// The last address tried.
        addr: SocketAddr,
        /// What happened instead.
        what: &'static str,
    },
    /// It speaks, but not as a tracker should.
    #[error("{addr} is not a tracker that we understand: {what}")]
    Strange {
        /// The last address tried.
        addr: SocketAddr,
        /// What came.
        what: String,
    },
    /// It speaks other versions.
    #[error("no version in common: {text}")]
    Version {
        /// Both ranges.
        text: String,
    },
    /// It refused us.
    #[error("tracker {addr} refused: {code}: {text}")]
    Refused {
        /// The last address tried.
        addr: SocketAddr,
        /// Its code.
        code: Code,
        /// In its words.
        text: String,
    },
}

fn connect_text(cause: ConnectError) -> String {
    match cause {
        ConnectError::Refused => "refused the connection".to_owned(),
        ConnectError::TimedOut => "did not answer in time".to_owned(),
        ConnectError::Unreachable => "is unreachable from here".to_owned(),
        ConnectError::NoResources => "can't be asked: this host is out of resources".to_owned(),
        ConnectError::Other(kind) => format!("can't be reached: {kind}"),
    }
}

/// The machine behind `tracker status`.
#[derive(Debug)]
pub struct StatusClient {
    node: NodeId,
    token: Option<Secret>,
    targets: VecDeque<SocketAddr>,
    addr: SocketAddr,
    conn: Option<ConnId>,
    reader: FrameReader,
    greeted: bool,
    until: Time,
    outcome: Option<Result<Summary, StatusError>>,
}

impl StatusClient {
    /// A client that will ask the first of `targets` that can be reached; `None` if there are none.
    /// `node` is drawn at random.
    pub fn new(targets: Vec<SocketAddr>, node: NodeId, token: Option<Secret>) -> Option<Self> {
        let addr = *targets.first()?;
        Some(Self {
            node,
            token,
            targets: targets.into(),
            addr,
            conn: None,
            reader: FrameReader::new(),
            greeted: false,
            until: Time::MAX,
            outcome: None,
        })
    }

    /// What came of it, once the machine has asked to exit.
    pub fn outcome(&self) -> Option<&Result<Summary, StatusError>> {
        self.outcome.as_ref()
    }

    fn dial(&mut self, out: &mut Actions<NoTask>) -> bool {
        let Some(addr) = self.targets.pop_front() else { return false };
        self.addr = addr;
        self.conn = Some(out.connect(addr));
        true
    }

    fn finish(&mut self, outcome: Result<Summary, StatusError>, out: &mut Actions<NoTask>) {
        if self.outcome.is_some() {
            return;
        }
        if let Some(conn) = self.conn.take() {
            if outcome.is_ok() {
                let bye = Message::Bye(Bye { code: Code::OK, text: String::new() });
                out.send(conn, bye.to_frame());
                out.push(Action::Finish { conn });
            } else {
                out.close(conn, CloseReason::Done);
            }
        }
        self.outcome = Some(outcome);
        out.push(Action::Exit);
    }

    fn hello(&self) -> Message {
        let agent = Tlv { tag: TlvTag::AGENT, value: crate::AGENT.into() };
        let token = self
            .token
            .as_ref()
            .map(|token| Tlv { tag: TlvTag::CLUSTER_TOKEN, value: token.reveal().to_vec() });
        Message::Hello(Hello {
            version_min: VERSION,
            version_max: VERSION,
            role: Role::Peer,
            node: self.node,
            listen: 0,
            window: 0,
            tlvs: token.into_iter().chain([agent]).collect(),
        })
    }

    fn received(&mut self, conn: ConnId, mut input: &[u8], out: &mut Actions<NoTask>) {
        while self.outcome.is_none() {
            match self.reader.next(&mut input) {
                Ok(None) => return,
                Ok(Some(Incoming::Message(message))) => self.on_message(conn, message, out),
                Ok(Some(Incoming::Skipped { .. })) => {}
                Ok(Some(Incoming::Data { .. })) => self.strange("DATA from a tracker", out),
                Err(error) => self.strange(error, out),
            }
        }
    }

    fn on_message(&mut self, conn: ConnId, message: Message, out: &mut Actions<NoTask>) {
        let addr = self.addr;
        match message {
            Message::Hello(hello) if !self.greeted => {
                self.greeted = true;
                if negotiate((VERSION, VERSION), hello.versions()).is_none() {
                    let (low, high) = hello.versions();
                    let text = format!("it speaks {low} to {high}, we speak {VERSION}");
                    self.finish(Err(StatusError::Version { text }), out);
                } else if hello.role != Role::Tracker {
                    self.strange("it is a peer", out);
                } else {
                    let request = Message::SummaryRequest(SummaryRequest { rid: RID });
                    out.send(conn, request.to_frame());
                }
            }
            Message::Summary(summary) if summary.rid == RID => self.finish(Ok(summary), out),
            Message::Bye(Bye { code: Code::VERSION, text }) => {
                self.finish(Err(StatusError::Version { text }), out);
            }
            Message::Bye(Bye { code, text }) => {
                self.finish(Err(StatusError::Refused { addr, code, text }), out);
            }
            Message::Noop => {}
            other => self.strange(format_args!("unexpected {}", other.name()), out),
        }
    }

    fn strange(&mut self, what: impl ToString, out: &mut Actions<NoTask>) {
        let what = what.to_string();
        self.finish(Err(StatusError::Strange { addr: self.addr, what }), out);
    }

    fn no_answer(&mut self, what: &'static str, out: &mut Actions<NoTask>) {
        self.finish(Err(StatusError::NoAnswer { addr: self.addr, what }), out);
    }
}

/// This machine has no blocking work.
#[derive(Clone, Copy, Debug)]
pub enum NoTask {}

/// Does nothing, and is never asked to.
#[derive(Clone, Copy, Debug)]
pub struct NoRunner;

impl TaskRunner<StatusClient> for NoRunner {
    fn run(&self, task: NoTask) {
        match task {}
    }
}

impl Machine for StatusClient {
    type Task = NoTask;
    type TaskResult = ();

    fn handle(&mut self, now: Time, event: Event<'_, ()>, out: &mut Actions<NoTask>) {
        if self.outcome.is_some() {
            return;
        }
        match event {
            Event::Started => {
                self.until = now + PATIENCE;
                self.dial(out);
            }
            Event::Connected { conn } => out.send(conn, self.hello().to_frame()),
            Event::ConnectFailed { error, .. } => {
                self.conn = None;
                if !self.dial(out) {
                    let addr = self.addr;
                    self.finish(Err(StatusError::Unreachable { addr, cause: error }), out);
                }
            }
            Event::Received { conn, bytes } => self.received(conn, bytes, out),
            Event::RemoteFinished { .. } => self.no_answer("closed the connection", out),
            Event::Closed { .. } => {
                self.conn = None;
                self.no_answer("closed the connection", out);
            }
            Event::Deadline if now >= self.until => {
                self.no_answer("did not answer in time", out);
            }
            Event::ShutdownRequested => self.no_answer("was not waited for", out),
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Time> {
        (self.outcome.is_none() && self.until != Time::MAX).then_some(self.until)
    }
}
