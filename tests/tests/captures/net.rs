//! A driver of the reactor's contract that records: a few nodes, a network without chance, virtual time.
//!
//! Everything happens in the order of one queue and nothing is drawn, so a scene gives the same packets
//! each time. Packets are recorded when they leave.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use reactor::{CloseCause, ConnId, Time};

use crate::hosted::{Happens, Program, Wish};
use crate::pcap::{Conversation, Pcap};

/// One way, nanoseconds.
const LATENCY: u64 = 500_000;
/// From the wish for a task to its result: no time, so that how work is cut into tasks does not show.
const TASK: u64 = 0;
/// A loop that wakes up takes at least so long.
const TURN: u64 = 1_000;
/// Most payload of a packet.
const SEGMENT: usize = 1_448;
/// What is queued when a process ends still leaves for so long.
const LAST_WORDS: u64 = 200_000_000;

/// Where a connection's end is: which connection, and whether it dialed (0) or accepted (1).
type EndKey = (usize, usize);

enum What {
    Wake { node: usize, epoch: u64 },
    Tell { node: usize, epoch: u64, what: Happens },
    Syn { from: usize, epoch: u64, conn: ConnId, to: SocketAddr },
    Segment(EndKey),
    Arrive(EndKey, Vec<u8>),
    Fin(EndKey),
    Reset(EndKey),
    Ended { node: usize, epoch: u64 },
    Script(Box<dyn FnOnce(&mut Net)>),
}

/// How a node's words change on their way out: the bytes of one queued send.
type Twist = Box<dyn FnMut(&mut Vec<u8>)>;

struct Node {
    address: SocketAddrV4,
    program: Option<Box<dyn Program>>,
    epoch: u64,
    conns: BTreeMap<ConnId, EndKey>,
    /// Bytes per second out.
    rate: u64,
    uplink_free: u64,
    wake: Option<u64>,
    next_port: u16,
    twist: Option<Twist>,
}

#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one fact of a TCP end's state")]
struct End {
    node: usize,
    conn: Option<ConnId>,
    /// Its program knows it.
    known: bool,
    /// Segments that have not left; each has its turn planned.
    queue: VecDeque<Vec<u8>>,
    finishing: bool,
    fin_sent: bool,
    fin_heard: bool,
    paused: bool,
    inbox: Vec<u8>,
}

struct Link {
    ends: [End; 2],
    talk: Conversation,
}

/// The nodes, their network, and what was recorded of it.
pub(crate) struct Net {
    now: u64,
    seq: u64,
    queue: BTreeMap<(u64, u64), What>,
    nodes: Vec<Node>,
    links: Vec<Link>,
    pub(crate) pcap: Pcap,
}

/// The address of the node with this index; a node dials from ports above 40,000.
pub(crate) fn address(node: usize) -> SocketAddr {
    let last = u8::try_from(node + 1).expect("few nodes");
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), 9_000 + u16::from(last)))
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    let SocketAddr::V4(address) = address else { panic!("no IPv6 here: {address}") };
    address
}

impl Net {
    pub(crate) fn new() -> Self {
        Self {
            now: 0,
            seq: 0,
            queue: BTreeMap::new(),
            nodes: Vec::new(),
            links: Vec::new(),
            pcap: Pcap::new(),
        }
    }

    /// A node on which nothing runs yet, that sends so many bytes per second.
    pub(crate) fn add(&mut self, rate: u64) -> usize {
        self.nodes.push(Node {
            address: v4(address(self.nodes.len())),
            program: None,
            epoch: 0,
            conns: BTreeMap::new(),
            rate,
            uplink_free: 0,
            wake: None,
            next_port: 40_001,
            twist: None,
        });
        self.nodes.len() - 1
    }

    /// Lets a node's words be changed on their way out.
    pub(crate) fn twist(&mut self, node: usize, twist: impl FnMut(&mut Vec<u8>) + 'static) {
        self.nodes[node].twist = Some(Box::new(twist));
    }

    /// Starts a program on a node.
    pub(crate) fn start(&mut self, node: usize, program: impl Program + 'static) {
        let it = &mut self.nodes[node];
        assert!(it.program.is_none(), "one program at a time");
        it.program = Some(Box::new(program));
        it.epoch += 1;
        it.wake = None;
        let local = SocketAddr::V4(it.address);
        self.tell(node, Happens::Started);
        self.tell(node, Happens::Listening(local));
    }

