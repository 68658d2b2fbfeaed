//! One peer, its driver, and the other ends of its connections.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use peer::Peer;
use peer::disk::{IfExists, Prepared, StorageError, StoreOutcome, StoredPiece, Task, TaskResult};
use peer::job::{Config, FetchJob, Job, Linger, Target};
use peer::notice::Notice;
use peer::session::{Local, Session, SessionEvent, Side};
use protocol::message::{
    DataHead, FindKey, Hello, Holdings, Lease, Request, Role, Status, Swarm as SwarmMessage,
};
use protocol::{
    ChannelId, Code, Digest, Entry, EntryKind, FrameReader, Holding, Incoming, Manifest, Message,
    NodeId, PeerAddr, PieceSet, PublisherKey, Record, SafePath,
};
use reactor::{Action, Actions, ConnId, Event, Machine, Rng, Time};
use std::sync::Arc;

/// The peer under test; others are above or below it.
pub(crate) const US: NodeId = NodeId([5; 16]);
pub(crate) const SMALLER: NodeId = NodeId([2; 16]);
pub(crate) const LARGER: NodeId = NodeId([8; 16]);
const TRACKER: &str = "10.0.0.9:7000";

/// The other end of a connection.
pub(crate) struct Remote {
    pub(crate) session: Session,
    pub(crate) heard: Vec<SessionEvent<'static>>,
    /// The peer under test has closed it, or has nothing more to say.
    pub(crate) closed: bool,
    pub(crate) finished: bool,
}

pub(crate) struct Rig {
    pub(crate) peer: Peer,
    pub(crate) now: Time,
    out: Actions<Task>,
    pub(crate) tasks: VecDeque<Task>,
    pub(crate) remotes: BTreeMap<ConnId, Remote>,
    /// Connections asked for, oldest first.
    pub(crate) dialed: Vec<(ConnId, SocketAddr)>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) exited: bool,
    /// Nothing that is sent leaves: the peer hears of no flush.
    pub(crate) stuck: bool,
    /// Connections that it does not want to read from any more.
    pub(crate) paused: Vec<ConnId>,
    tracker: Option<(ConnId, FrameReader)>,
    tracker_node: NodeId,
    /// What the tracker answers to FINDs: its record and peers. `None`: not found.
    pub(crate) record: Option<Record>,
    pub(crate) peers: Vec<SocketAddr>,
    /// A STATUS to answer FINDs with instead.
    pub(crate) find_code: Option<Code>,
    /// The manifest that an earlier run left on the disk.
    pub(crate) kept_manifest: Option<Arc<Manifest>>,
    pub(crate) finds: Vec<FindKey>,
    /// What the tracker answers to PUBLISHes.
    pub(crate) publish_code: Code,
    /// What it answers to BEATs.
    pub(crate) sync: bool,
    /// What the tracker was told last of each object.
    pub(crate) holdings: BTreeMap<protocol::ObjectId, Holding>,
    /// The names that were published, as often as they were.
    pub(crate) published: Vec<String>,
}

pub(crate) fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 4_000))
}

/// A file object of `pieces` pieces of 64 KiB, all bytes 7.
pub(crate) fn manifest(pieces: u32) -> Arc<Manifest> {
    let piece = Digest::of(&vec![7; 1 << 16]);
    let len = u64::from(pieces) << 16;
    let kind = EntryKind::File { executable: false, len, digest: Digest::ZERO };
    let hashes = vec![piece; pieces as usize];
    Arc::new(Manifest::build(16, vec![(Entry { path: None, kind }, hashes)]).unwrap())
}

pub(crate) fn record(manifest: &Manifest) -> Record {
    Record {
        object: manifest.id(),
        content: manifest.content(),
        length: manifest.geometry().total_len(),
        published_at: 0,
        version: 1,
        manifest_len: u32::try_from(manifest.bytes().len()).unwrap(),
        piece_count: manifest.geometry().piece_count(),
        file_count: 1,
        piece_log2: manifest.piece_log2(),
        name: "a".to_owned(),
    }
}

pub(crate) fn fetch(target: Target) -> FetchJob {
    FetchJob {
        target,
        folder: "/x".into(),
        if_exists: IfExists::Verify,
        sync: false,
        reserve: 0,
        wait: Duration::ZERO,
        timeout: None,
        stall_timeout: None,
        check: false,
        linger: Linger::Forever,
    }
}

pub(crate) fn by_name() -> Target {
    Target::Name { name: SafePath::new("a").unwrap(), version: 0 }
}

impl Rig {
    /// A peer with these jobs, with a tracker that knows `record`, and started.
    pub(crate) fn new(jobs: Vec<Job>, record: Option<Record>, peers: &[SocketAddr]) -> Self {
        Self::with(jobs, record, peers, |_| {})
    }

