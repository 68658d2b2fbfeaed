//! A machine that does as a test says, on a real loop, with remotes that are plain sockets in the same
//! thread. Nothing sleeps: the loop is turned until what the test waits for has come.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use reactor::{
    Action, Actions, CloseCause, ConnId, ConnectError, Event, Machine, Options, RangeError,
    RangeTag, Reactor, TaskId, TaskRunner, Time,
};

/// An event without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Started,
    Listening(SocketAddr),
    Accepted(ConnId),
    Connected(ConnId),
    ConnectFailed(ConnId, ConnectError),
    Received(ConnId),
    Landed(ConnId, usize),
    Flushed(ConnId),
    RangeFailed(ConnId, RangeTag, RangeError),
    RemoteFinished(ConnId),
    Closed(ConnId, CloseCause),
    Deadline,
    TaskDone(TaskId, u64),
    ShutdownRequested,
}

pub(crate) type Job = Box<dyn FnOnce() -> u64 + Send>;
type Step = Box<dyn FnOnce(&mut Actions<Job>)>;
type React = Box<dyn FnMut(Seen, &[u8], &mut Actions<Job>)>;

/// Records what it hears; pushes what the test queued; may react.
#[derive(Default)]
pub(crate) struct Probe {
    pub(crate) seen: Vec<Seen>,
    pub(crate) received: BTreeMap<ConnId, Vec<u8>>,
    pub(crate) wake_at: Option<Time>,
    pub(crate) times: Vec<Time>,
    /// Where the next bytes of a connection belong, and how many of them came.
    pub(crate) places: BTreeMap<ConnId, (Vec<u8>, usize)>,
    steps: Vec<Step>,
    react: Option<React>,
}

impl Machine for Probe {
    type Task = Job;
    type TaskResult = u64;

    fn handle(&mut self, now: Time, event: Event<'_, u64>, out: &mut Actions<Job>) {
        let mut bytes: &[u8] = &[];
        let seen = match event {
            Event::Started => Seen::Started,
            Event::Listening { local } => Seen::Listening(local),
            Event::Accepted { conn, .. } => Seen::Accepted(conn),
            Event::Connected { conn } => Seen::Connected(conn),
            Event::ConnectFailed { conn, error } => Seen::ConnectFailed(conn, error),
            Event::Received { conn, bytes: received } => {
                bytes = received;
                assert!(!bytes.is_empty());
                self.received.entry(conn).or_default().extend_from_slice(bytes);
                Seen::Received(conn)
            }
            Event::Landed { conn, len } => {
                assert!(len > 0);
                let (place, filled) = self.places.get_mut(&conn).unwrap();
                bytes = &place[*filled..*filled + len];
                self.received.entry(conn).or_default().extend_from_slice(bytes);
                *filled += len;
                Seen::Landed(conn, len)
            }
            Event::Flushed { conn } => Seen::Flushed(conn),
            Event::RangeFailed { conn, tag, error } => Seen::RangeFailed(conn, tag, error),
            Event::RemoteFinished { conn } => Seen::RemoteFinished(conn),
            Event::Closed { conn, cause } => Seen::Closed(conn, cause),
            Event::Deadline => {
                for step in self.steps.drain(..) {
                    step(out);
                }
                if self.wake_at.is_none_or(|at| at > now) {
                    return;
                }
                Seen::Deadline
            }
            Event::TaskDone { id, result } => Seen::TaskDone(id, result),
            Event::ShutdownRequested => Seen::ShutdownRequested,
        };
        assert!(self.times.last().is_none_or(|last| *last <= now), "time went back");
        self.times.push(now);
        self.seen.push(seen);
        if let Some(react) = &mut self.react {
            react(seen, bytes, out);
        }
    }

    fn landing(&mut self, conn: ConnId) -> Option<&mut [u8]> {
        let (place, filled) = self.places.get_mut(&conn)?;
        (*filled < place.len()).then(|| &mut place[*filled..])
    }

    fn deadline(&self) -> Option<Time> {
        if self.steps.is_empty() { self.wake_at } else { Some(Time::ZERO) }
    }
}

impl Probe {
    pub(crate) fn has(&self, what: Seen) -> bool {
        self.seen.contains(&what)
    }

    pub(crate) fn count(&self, what: impl Fn(&Seen) -> bool) -> usize {
        self.seen.iter().filter(|seen| what(seen)).count()
    }

    pub(crate) fn received(&self, conn: ConnId) -> &[u8] {
        self.received.get(&conn).map_or(&[], Vec::as_slice)
    }
}

pub(crate) struct Runner;

impl TaskRunner<Probe> for Runner {
    fn run(&self, job: Job) -> u64 {
        job()
    }
}

pub(crate) struct Rig {
    pub(crate) reactor: Reactor<Probe, Runner>,
    pub(crate) addr: SocketAddr,
}

