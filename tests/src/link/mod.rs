//! TCP as two ordered pipes of bytes.
//!
//! A machine's bytes wait in its driver's queue, then in the system's finite send buffer, then take
//! their turn on the node's uplink, cross the network, queue for the receiver's downlink, and wait in
//! its inbox until its driver reads. What is not read keeps the sender's window full. Finishing,
//! closing with and without unread bytes, resets, refused and unanswered requests, hosts that go silent
//! and cut ways behave as a kernel's TCP does, as far as a program can tell.

mod receiving;
mod sending;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use protocol::Message;
use reactor::{Action, CloseCause, ConnId, ConnectError, Event, Rng};

use crate::check::Watch;
use crate::faults::Trouble;
use crate::node::{EndKey, Life, NodeKey, PORT, Queued, Twist, address, index_of};
use crate::world::{What, World, nanos};

/// A request that nobody answers is given up after so long, as the driver's default has it.
const CONNECT_TIMEOUT: u64 = 5_000_000_000;
/// Data that nobody acknowledges is given up after so long.
const RETRANSMIT_TIMEOUT: u64 = 900_000_000_000;
/// A driver reads at most so much at once.
const READ_BUDGET: usize = 512 * 1024;

/// Peers in a lying tracker's answer at most.
const MISNAMED_MAX: usize = 50;

/// What crosses the network.
#[derive(Debug)]
pub(crate) enum Parcel {
    Bytes(Vec<u8>),
    Fin,
    Rst,
    /// The sender's system gives up.
    GaveUp,
}

/// One end of a connection.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is one fact of a TCP end's state")]
pub(crate) struct End {
    pub(crate) node: usize,
    /// `None` until the process has taken the connection.
    pub(crate) conn: Option<ConnId>,
    /// The machine still knows it.
    pub(crate) known: bool,
    queue: VecDeque<Queued>,
    /// Bytes of the first range in the queue that are gone already, header included.
    begun: usize,
    kernel: VecDeque<u8>,
    /// Sent and not yet read by the other process.
    in_flight: usize,
    /// A segment is on the uplink.
    leaving: bool,
    inbox: VecDeque<u8>,
    paused: bool,
    finishing: bool,
    fin_due: bool,
    fin_sent: bool,
    fin_arrived: bool,
    fin_told: bool,
    broken: Option<CloseCause>,
    pump_planned: bool,
    read_planned: bool,
    /// Its host lost power: nothing answers.
    silent: bool,
    poked: bool,
    last_arrival: u64,
    /// On their way to it over a cut way.
    held_back: Vec<Parcel>,
}

impl End {
    /// Bytes of data that the driver has still to hand to the system, without the largest block.
    fn queued_data(&self) -> usize {
        let len = |item: &Queued| match item {
            Queued::Bytes(_) => 0,
            Queued::Range { range, .. } => {
                usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)
            }
        };
        let (mut sum, mut largest) = (0, 0);
        for len in self.queue.iter().map(len) {
            sum += len;
            largest = largest.max(len);
        }
        sum - largest
    }
}

/// The first `len` bytes. An emptied queue gives its memory back: with very many ends, empty buffers
/// would be what memory is full of.
fn take_front(queue: &mut VecDeque<u8>, len: usize) -> Vec<u8> {
    let (front, back) = queue.as_slices();
    let mut taken = Vec::with_capacity(len);
    taken.extend_from_slice(&front[..len.min(front.len())]);
    taken.extend_from_slice(&back[..len - taken.len()]);
    queue.drain(..len);
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    taken
}

/// Changes the peers that a tracker names: some are dead, some are other people's hosts, some are
/// nobody's. How many lies.
fn misname(bytes: &mut Vec<u8>, nodes: usize, rng: &mut Rng) -> u64 {
    let (mut rest, mut out, mut lies) = (&bytes[..], Vec::new(), 0);
    while let [kind, a, b, c, body @ ..] = rest {
        let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(frame) = rest.get(..4 + len) else { break };
        match Message::decode(*kind, &body[..len]) {
            Ok(Message::Swarm(mut swarm)) => {
                for _ in 0..1 + rng.below(3) {
                    let addr = match rng.below(6) {
                        0 => SocketAddr::from(([0, 0, 0, 0], PORT)),
                        1 => SocketAddr::from(([239, 1, 2, 3], PORT)),
                        2 => SocketAddr::from(([10, 200, 0, 1], PORT)),
                        3 => SocketAddr::new(address(rng.index(nodes)).ip(), 0),
                        // The tracker itself, and whoever asks, may be among them.
                        _ => address(rng.index(nodes)),
                    };
                    let holding = protocol::Holding::Complete;
                    swarm.peers.insert(0, protocol::PeerAddr { holding, addr });
                    lies += 1;
                }
                swarm.peers.truncate(MISNAMED_MAX);
                Message::Swarm(swarm).encode(&mut out);
            }
            _ => out.extend_from_slice(frame),
        }
        rest = &rest[4 + len..];
    }
    out.extend_from_slice(rest);
    *bytes = out;
    lies
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    pub(crate) watch: Watch,
}