    pub(crate) fn with(
        jobs: Vec<Job>,
        record: Option<Record>,
        peers: &[SocketAddr],
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            node: US,
            trackers: vec![TRACKER.to_owned()],
            token: None,
            publisher: PublisherKey([1; 16]),
            advertise: None,
            up_limit: None,
            down_limit: None,
            max_peers: 50,
            piece_log2: None,
            buffer_bytes: 16 << 20,
            workers: 2,
            seed: 1,
        };
        change(&mut config);
        let mut rig = Self {
            peer: Peer::new(config, jobs),
            now: Time::ZERO + Duration::from_secs(1_000),
            out: Actions::default(),
            tasks: VecDeque::new(),
            remotes: BTreeMap::new(),
            dialed: Vec::new(),
            notices: Vec::new(),
            exited: false,
            stuck: false,
            paused: Vec::new(),
            tracker: None,
            tracker_node: NodeId([9; 16]),
            record,
            peers: peers.to_vec(),
            find_code: None,
            kept_manifest: None,
            finds: Vec::new(),
            publish_code: Code::OK,
            sync: false,
            holdings: BTreeMap::new(),
            published: Vec::new(),
        };
        rig.event(Event::Started);
        rig.event(Event::Listening { local: addr(1) });
        rig
    }

    /// A fetch of `manifest` by name, of which these addresses are told by the tracker.
    pub(crate) fn fetching(manifest: &Manifest, peers: &[SocketAddr]) -> Self {
        Self::new(vec![Job::Fetch(fetch(by_name()))], Some(record(manifest)), peers)
    }

    /// Fetching, with these settings changed, from one seed at `addr(2)` that has given the manifest.
    pub(crate) fn begun(manifest: &Manifest, change: impl FnOnce(&mut Config)) -> (Self, ConnId) {
        let jobs = vec![Job::Fetch(fetch(by_name()))];
        let mut rig = Self::with(jobs, Some(record(manifest)), &[addr(2)], change);
        let conn = rig.connect(LARGER);
        rig.seed(conn, manifest);
        rig.give_manifest(conn, manifest);
        rig.prepared(manifest);
        (rig, conn)
    }

    pub(crate) fn event(&mut self, event: Event<'_, TaskResult>) {
        self.peer.handle(self.now, event, &mut self.out);
        self.notices.extend(self.peer.take_notices());
        let mut flushed = Vec::new();
        while let Some(action) = self.out.pop() {
            match action {
                Action::Connect { conn, remote } if remote.to_string() == TRACKER => {
                    self.tracker = Some((conn, FrameReader::new()));
                    self.event(Event::Connected { conn });
                }
                Action::Connect { conn, remote } => self.dialed.push((conn, remote)),
                Action::Send { conn, bytes } => {
                    self.deliver(conn, &bytes);
                    flushed.push(conn);
                }
                Action::SendRange { conn, header, source, range, .. } => {
                    let mut bytes = header;
                    source.read_range(range, &mut bytes).unwrap();
                    self.deliver(conn, &bytes);
                    flushed.push(conn);
                }
                Action::Finish { conn } => {
                    if let Some(remote) = self.remotes.get_mut(&conn) {
                        remote.finished = true;
                    }
                }
                Action::Close { conn, .. } => {
                    if let Some(remote) = self.remotes.get_mut(&conn) {
                        remote.closed = true;
                    }
                    self.tracker.take_if(|(tracker, _)| *tracker == conn);
                    flushed.retain(|other| *other != conn);
                }
                Action::Run { task: Task::Recall { fetch, .. }, .. } => {
                    let manifest = self.kept_manifest.clone();
                    self.done(TaskResult::Recalled { fetch, manifest });
                }
                Action::Run { task, .. } => self.tasks.push_back(task),
                Action::PauseReading { conn } => self.paused.push(conn),
                Action::ResumeReading { conn } => self.paused.retain(|other| *other != conn),
                Action::Exit => self.exited = true,
            }
        }
        flushed.dedup();
        for conn in flushed {
            let open = self.remotes.get(&conn).is_some_and(|remote| !remote.closed);
            let tracker = self.tracker.as_ref().is_some_and(|(tracker, _)| *tracker == conn);
            if !self.stuck && !self.exited && (open || tracker) {
                self.event(Event::Flushed { conn });
            }
        }
    }

    fn deliver(&mut self, conn: ConnId, bytes: &[u8]) {
        let bytes: &'static [u8] = bytes.to_vec().leak();
        let mut input = bytes;
        if let Some(remote) = self.remotes.get_mut(&conn) {
            assert!(!remote.closed, "bytes for a closed connection");
            while let Some(event) = remote.session.next(self.now, &mut input).unwrap() {
                remote.heard.push(event);
            }
            return;
        }
        let Some((tracker, reader)) = self.tracker.as_mut().filter(|(own, _)| *own == conn) else {
            return;
        };
        let conn = *tracker;
        let mut messages = Vec::new();
        while let Some(incoming) = reader.next(&mut input).unwrap() {
            if let Incoming::Message(message) = incoming {
                messages.push(message);
            }
        }
        for message in messages {
            if let Some(answer) = self.tracker_answer(message) {
                self.event(Event::Received { conn, bytes: &answer.to_frame() });
            }
        }
    }

    fn tracker_answer(&mut self, message: Message) -> Option<Message> {
        let status =
            |rid, code| Message::Status(Status { rid, code, retry_ms: 0, text: "1".into() });
        match message {
            Message::Hello(_) => Some(Message::Hello(Hello {
                version_min: 1,
                version_max: 1,
                role: Role::Tracker,
                node: self.tracker_node,
                listen: 7_000,
                window: 0,
                tlvs: Vec::new(),
            })),
            Message::Beat(beat) => Some(Message::Lease(Lease {
                rid: beat.rid,
                interval_s: 20,
                lease_s: 70,
                sync: self.sync,
                you: PeerAddr { holding: Holding::Dropped, addr: addr(1) },
            })),
            Message::Announce(announce) => {
                let entries = announce.entries.iter();
                self.holdings.extend(entries.map(|entry| (entry.object, entry.holding)));
                Some(status(announce.rid, Code::OK))
            }
            Message::Publish(publish) => {
                self.published.push(publish.record.name);
                Some(status(publish.rid, self.publish_code))
            }
            Message::Find(find) => {
                self.finds.push(find.key);
                if let Some(code) = self.find_code {
                    return Some(status(find.rid, code));
                }
                let Some(record) = self.record.clone() else {
                    return Some(status(find.rid, Code::NOT_FOUND));
                };
                let peer = |addr: &SocketAddr| PeerAddr { holding: Holding::Complete, addr: *addr };
                let peers = self.peers.iter().map(peer).collect();
                Some(Message::Swarm(SwarmMessage {
                    rid: find.rid,
                    complete: 1,
                    partial: 0,
                    record,
                    peers,
                }))
            }
            _ => None,
        }
    }

    /// Delivers what the tracker says without being asked.
    pub(crate) fn tracker_says(&mut self, message: &Message) {
        let (conn, _) = self.tracker.as_ref().expect("there is a tracker");
        let conn = *conn;
        self.event(Event::Received { conn, bytes: &message.to_frame() });
    }

    /// Lets time pass, as long as the peer asks for it.
    pub(crate) fn sleep(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        while let Some(at) = self.peer.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.event(Event::Deadline);
            wakes += 1;
            assert!(wakes < 10_000, "it spins");
        }
        self.now = end;
    }

    fn remote(&self, node: NodeId, side: Side) -> Session {
        let agent = "test/1".to_owned();
        let local = Local { node, listen: 4_000, window: 512, token: None, agent, advertise: None };
        Session::new(side, &local, &mut Rng::new(3), self.now)
    }

    fn add(&mut self, conn: ConnId, session: Session) {
        let remote = Remote { session, heard: Vec::new(), closed: false, finished: false };
        self.remotes.insert(conn, remote);
    }

    /// A remote connects from host `host`, and exchanges HELLOs.
    pub(crate) fn accept(&mut self, host: u8, node: NodeId) -> ConnId {
        let conn = self.out.new_conn_id();
        let session = self.remote(node, Side::Dialer);
        self.add(conn, session);
        self.event(Event::Accepted { conn, remote: SocketAddr::from(([10, 0, 0, host], 50_000)) });
        self.say(conn);
        conn
    }

    /// The oldest dial succeeds; the remote exchanges HELLOs.
    pub(crate) fn connect(&mut self, node: NodeId) -> ConnId {
        let (conn, _) = self.dialed.remove(0);
        let session = self.remote(node, Side::Acceptor);
        self.add(conn, session);
        self.event(Event::Connected { conn });
        self.say(conn);
        conn
    }

    /// Delivers what a remote's session has to say.
    pub(crate) fn say(&mut self, conn: ConnId) {
        let Some(remote) = self.remotes.get_mut(&conn).filter(|remote| !remote.closed) else {
            return;
        };
        if let Some(bytes) = remote.session.take_output() {
            self.event(Event::Received { conn, bytes: &bytes });
        }
    }

    /// Lets a remote's session do something, and delivers it.
    pub(crate) fn tell<T>(&mut self, conn: ConnId, f: impl FnOnce(&mut Session) -> T) -> T {
        let value = f(&mut self.remotes.get_mut(&conn).unwrap().session);
        self.say(conn);
        value
    }

    /// Accepts the channel that the peer opened on this connection, as one who holds `manifest` whole.
    pub(crate) fn seed(&mut self, conn: ConnId, manifest: &Manifest) -> ChannelId {
        let channel = self.opened(conn).expect("the peer opens a channel");
        let len = u32::try_from(manifest.bytes().len()).unwrap();
        let count = manifest.geometry().piece_count();
        self.tell(conn, |session| session.send_bitmap(channel, len, count, &Holdings::All));
        channel
    }

    /// The last channel that the peer opened on this connection.
    pub(crate) fn opened(&self, conn: ConnId) -> Option<ChannelId> {
        let heard = self.remotes.get(&conn)?.heard.iter();
        let mut opened = heard.filter_map(|event| match event {
            SessionEvent::Opened { channel, .. } => Some(*channel),
            _ => None,
        });
        opened.next_back()
    }

    /// Requests that the remote has got and this did not return yet.
    pub(crate) fn requests(&mut self, conn: ConnId) -> Vec<Request> {
        let mut requests = Vec::new();
        self.remotes.get_mut(&conn).unwrap().heard.retain(|event| match event {
            SessionEvent::Requested(request) => {
                requests.push(*request);
                false
            }
            _ => true,
        });
        requests
    }

    /// Answers a request with these bytes.
    pub(crate) fn data(&mut self, conn: ConnId, request: Request, bytes: &[u8]) {
        let head = DataHead { block: request.block, len: request.len };
        let remote = self.remotes.get_mut(&conn).unwrap();
        let mut frame = remote.session.take_output().unwrap_or_default();
        frame.extend(remote.session.data_head(head).expect("it was asked for"));
        frame.extend_from_slice(bytes);
        self.event(Event::Received { conn, bytes: &frame });
    }

    /// Answers all requests for the manifest; the peer asks for it to be made ready.
    pub(crate) fn give_manifest(&mut self, conn: ConnId, manifest: &Manifest) {
        for request in self.requests(conn) {
            assert!(request.block.is_manifest());
            let start = request.block.begin as usize;
            let end = start + request.len as usize;
            self.data(conn, request, &manifest.bytes()[start..end]);
        }
    }

    /// Says that nothing is there yet, and everything is wanted.
    pub(crate) fn prepared(&mut self, manifest: &Manifest) {
        let count = manifest.geometry().piece_count();
        let (have, wanted) = (PieceSet::empty(count), PieceSet::full(count));
        self.prepare(Prepared { doubtful: have.clone(), have, wanted, finished: None });
    }

    pub(crate) fn prepare(&mut self, prepared: Prepared) {
        let at = self.tasks.iter().position(|task| matches!(task, Task::Prepare { .. }));
        let Some(Task::Prepare { fetch, .. }) = self.tasks.remove(at.unwrap()) else { panic!() };
        self.done(TaskResult::Prepared { fetch, outcome: Ok(prepared) });
    }

    /// Does all waiting `Store` tasks, as if each piece had this outcome.
    pub(crate) fn store(&mut self, outcome: StoreOutcome) {
        while self.store_once(&Ok(outcome)) > 0 {}
    }

    /// Does the `Store` task that waits longest; how many pieces it had.
    pub(crate) fn store_once(&mut self, outcome: &Result<StoreOutcome, StorageError>) -> usize {
        let at = self.tasks.iter().position(|task| matches!(task, Task::Store { .. }));
        let Some(task) = at.and_then(|at| self.tasks.remove(at)) else { return 0 };
        let Task::Store { fetch, pieces } = task else { panic!("it is a Store") };
        let stored = |(piece, data)| StoredPiece { piece, data, outcome: outcome.clone() };
        let pieces: Vec<_> = pieces.into_iter().map(stored).collect();
        let count = pieces.len();
        self.done(TaskResult::Stored { fetch, pieces });
        count
    }

    pub(crate) fn done(&mut self, result: TaskResult) {
        self.event(Event::TaskDone { id: reactor::TaskId(0), result });
    }

    /// The connection is gone; the driver says so.
    pub(crate) fn cut(&mut self, conn: ConnId) {
        let remote = self.remotes.get_mut(&conn).unwrap();
        if !std::mem::replace(&mut remote.closed, true) {
            self.event(Event::Closed { conn, cause: reactor::CloseCause::Finished });
        }
    }

    /// The tracker is started anew: its connection breaks, and its node is another one.
    pub(crate) fn restart_tracker(&mut self) {
        let (conn, _) = self.tracker.take().unwrap();
        self.tracker_node.0[0] += 1;
        self.event(Event::Closed { conn, cause: reactor::CloseCause::Reset });
    }

    /// The code of the BYE that a remote has got.
    pub(crate) fn bye(&self, conn: ConnId) -> Option<Code> {
        self.remotes[&conn].heard.iter().find_map(|event| match event {
            SessionEvent::Bye { code, .. } => Some(*code),
            _ => None,
        })
    }
}