/// Longer than anything here takes, by far.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Options { workers: 2, ..Options::default() })
    }

    pub(crate) fn with(options: Options) -> Self {
        let mut reactor = Reactor::new(Probe::default(), Runner, options).unwrap();
        let addr = reactor.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let mut rig = Self { reactor, addr };
        rig.until(|probe| probe.has(Seen::Listening(addr)));
        rig
    }

    pub(crate) fn probe(&mut self) -> &mut Probe {
        self.reactor.machine_mut()
    }

    /// Sets what the machine does about each event.
    pub(crate) fn react(&mut self, react: impl FnMut(Seen, &[u8], &mut Actions<Job>) + 'static) {
        self.probe().react = Some(Box::new(react));
    }

    /// Has the machine push actions in one of the next turns.
    pub(crate) fn act(&mut self, step: impl FnOnce(&mut Actions<Job>) + 'static) {
        self.probe().steps.push(Box::new(step));
    }

    pub(crate) fn turn(&mut self) {
        self.reactor.turn(Some(Duration::from_millis(20))).unwrap();
    }

    /// Turns until the machine knows what the test waits for. Only what happens ends a wait, so a lost
    /// wake-up is found out.
    pub(crate) fn until(&mut self, done: impl Fn(&Probe) -> bool) {
        let end = self.reactor.now() + PATIENCE;
        while !done(self.reactor.machine()) {
            self.reactor.turn(Some(PATIENCE)).unwrap();
            assert!(self.reactor.now() < end, "did not happen; seen: {:?}", self.tail());
        }
    }

    /// Turns until `done`, which may do things in between; waits shortly only, since nothing wakes the
    /// loop for those.
    pub(crate) fn drive(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.reactor.now() + PATIENCE;
        while !done(self) {
            assert!(self.reactor.now() < end, "did not happen; seen: {:?}", self.tail());
            self.reactor.turn(Some(Duration::from_millis(1))).unwrap();
        }
    }

    /// Turns a few times, enough for anything that is on its way.
    pub(crate) fn settle(&mut self) {
        for _ in 0..5 {
            self.reactor.turn(Some(Duration::from_millis(2))).unwrap();
        }
    }

    fn tail(&self) -> &[Seen] {
        let seen = &self.reactor.machine().seen;
        &seen[seen.len().saturating_sub(20)..]
    }

    /// A remote that has connected, and the machine's name for it.
    pub(crate) fn accept(&mut self) -> (TcpStream, ConnId) {
        let known = self.probe().seen.len();
        let remote = TcpStream::connect(self.addr).unwrap();
        let accepted = |probe: &Probe| {
            probe.seen[known..].iter().find_map(|seen| match seen {
                Seen::Accepted(conn) => Some(*conn),
                _ => None,
            })
        };
        self.until(|probe| accepted(probe).is_some());
        let conn = accepted(self.reactor.machine()).unwrap();
        remote.set_nonblocking(true).unwrap();
        (remote, conn)
    }

    /// Turns until the remote has `count` bytes more, read in portions of `portion`.
    pub(crate) fn read(&mut self, remote: &mut TcpStream, count: usize, portion: usize) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0; portion];
        self.drive(|rig| {
            let room = portion.min(count - all.len());
            let bytes = rig.read_or_turn(remote, &mut buffer[..room]);
            all.extend_from_slice(bytes.unwrap_or(&[]));
            all.len() == count
        });
        all
    }

    /// Turns until the remote has everything up to the end of the stream.
    pub(crate) fn read_to_end(&mut self, remote: &mut TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        self.drive(|rig| {
            let bytes = rig.read_or_turn(remote, &mut buffer);
            all.extend_from_slice(bytes.unwrap_or(&[]));
            bytes.is_some_and(<[u8]>::is_empty)
        });
        all
    }

    /// Reads what is there without letting the loop wait; lets it wait if there is nothing.
    fn read_or_turn<'a>(
        &mut self,
        remote: &mut TcpStream,
        buffer: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let bytes = read_once(remote, buffer);
        let wait = if bytes.is_some() { Duration::ZERO } else { Duration::from_millis(20) };
        self.reactor.turn(Some(wait)).unwrap();
        bytes
    }
}

/// What is there: `None` for nothing yet, an empty slice for the end.
pub(crate) fn read_once<'a>(remote: &mut TcpStream, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    match remote.read(buffer) {
        Ok(count) => Some(&buffer[..count]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("remote cannot read: {error}"),
    }
}

/// Writes until the socket is full; returns how much went out.
pub(crate) fn fill(remote: &mut TcpStream, chunk: &[u8]) -> usize {
    let mut sent = 0;
    loop {
        match remote.write(chunk) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
            Err(error) => panic!("remote cannot write: {error}"),
        }
    }
}

/// Bytes in which no stretch looks like another.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut rng = reactor::Rng::new(len as u64);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn send(conn: ConnId, bytes: &[u8]) -> Action<Job> {
    Action::Send { conn, bytes: bytes.to_vec() }
}