impl World {
    pub(crate) fn end(&self, (link, side): EndKey) -> Option<&End> {
        self.links.get(link)?.as_ref().map(|link| &link.ends[side])
    }

    fn end_mut(&mut self, (link, side): EndKey) -> Option<&mut End> {
        self.links.get_mut(link)?.as_mut().map(|link| &mut link.ends[side])
    }

    /// Whether a node is in the middle of sending a block.
    pub fn is_amid_a_block(&self, key: NodeKey) -> bool {
        let ends = self.nodes[key.0].conns.values();
        ends.into_iter().any(|end| self.end(*end).is_some_and(|end| end.begun > 0))
    }

    /// Which trouble keeps everything from getting from one node to another, if any does.
    fn cut_between(&self, from: usize, to: usize) -> Option<Trouble> {
        if self.cuts.is_empty() { None } else { self.cuts.get(&(from, to)).copied() }
    }

    fn latency(&mut self, a: usize, b: usize) -> u64 {
        let base = nanos(self.nodes[a].profile.latency) + nanos(self.nodes[b].profile.latency);
        let slowness = self.nodes[a].slowness.max(self.nodes[b].slowness);
        (base + self.rng.below(base / 8 + 1)) * slowness
    }

    // ---- beginnings

    pub(crate) fn connect(&mut self, from: usize, conn: ConnId, remote: SocketAddr) {
        if self.nodes[from].is_honest() {
            self.rules_on_dial(from, remote);
        }
        self.nodes[from].connecting.insert(conn);
        let epoch = self.nodes[from].epoch;
        let target = index_of(remote.ip()).filter(|index| *index < self.nodes.len());
        if self.nodes[from].exhausted {
            self.faults.effect(Trouble::Descriptors, 1);
            let error = ConnectError::NoResources;
            return self.plan(self.now, What::ConnectFailed { node: from, epoch, conn, error });
        }
        match target {
            Some(to) => {
                let at = self.now + self.latency(from, to);
                self.plan(at, What::Syn { from, epoch, conn, remote });
            }
            None => {
                let error = ConnectError::Unreachable;
                self.plan(self.now, What::ConnectFailed { node: from, epoch, conn, error });
            }
        }
    }

    pub(crate) fn syn(&mut self, from: usize, epoch: u64, conn: ConnId, remote: SocketAddr) {
        let to = index_of(remote.ip()).expect("requests go to nodes");
        let back = self.now + self.latency(from, to);
        let listens = matches!(self.nodes[to].life, Life::Up | Life::Paused);
        let failed = |error| What::ConnectFailed { node: from, epoch, conn, error };
        let cut = self.cut_between(from, to).or_else(|| self.cut_between(to, from));
        if let Some(trouble) = cut {
            self.faults.effect(trouble, 1);
        }
        if cut.is_some() || self.nodes[to].dark {
            return self.plan(self.now + CONNECT_TIMEOUT, failed(ConnectError::TimedOut));
        }
        if self.nodes[to].exhausted && listens {
            // It waits in the backlog until there is a descriptor for it, or nobody waits any more.
            self.faults.effect(Trouble::Descriptors, 1);
            return self.plan(self.now + CONNECT_TIMEOUT, failed(ConnectError::TimedOut));
        }
        let refused = listens && self.nodes[to].refuses;
        self.faults.effect(Trouble::Refuse, u64::from(refused));
        if !listens || refused || remote.port() != PORT {
            return self.plan(back, failed(ConnectError::Refused));
        }
        let end = |node, conn| End { node, conn, known: true, ..End::default() };
        let honest = |index: usize| self.nodes[index].is_honest();
        let mut watch = Watch::new([honest(from), honest(to)]);
        watch.shunned = [self.shuns(from, to), self.shuns(to, from)];
        self.links.push(Some(Link { ends: [end(from, Some(conn)), end(to, None)], watch }));
        let link = self.links.len() - 1;
        let IpAddr::V4(ip) = address(from).ip() else { return };
        let port = 32_768 + u16::try_from(link % 28_000).expect("below 28,000");
        let remote = SocketAddr::new(IpAddr::V4(ip), port);
        self.plan(self.now, What::Accepted { end: (link, 1), remote });
        self.plan(back, What::Connected { end: (link, 0), epoch });
    }