    /// Kills what runs on a node; the system closes its connections.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].program = None;
        for end in self.nodes[node].conns.values().copied().collect::<Vec<_>>() {
            self.close(end);
        }
    }

    /// Asks a program to end.
    pub(crate) fn stop(&mut self, node: usize) {
        self.tell(node, Happens::Shutdown);
    }

    /// Whether nothing runs on a node any more.
    pub(crate) fn is_over(&self, node: usize) -> bool {
        self.nodes[node].program.is_none()
    }

    /// Does something at a moment, in milliseconds.
    pub(crate) fn at(&mut self, millis: u64, act: impl FnOnce(&mut Self) + 'static) {
        self.plan(millis * 1_000_000, What::Script(Box::new(act)));
    }

    /// Runs until nothing is planned before `end`.
    pub(crate) fn run(&mut self, end: Duration) {
        let end = u64::try_from(end.as_nanos()).expect("minutes");
        let mut steps = 0;
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), what) = entry.remove_entry();
            self.now = at;
            self.happen(what);
            steps += 1;
            assert!(steps < 1_000_000, "it spins");
        }
    }

    fn plan(&mut self, at: u64, what: What) {
        self.seq += 1;
        self.queue.insert((at, self.seq), what);
    }

    fn happen(&mut self, what: What) {
        let current = |net: &Self, node: usize, epoch| net.nodes[node].epoch == epoch;
        match what {
            What::Wake { node, epoch } if current(self, node, epoch) => {
                self.nodes[node].wake = None;
                self.tell(node, Happens::Deadline);
            }
            What::Tell { node, epoch, what } if current(self, node, epoch) => self.tell(node, what),
            What::Syn { from, epoch, conn, to } if current(self, from, epoch) => {
                self.syn(from, conn, to);
            }
            What::Ended { node, epoch } if current(self, node, epoch) => {
                for end in self.nodes[node].conns.values().copied().collect::<Vec<_>>() {
                    self.close(end);
                }
            }
            What::Wake { .. } | What::Tell { .. } | What::Syn { .. } | What::Ended { .. } => {}
            What::Segment(end) => self.segment(end),
            What::Arrive(end, bytes) => self.arrive(end, bytes),
            What::Fin(end) => self.fin(end),
            What::Reset(end) => self.gone(end, CloseCause::Reset),
            What::Script(act) => act(self),
        }
    }

    /// Lets a program handle something, and does what it wants.
    fn tell(&mut self, node: usize, what: Happens) {
        let now = self.now;
        let Some(program) = &mut self.nodes[node].program else { return };
        for wish in program.handle(Time::from_nanos(now), what) {
            self.fulfil(node, wish);
        }
        let it = &mut self.nodes[node];
        let Some(due) = it.program.as_ref().and_then(|program| program.deadline()) else { return };
        let at = due.as_nanos().max(now + TURN);
        if it.wake.is_none_or(|planned| at < planned) {
            it.wake = Some(at);
            let epoch = it.epoch;
            self.plan(at, What::Wake { node, epoch });
        }
    }

    fn fulfil(&mut self, node: usize, wish: Wish) {
        let epoch = self.nodes[node].epoch;
        let end = |net: &Self, conn: ConnId| net.nodes[node].conns.get(&conn).copied();
        match wish {
            Wish::Connect(conn, to) => {
                self.plan(self.now + LATENCY, What::Syn { from: node, epoch, conn, to });
            }
            Wish::Send(conn, bytes) => {
                if let Some(end) = end(self, conn) {
                    self.send(end, bytes);
                }
            }
            Wish::Finish(conn) => {
                if let Some((link, side)) = end(self, conn) {
                    self.links[link].ends[side].finishing = true;
                    self.finish((link, side));
                }
            }
            Wish::Close(conn) => {
                if let Some(end) = end(self, conn) {
                    self.close(end);
                }
            }
            Wish::Pause(conn, paused) => {
                let Some((link, side)) = end(self, conn) else { return };
                let it = &mut self.links[link].ends[side];
                it.paused = paused;
                let waiting = std::mem::take(&mut it.inbox);
                if !paused && !waiting.is_empty() {
                    self.plan(self.now, What::Arrive((link, side), waiting));
                }
            }
            Wish::Task => {
                let what = Happens::TaskDone;
                self.plan(self.now + TASK, What::Tell { node, epoch, what });
            }
            Wish::Exit => {
                self.nodes[node].program = None;
                for (link, side) in self.nodes[node].conns.values().copied().collect::<Vec<_>>() {
                    self.links[link].ends[side].finishing = true;
                    self.finish((link, side));
                }
                self.plan(self.now + LAST_WORDS, What::Ended { node, epoch });
            }
        }
    }

    // ---- connections

    fn syn(&mut self, from: usize, conn: ConnId, to: SocketAddr) {
        let epoch = self.nodes[from].epoch;
        let target = self.nodes.iter().position(|node| SocketAddr::V4(node.address) == to);
        let Some(node) = target.filter(|node| self.nodes[*node].program.is_some()) else {
            let what = Happens::Refused(conn);
            return self.plan(self.now + LATENCY, What::Tell { node: from, epoch, what });
        };
        let port = self.nodes[from].next_port;
        self.nodes[from].next_port += 1;
        let local = SocketAddrV4::new(*self.nodes[from].address.ip(), port);
        let mut talk = Conversation::new(local, v4(to));
        self.pcap.open(self.now, &mut talk);
        let accepted = self.nodes[node].program.as_mut().map(|program| program.new_conn());
        let end = |node, conn| End { node, conn, known: true, ..End::default() };
        let link = self.links.len();
        self.links.push(Link { ends: [end(from, Some(conn)), end(node, accepted)], talk });
        self.nodes[from].conns.insert(conn, (link, 0));
        let what = Happens::Connected(conn);
        self.plan(self.now + LATENCY, What::Tell { node: from, epoch, what });
        if let Some(conn) = accepted {
            self.nodes[node].conns.insert(conn, (link, 1));
            self.tell(node, Happens::Accepted(conn, SocketAddr::V4(local)));
        }
    }

    fn send(&mut self, (link, side): EndKey, mut bytes: Vec<u8>) {
        let node = self.links[link].ends[side].node;
        if let Some(twist) = &mut self.nodes[node].twist {
            twist(&mut bytes);
        }
        for segment in bytes.chunks(SEGMENT) {
            let it = &mut self.nodes[node];
            let time = segment.len() as u64 * 1_000_000_000 / it.rate;
            it.uplink_free = it.uplink_free.max(self.now) + time;
            let at = it.uplink_free;
            self.links[link].ends[side].queue.push_back(segment.to_vec());
            self.plan(at, What::Segment((link, side)));
        }
    }

    /// The turn of a segment to leave.
    fn segment(&mut self, (link, side): EndKey) {
        let it = &mut self.links[link];
        let Some(bytes) = it.ends[side].queue.pop_front() else { return };
        self.pcap.data(self.now, &mut it.talk, side, &bytes);
        let (empty, node, conn) =
            (it.ends[side].queue.is_empty(), it.ends[side].node, it.ends[side].conn);
        self.plan(self.now + LATENCY, What::Arrive((link, 1 - side), bytes));
        if let (true, Some(conn)) = (empty && self.links[link].ends[side].known, conn) {
            self.tell(node, Happens::Flushed(conn));
        }
        self.finish((link, side));
    }

    /// Sends FIN if that is what remains to be sent.
    fn finish(&mut self, (link, side): EndKey) {
        let it = &mut self.links[link];
        let end = &mut it.ends[side];
        if !end.finishing || end.fin_sent || !end.queue.is_empty() {
            return;
        }
        end.fin_sent = true;
        let over = end.fin_heard;
        self.pcap.finish(self.now, &mut it.talk, side);
        self.plan(self.now + LATENCY, What::Fin((link, 1 - side)));
        if over {
            self.gone((link, side), CloseCause::Finished);
        }
    }

    fn arrive(&mut self, (link, side): EndKey, bytes: Vec<u8>) {
        let it = &mut self.links[link];
        let end = &mut it.ends[side];
        if !end.known {
            self.pcap.reset(self.now, &mut it.talk, side);
            return self.plan(self.now + LATENCY, What::Reset((link, 1 - side)));
        }
        if end.paused {
            return end.inbox.extend(bytes);
        }
        let (node, conn) = (end.node, end.conn);
        if let Some(conn) = conn {
            self.tell(node, Happens::Received(conn, bytes));
        }
    }

    fn fin(&mut self, (link, side): EndKey) {
        let end = &mut self.links[link].ends[side];
        end.fin_heard = true;
        let (node, over) = (end.node, end.fin_sent);
        let Some(conn) = end.conn.filter(|_| end.known) else { return };
        self.tell(node, Happens::RemoteFinished(conn));
        if over {
            self.gone((link, side), CloseCause::Finished);
        }
    }

    /// A program closes, or its process is gone: its queue is dropped.
    fn close(&mut self, (link, side): EndKey) {
        let end = &mut self.links[link].ends[side];
        if !std::mem::take(&mut end.known) {
            return;
        }
        end.queue.clear();
        end.finishing = true;
        if let Some(conn) = end.conn {
            let node = end.node;
            self.nodes[node].conns.remove(&conn);
        }
        self.finish((link, side));
    }

    /// A connection ended without its program's asking.
    fn gone(&mut self, (link, side): EndKey, cause: CloseCause) {
        let end = &mut self.links[link].ends[side];
        if !std::mem::take(&mut end.known) {
            return;
        }
        end.queue.clear();
        let node = end.node;
        if let Some(conn) = end.conn {
            self.nodes[node].conns.remove(&conn);
            self.tell(node, Happens::Closed(conn, cause));
        }
    }
}
