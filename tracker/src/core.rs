//! What all sessions share, and what a session's bytes lead to: frames to requests, HELLO, the order of
//! replies. What each request does is in `requests`.
//!
//! Works on one session at a time and never sees another: what concerns others is left in `effects`.

use std::net::IpAddr;

use protocol::limits::VERSION;
use protocol::message::{Hello, Role, Status, Tlv, TlvTag};
use protocol::{Code, DecodeError, Incoming, Message, NodeId, RequestId, negotiate};
use reactor::{CloseReason, ConnId, Rng, Time};

use crate::AGENT;
use crate::catalog::{Catalog, Snapshot};
use crate::config::Config;
use crate::contact::Contact;
use crate::ledger::Ledger;
use crate::pushes::Pushes;
use crate::session::{Phase, Remote, Session, Waiting};
use crate::swarms::Swarms;

/// Something for another session.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A frame that it did not ask for.
    Push { conn: ConnId, frame: Vec<u8> },
    /// Its node has a new session.
    Replace { conn: ConnId },
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) node: NodeId,
    pub(crate) rng: Rng,
    pub(crate) catalog: Catalog,
    pub(crate) swarms: Swarms,
    pub(crate) ledger: Ledger,
    pub(crate) pushes: Pushes,
    pub(crate) effects: Vec<Effect>,
    pub(crate) started: Time,
    /// Open connections.
    pub(crate) connections: usize,
    /// The first port that we listen on.
    pub(crate) listen: u16,
}

impl Core {
    pub(crate) fn new(config: Config, node: NodeId, seed: u64, names: Snapshot) -> Self {
        Self {
            config,
            node,
            rng: Rng::new(seed),
            catalog: Catalog::new(names),
            swarms: Swarms::new(),
            ledger: Ledger::new(),
            pushes: Pushes::default(),
            effects: Vec::new(),
            started: Time::ZERO,
            connections: 0,
            listen: 0,
        }
    }

    /// Received bytes.
    pub(crate) fn received(&mut self, session: &mut Session, now: Time, bytes: &[u8]) {
        if session.arrived(now, bytes) {
            self.read(session, now, bytes);
        }
    }

    /// Goes on where a session had to wait.
    pub(crate) fn resume(&mut self, session: &mut Session, now: Time) {
        loop {
            self.answer_waiting(session, now);
            if session.backlog.is_empty() || session.blocked() {
                break;
            }
            let backlog = std::mem::take(&mut session.backlog);
            self.read(session, now, &backlog);
        }
        let idle = session.waiting.is_empty() && session.backlog.is_empty();
        if session.remote_finished && idle {
            session.leave(now);
        }
    }