    pub(crate) fn accepted(&mut self, key: EndKey, remote: SocketAddr) {
        let Some(index) = self.end(key).map(|end| end.node) else { return };
        let node = &mut self.nodes[index];
        let Some(program) = &mut node.program else {
            // It ended between the request and now.
            return self.close_end(key, true);
        };
        let conn = program.new_conn_id();
        node.conns.insert(conn, key);
        if let Some(end) = self.end_mut(key) {
            end.conn = Some(conn);
        }
        self.deliver(index, Event::Accepted { conn, remote });
        self.plan_read(key);
    }

    pub(crate) fn connected(&mut self, key: EndKey) {
        let Some((index, Some(conn))) = self.end(key).map(|end| (end.node, end.conn)) else {
            return;
        };
        if !self.nodes[index].connecting.remove(&conn) {
            // It was given up in the meantime.
            return self.close_end(key, true);
        }
        self.nodes[index].conns.insert(conn, key);
        self.deliver(index, Event::Connected { conn });
        self.plan_read(key);
    }

    // ---- what a machine asks for

    pub(crate) fn act_on_conn(&mut self, index: usize, action: Action<u64>) {
        let conn = match &action {
            Action::Send { conn, .. }
            | Action::SendRange { conn, .. }
            | Action::Finish { conn }
            | Action::Close { conn, .. }
            | Action::PauseReading { conn }
            | Action::ResumeReading { conn } => *conn,
            Action::Connect { .. } | Action::Run { .. } | Action::Exit => return,
        };
        let Some(&key) = self.nodes[index].conns.get(&conn) else {
            if matches!(action, Action::Close { .. }) {
                self.nodes[index].connecting.remove(&conn);
            }
            return;
        };
        match action {
            Action::Send { bytes, .. } => self.enqueue(key, Queued::Bytes(bytes)),
            Action::SendRange { tag, header, source, range, .. } => {
                self.enqueue(key, Queued::Range { tag, header, source, range });
            }
            Action::Finish { .. } => self.finish_end(key),
            Action::Close { reason, .. } => {
                self.note(index, "close", conn.0, 0);
                if self.tracing() {
                    eprintln!("             {} closes: {reason:?}", self.nodes[index].name);
                }
                let unread = self.end(key).is_some_and(|end| !end.inbox.is_empty());
                self.close_end(key, unread);
            }
            Action::PauseReading { .. } => {
                if let Some(end) = self.end_mut(key) {
                    end.paused = true;
                }
            }
            Action::ResumeReading { .. } => {
                if let Some(end) = self.end_mut(key) {
                    end.paused = false;
                }
                self.plan_read(key);
            }
            Action::Connect { .. } | Action::Run { .. } | Action::Exit => {}
        }
    }

