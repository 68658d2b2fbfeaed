//! A tracker that says what it is told to say, and notes what it hears.

use std::collections::BTreeMap;
use std::time::Duration;

use peer::disk::Task;
use peer::tracker_client::{Settings, TrackerClient, TrackerEvent};
use protocol::message::{Announce, Beat, Hello, Lease, Role, Status};
use protocol::{
    Code, Digest, FrameReader, Holding, Incoming, Message, NodeId, ObjectId, PeerAddr, Record,
    RequestId,
};
use reactor::{Action, Actions, ConnId, Rng, Time};

pub(crate) const US: NodeId = NodeId([1; 16]);
pub(crate) const TRACKER: NodeId = NodeId([9; 16]);

/// The client, its driver, and the other end of its connections.
pub(crate) struct Script {
    pub(crate) client: TrackerClient,
    pub(crate) now: Time,
    out: Actions<Task>,
    readers: BTreeMap<ConnId, FrameReader>,
    /// Connections asked for, with their addresses, oldest first.
    pub(crate) dialed: Vec<(ConnId, String)>,
    pub(crate) looked_up: Vec<String>,
    /// Heard since the last `heard`.
    messages: Vec<Message>,
    pub(crate) skipped: usize,
    /// Finished or closed by the client.
    pub(crate) finished: Vec<ConnId>,
    pub(crate) closed: Vec<ConnId>,
}