    fn read(&mut self, session: &mut Session, now: Time, mut input: &[u8]) {
        let mut whole = false;
        while matches!(session.phase, Phase::Greeting | Phase::Ready) {
            if session.blocked() {
                session.keep(input);
                break;
            }
            match session.reader.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Incoming::Message(message))) => self.on_message(session, now, message),
                Ok(Some(Incoming::Skipped { .. })) => {}
                Ok(Some(Incoming::Data { .. })) => {
                    session.bye(now, Code::BAD_STATE, "DATA is not for trackers");
                }
                Err(error) => self.on_nonsense(session, now, &error),
            }
            whole = true;
        }
        session.looked_at(now, whole);
    }

    fn on_nonsense(&mut self, session: &mut Session, now: Time, error: &DecodeError) {
        let Some(code) = error.code() else {
            mark!("scanner-dropped");
            // [H-2, H-3] Scanners and other protocols get no byte.
            session.phase = Phase::Dead(CloseReason::Violation);
            return;
        };
        mark!("nonsense-answered");
        if session.phase == Phase::Greeting {
            let hello = self.hello();
            session.send(&hello);
        }
        session.bye(now, code, &error.to_string());
    }

    fn on_message(&mut self, session: &mut Session, now: Time, message: Message) {
        match (session.phase, message) {
            (Phase::Greeting, Message::Hello(hello)) => self.on_hello(session, now, &hello),
            (_, Message::Bye(bye)) => {
                log::debug!("bye received conn={} code={}", session.conn.0, bye.code);
                // [T-16] Who leaves or stops holds nothing any more; else the lease runs out by itself.
                if matches!(bye.code, Code::OK | Code::SHUTDOWN)
                    && let Some(peer) = session.peer.take()
                {
                    mark!("left-politely");
                    self.swarms.leave(peer);
                }
                session.phase = Phase::Dead(CloseReason::Done);
            }
            (Phase::Ready, Message::Noop) => {}
            // [T-3] A lookup behind a PUBLISH sees what that led to.
            (
                Phase::Ready,
                message @ (Message::Find(_) | Message::List(_) | Message::SummaryRequest(_)),
            ) if !session.waiting.is_empty() => {
                mark!("lookup-behind-publish");
                session.waiting.push_back(Waiting::Request(Box::new(message)));
            }
            (Phase::Ready, message) => self.on_request(session, now, message),
            (_, message) => {
                let text = format!("{} before HELLO", message.name());
                session.bye(now, Code::BAD_STATE, &text);
            }
        }
    }

    /// Sends what is no longer held up, in order. // [T-3]
    fn answer_waiting(&mut self, session: &mut Session, now: Time) {
        while session.phase == Phase::Ready && !session.full() {
            match session.waiting.pop_front() {
                None => break,
                Some(commit @ Waiting::Commit { .. }) => {
                    session.waiting.push_front(commit);
                    break;
                }
                Some(Waiting::Done(frame)) => session.send_raw(&frame),
                Some(Waiting::Request(request)) => {
                    // Its reply goes in front of what still waits.
                    let behind = std::mem::take(&mut session.waiting);
                    self.on_request(session, now, *request);
                    session.waiting.extend(behind);
                }
            }
        }
    }

    // ---- HELLO

    fn on_hello(&mut self, session: &mut Session, now: Time, hello: &Hello) {
        // [H-6] Even whoever is refused learns who we are and which versions we speak.
        let ours = self.hello();
        session.send(&ours);
        if let Some((code, text)) = self.objection(session, hello) {
            mark!("hello-refused");
            session.bye(now, code, &text);
            return;
        }
        let contact = hello
            .advertised()
            .and_then(|peer| Contact::advertised(peer.addr, session.ip()))
            .or_else(|| Contact::observed(session.ip(), hello.listen));
        session.remote = Some(Remote { node: hello.node, contact });
        session.phase = Phase::Ready;
        if self.config.grease {
            let frame = self.grease_frame();
            session.send_raw(&frame);
        }
        log::debug!(
            "session ready conn={} remote={} peer={:?} agent={:?}",
            session.conn.0,
            session.addr,
            hello.node,
            hello.agent().unwrap_or_default(),
        );
    }

    /// Why a HELLO is refused, if it is.
    fn objection(&self, session: &Session, hello: &Hello) -> Option<(Code, String)> {
        if negotiate((VERSION, VERSION), hello.versions()).is_none() {
            // [H-13]
            let (low, high) = hello.versions();
            let text = format!("this tracker speaks version {VERSION}, you speak {low} to {high}");
            return Some((Code::VERSION, text));
        }
        if hello.role != Role::Peer {
            // [H-14]
            return Some((Code::WRONG_ROLE, "this is a tracker, expected a peer".to_owned()));
        }
        if hello.node == self.node {
            // [H-16]
            return Some((Code::DUPLICATE, "you are me".to_owned()));
        }
        if let Some(why) = session.refused {
            // [T-7]
            return Some((Code::OVERLOADED, why.to_owned()));
        }
        let shown = hello.tlv(TlvTag::CLUSTER_TOKEN);
        let text = match (&self.config.token, shown) {
            (None, None) => return None,
            (Some(token), Some(shown)) if token.matches(shown) => return None,
            // [H-25]
            (Some(_), _) => "wrong or missing cluster token",
            // [H-26] Else somebody would believe to be in a closed cluster.
            (None, Some(_)) => "this tracker has no cluster token, you show one",
        };
        Some((Code::DENIED, text.to_owned()))
    }

    fn hello(&mut self) -> Message {
        let mut tlvs = vec![Tlv { tag: TlvTag::AGENT, value: AGENT.into() }];
        if self.config.grease {
            // Receivers that trip over tags they do not know shall do so today.
            let tag = TlvTag(0xEE00 | u16::from(self.random_byte()));
            tlvs.push(Tlv { tag, value: self.noise() });
        }
        Message::Hello(Hello {
            version_min: VERSION,
            version_max: VERSION,
            role: Role::Tracker,
            node: self.node,
            listen: self.listen,
            window: 0,
            tlvs,
        })
    }

    /// A frame of a type that nobody knows and everybody may skip.
    fn grease_frame(&mut self) -> Vec<u8> {
        let kind = 0xE0 | (self.random_byte() & 0x0F);
        let noise = self.noise();
        let len = u8::try_from(noise.len()).expect("noise is short");
        let mut frame = vec![kind, 0, 0, len];
        frame.extend(noise);
        frame
    }

    /// Up to 16 random bytes.
    fn noise(&mut self) -> Vec<u8> {
        let len = self.rng.index(17);
        (0..len).map(|_| self.random_byte()).collect()
    }

    fn random_byte(&mut self) -> u8 {
        let [byte, ..] = self.rng.next_u64().to_le_bytes();
        byte
    }
}

/// A STATUS.
pub(crate) fn status(
    rid: RequestId,
    code: Code,
    retry_ms: u32,
    text: impl Into<String>,
) -> Message {
    Message::Status(Status { rid, code, retry_ms, text: text.into() })
}

/// An address in its plainest form.
pub(crate) fn plain(addr: std::net::SocketAddr) -> std::net::SocketAddr {
    let ip: IpAddr = addr.ip().to_canonical();
    std::net::SocketAddr::new(ip, addr.port())
}