    fn enqueue(&mut self, key: EndKey, mut item: Queued) {
        let Some(end) = self.end(key) else { return };
        let index = end.node;
        let mut copies = 1;
        let index_range = self.nodes.len();
        let node = &mut self.nodes[index];
        match (node.twist, &mut item) {
            (Some(Twist::Mute), Queued::Range { .. }) => {
                copies = 0;
                self.faults.effect(Trouble::Mute, 1);
            }
            (Some(Twist::Misname), Queued::Bytes(bytes)) => {
                let known = index_range;
                let changed = misname(bytes, known, &mut node.rng);
                self.faults.effect(Trouble::FalseTracker, changed);
            }
            (Some(Twist::Garble(odds)), Queued::Bytes(bytes))
                if node.rng.below(1_000_000) < odds =>
            {
                let at = node.rng.index(bytes.len());
                let bit = node.rng.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                    self.faults.effect(Trouble::Garble, 1);
                }
            }
            (Some(Twist::Repeat(times)), Queued::Bytes(_)) => {
                copies = times;
                self.faults.effect(Trouble::Repeat, 1);
            }
            _ => {}
        }
        if let (Queued::Bytes(bytes), true) = (&item, self.nodes[index].is_tracker())
            && self.nodes[index].is_honest()
            && let Some(conn) = self.end(key).and_then(|end| end.conn)
        {
            self.rules_on_tracker(conn, bytes);
        }
        let is_block = matches!(item, Queued::Range { .. });
        let Some(end) = self.end_mut(key) else { return };
        for _ in 1..copies {
            if let Queued::Bytes(bytes) = &item {
                end.queue.push_back(Queued::Bytes(bytes.clone()));
            }
        }
        if copies > 0 {
            end.queue.push_back(item);
        }
        let waiting = end.queue.len();
        let data = if is_block { end.queued_data() } else { 0 };
        if self.nodes[index].is_honest() {
            self.check.queue(index, waiting);
            self.rules_on_block(index, data);
        }
        self.plan_pump(key);
    }

    pub(crate) fn finish_end(&mut self, key: EndKey) {
        if let Some(end) = self.end_mut(key) {
            end.finishing = true;
        }
        self.plan_pump(key);
    }

    /// Drops an end. Bytes that the system has already taken still arrive, unless `abruptly`.
    pub(crate) fn close_end(&mut self, key: EndKey, abruptly: bool) {
        let Some(end) = self.end_mut(key).filter(|end| end.known) else { return };
        end.known = false;
        end.queue.clear();
        end.begun = 0;
        end.inbox.clear();
        end.fin_due = true;
        let (index, conn) = (end.node, end.conn);
        if abruptly {
            end.kernel.clear();
            self.reset_other(key);
        } else {
            self.send_fin(key);
        }
        // Another process may have the same number for another connection.
        let conns = &mut self.nodes[index].conns;
        if let Some(conn) = conn.filter(|conn| conns.get(conn) == Some(&key)) {
            conns.remove(&conn);
        }
        self.collect(key.0);
    }

    fn collect(&mut self, link: usize) {
        let over = |end: &End| !end.known && end.kernel.is_empty() && !end.leaving;
        if self.links[link].as_ref().is_some_and(|link| link.ends.iter().all(over)) {
            self.links[link] = None;
        }
    }

    pub(crate) fn reap(&mut self, index: usize, epoch: u64) {
        if self.nodes[index].epoch != epoch || self.nodes[index].life != Life::Exited {
            return;
        }
        let ends: Vec<EndKey> = self.nodes[index].conns.values().copied().collect();
        for end in ends {
            self.close_end(end, false);
        }
    }

    // ---- hosts without power

    pub(crate) fn silence(&mut self, index: usize) {
        let mut silenced = Vec::new();
        for (number, link) in self.links.iter_mut().enumerate() {
            let ends = link.iter_mut().flat_map(|link| &mut link.ends).enumerate();
            for (side, end) in ends.filter(|(_, end)| end.node == index) {
                let (node, conn) = (end.node, end.conn);
                *end = End { node, conn, silent: true, ..End::default() };
                silenced.push((number, side));
            }
        }
        let node = &mut self.nodes[index];
        node.silenced.extend(silenced);
        node.conns.clear();
        node.uplink = crate::node::Uplink::default();
    }

    /// Data came for a host that has no power, or had none. With power its system resets what it does not
    /// know, whether its process is back, sleeps or has ended.
    fn poke(&mut self, key: EndKey) {
        let Some(end) = self.end_mut(key) else { return };
        let first = !end.poked;
        end.poked = true;
        let index = end.node;
        if !self.nodes[index].dark {
            self.send(key, Parcel::Rst);
        } else if first {
            let other = (key.0, 1 - key.1);
            self.plan(self.now + RETRANSMIT_TIMEOUT, What::GiveUp(other));
        }
    }

    /// A host that has power again answers what is sent to its old connections.
    pub(crate) fn reset_links_of(&mut self, index: usize) {
        for key in std::mem::take(&mut self.nodes[index].silenced) {
            if self.end(key).is_some_and(|end| end.silent && end.poked) {
                self.send(key, Parcel::Rst);
            }
        }
    }
}