pub(crate) fn settings(addresses: &[&str]) -> Settings {
    Settings {
        node: US,
        listen: 4_000,
        token: None,
        advertise: None,
        agent: "test/1".to_owned(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
    }
}

impl Script {
    pub(crate) fn new(addresses: &[&str]) -> Self {
        Self::with(settings(addresses), 7)
    }

    pub(crate) fn with(settings: Settings, seed: u64) -> Self {
        Self {
            client: TrackerClient::new(settings, Rng::new(seed)),
            now: Time::ZERO + Duration::from_secs(1_000),
            out: Actions::default(),
            readers: BTreeMap::new(),
            dialed: Vec::new(),
            looked_up: Vec::new(),
            messages: Vec::new(),
            skipped: 0,
            finished: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Started, and with a session that has had its first LEASE; heard and events are taken.
    pub(crate) fn in_session() -> Self {
        let mut script = Self::new(&["127.0.0.1:7000"]);
        script.start();
        script.welcome(TRACKER);
        script.heard();
        script.events();
        script
    }

    /// Calls the client and carries out what it asks for.
    pub(crate) fn call<T>(
        &mut self,
        f: impl FnOnce(&mut TrackerClient, Time, &mut Actions<Task>) -> T,
    ) -> T {
        let value = f(&mut self.client, self.now, &mut self.out);
        while let Some(action) = self.out.pop() {
            match action {
                Action::Connect { conn, remote } => {
                    self.readers.insert(conn, FrameReader::new());
                    self.dialed.push((conn, remote.to_string()));
                }
                Action::Send { conn, bytes } => {
                    assert!(!self.finished.contains(&conn), "bytes after the last word");
                    assert!(!self.closed.contains(&conn), "bytes for a closed connection");
                    self.hear(conn, &bytes);
                }
                Action::Finish { conn } => self.finished.push(conn),
                Action::Close { conn, .. } => self.closed.push(conn),
                Action::Run { task: Task::Resolve { address }, .. } => self.looked_up.push(address),
                other => panic!("unexpected {other:?}"),
            }
        }
        value
    }

    fn hear(&mut self, conn: ConnId, mut bytes: &[u8]) {
        let reader = self.readers.get_mut(&conn).unwrap();
        while let Some(incoming) = reader.next(&mut bytes).unwrap() {
            match incoming {
                Incoming::Message(message) => self.messages.push(message),
                Incoming::Skipped { kind } => {
                    assert!((0xE0..=0xEF).contains(&kind), "{kind:#x}");
                    self.skipped += 1;
                }
                Incoming::Data { .. } => panic!("data for a tracker"),
            }
        }
    }

    pub(crate) fn start(&mut self) {
        self.call(TrackerClient::start);
    }

    pub(crate) fn pump(&mut self) {
        self.call(TrackerClient::pump);
    }

    /// The newest connection.
    pub(crate) fn conn(&self) -> ConnId {
        self.dialed.last().unwrap().0
    }

    pub(crate) fn say(&mut self, message: &Message) {
        self.say_bytes(&message.to_frame());
    }

    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        let conn = self.conn();
        self.call(|client, now, out| client.on_received(now, conn, bytes, out));
    }

    pub(crate) fn connected(&mut self) {
        let conn = self.conn();
        self.call(|client, now, out| client.on_connected(now, conn, out));
    }

    pub(crate) fn refuse(&mut self) {
        let conn = self.conn();
        let error = reactor::ConnectError::Refused;
        self.call(|client, now, out| client.on_connect_failed(now, conn, error, out));
    }

    pub(crate) fn flush(&mut self) {
        let conn = self.conn();
        self.call(|client, now, out| client.on_flushed(now, conn, out));
    }

    /// The connection breaks.
    pub(crate) fn cut(&mut self) {
        let conn = self.conn();
        self.call(|client, now, out| client.on_closed(now, conn, out));
    }

    /// Accepts the newest connection, and exchanges HELLOs, of which nothing is noted.
    pub(crate) fn greet(&mut self, node: NodeId) {
        self.connected();
        self.messages.retain(|message| !matches!(message, Message::Hello(_)));
        self.say(&Message::Hello(hello(node)));
        self.flush();
    }

    /// Accepts the newest connection, and gives a lease.
    pub(crate) fn welcome(&mut self, node: NodeId) {
        self.greet(node);
        let rid = self.beats().last().unwrap().rid;
        self.say(&lease(rid, false));
    }

    pub(crate) fn resolved(&mut self, address: &str, outcome: Result<&[&str], &str>) {
        let outcome = outcome
            .map(|addrs| addrs.iter().map(|addr| addr.parse().unwrap()).collect())
            .map_err(str::to_owned);
        self.call(|client, now, out| client.on_resolved(now, address, outcome, out));
    }

    /// What the tracker heard since the last call.
    pub(crate) fn heard(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }

    /// The BEATs that it heard and has not taken.
    pub(crate) fn beats(&self) -> Vec<Beat> {
        let beats = self.messages.iter().filter_map(|message| match message {
            Message::Beat(beat) => Some(*beat),
            _ => None,
        });
        beats.collect()
    }

    /// The ANNOUNCEs that it heard, and answers; everything heard is taken.
    pub(crate) fn answer_announces(&mut self) -> Vec<Announce> {
        let announces = self.announces();
        for announce in &announces {
            self.say(&status(announce.rid, Code::OK, 0));
        }
        announces
    }

    /// The ANNOUNCEs that it heard; everything heard is taken.
    pub(crate) fn announces(&mut self) -> Vec<Announce> {
        let announces = self.heard().into_iter().filter_map(|message| match message {
            Message::Announce(announce) => Some(announce),
            _ => None,
        });
        announces.collect()
    }

    pub(crate) fn events(&mut self) -> Vec<TrackerEvent> {
        self.client.take_events()
    }

    /// Reasons of the `Down` events since the last call; other events are dropped.
    pub(crate) fn downs(&mut self) -> Vec<(String, String)> {
        let downs = self.events().into_iter().filter_map(|event| match event {
            TrackerEvent::Down { address, why, .. } => Some((address, why)),
            _ => None,
        });
        downs.collect()
    }

    /// Lets time go to the client's deadline.
    pub(crate) fn wake(&mut self) -> Duration {
        let before = self.now;
        self.now = self.client.deadline().expect("it waits for something").max(self.now);
        self.call(TrackerClient::on_deadline);
        self.now.since(before)
    }

    /// Waits until the client says something else than that it lives, and answers its BEATs.
    pub(crate) fn listen(&mut self) -> Duration {
        let before = self.now;
        loop {
            self.wake();
            for beat in self.beats() {
                self.say(&lease(beat.rid, false));
            }
            self.messages.retain(|m| !matches!(m, Message::Beat(_) | Message::Noop));
            if !self.messages.is_empty() {
                return self.now.since(before);
            }
        }
    }

    /// Lets so much time pass; nothing comes meanwhile.
    pub(crate) fn sleep(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        while self.client.deadline().is_some_and(|deadline| deadline <= end) {
            self.wake();
            wakes += 1;
            assert!(wakes < 10_000, "it spins");
        }
        self.now = end;
    }

    /// Waits until the client says BYE.
    pub(crate) fn parting(&mut self) -> (Duration, Code) {
        let before = self.now;
        loop {
            if let Some(Message::Bye(bye)) = self.heard().pop() {
                return (self.now.since(before), bye.code);
            }
            self.wake();
        }
    }

    /// Waits until the client dials again.
    pub(crate) fn redial(&mut self) -> Duration {
        let (before, dialed) = (self.now, self.dialed.len());
        while self.dialed.len() == dialed {
            self.wake();
        }
        self.now.since(before)
    }
}

pub(crate) fn hello(node: NodeId) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        role: Role::Tracker,
        node,
        listen: 7_000,
        window: 0,
        tlvs: Vec::new(),
    }
}

pub(crate) fn lease(rid: RequestId, sync: bool) -> Message {
    let addr = "127.0.0.1:4000".parse().unwrap();
    let you = PeerAddr { holding: Holding::Dropped, addr };
    Message::Lease(Lease { rid, interval_s: 20, lease_s: 70, sync, you })
}

pub(crate) fn status(rid: RequestId, code: Code, retry_ms: u32) -> Message {
    Message::Status(Status { rid, code, retry_ms, text: String::new() })
}

pub(crate) fn object(number: u32) -> ObjectId {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    id[31] = 1;
    ObjectId(id)
}

pub(crate) fn record(name: &str) -> Record {
    Record {
        object: object(5),
        content: Digest::ZERO,
        length: 10,
        published_at: 0,
        version: 1,
        manifest_len: 100,
        piece_count: 1,
        file_count: 1,
        piece_log2: 18,
        name: name.to_owned(),
    }
}
