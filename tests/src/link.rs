//! TCP as two ordered pipes of bytes.
//!
//! A machine's bytes wait in its driver's queue, then in the system's finite send buffer, then take
//! their turn on the node's uplink, cross the network, queue for the receiver's downlink, and wait in
//! its inbox until its driver reads. What is not read keeps the sender's window full. Finishing,
//! closing with and without unread bytes, resets, refused and unanswered requests, hosts that go silent
//! and cut ways behave as a kernel's TCP does, as far as a program can tell.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use reactor::{Action, CloseCause, ConnId, ConnectError, Event, RangeError};

use crate::check::Watch;
use crate::node::{EndKey, Life, PORT, Queued, Twist, address, index_of};
use crate::world::{What, World, nanos};

/// A request that nobody answers is given up after so long, as the driver's default has it.
const CONNECT_TIMEOUT: u64 = 5_000_000_000;
/// Data that nobody acknowledges is given up after so long.
const RETRANSMIT_TIMEOUT: u64 = 900_000_000_000;
/// A driver reads at most so much at once.
const READ_BUDGET: usize = 512 * 1024;

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
    held_back: Vec<(Parcel, bool)>,
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

    fn is_cut(&self, a: usize, b: usize) -> bool {
        !self.cuts.is_empty() && self.cuts.contains(&(a.min(b), a.max(b)))
    }

    fn latency(&mut self, a: usize, b: usize) -> u64 {
        let base = nanos(self.nodes[a].profile.latency) + nanos(self.nodes[b].profile.latency);
        base + self.rng.below(base / 8 + 1)
    }

    // ---- beginnings

    pub(crate) fn connect(&mut self, from: usize, conn: ConnId, remote: SocketAddr) {
        self.note(from, "connect", conn.0, 0);
        self.nodes[from].connecting.insert(conn);
        let epoch = self.nodes[from].epoch;
        let target = index_of(remote.ip()).filter(|index| *index < self.nodes.len());
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
        if self.is_cut(from, to) || self.nodes[to].dark {
            return self.plan(self.now + CONNECT_TIMEOUT, failed(ConnectError::TimedOut));
        }
        if !listens || remote.port() != PORT {
            return self.plan(back, failed(ConnectError::Refused));
        }
        let end = |node, conn| End { node, conn, known: true, ..End::default() };
        let honest = |index: usize| self.nodes[index].twist.is_none();
        let watch = Watch::new([honest(from), honest(to)]);
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
        let node = &mut self.nodes[index];
        match (node.twist, &mut item) {
            (Some(Twist::Mute), Queued::Range { .. }) => copies = 0,
            (Some(Twist::Garble(odds)), Queued::Bytes(bytes))
                if node.rng.below(1_000_000) < odds =>
            {
                let at = node.rng.index(bytes.len());
                let bit = node.rng.below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            (Some(Twist::Repeat(times)), Queued::Bytes(_)) => copies = times,
            _ => {}
        }
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
        self.check.queue(index, waiting);
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
        if let Some(conn) = conn {
            self.nodes[index].conns.remove(&conn);
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

    // ---- sending

    fn plan_pump(&mut self, key: EndKey) {
        let Some(end) = self.end_mut(key).filter(|end| !end.pump_planned) else { return };
        end.pump_planned = true;
        self.plan(self.now, What::Pump(key));
    }

    /// The driver's write: from its queue into the system's buffer.
    pub(crate) fn pump(&mut self, key: EndKey) {
        let Some(end) = self.end_mut(key) else { return };
        end.pump_planned = false;
        let (index, conn) = (end.node, end.conn);
        let (Some(conn), true) = (conn, end.known && end.broken.is_none()) else { return };
        let had = !end.queue.is_empty();
        let room = self.nodes[index].profile.send_buffer;
        let mut failures = Vec::new();
        loop {
            let rotten = match self.nodes[index].twist {
                Some(Twist::Corrupt(odds)) => odds,
                _ => 0,
            };
            let Some(Some(link)) = self.links.get_mut(key.0) else { return };
            let end = &mut link.ends[key.1];
            if end.kernel.len() >= room {
                break;
            }
            let mut taken = Vec::new();
            match end.queue.front_mut() {
                None => break,
                Some(Queued::Bytes(bytes)) => {
                    taken = std::mem::take(bytes);
                    end.queue.pop_front();
                }
                Some(Queued::Range { tag, header, source, range }) => {
                    let total = header.len() as u64 + (range.end.saturating_sub(range.start));
                    if end.begun == 0 {
                        let inside = range.start <= range.end && range.end <= source.len();
                        let error = if !inside {
                            Some(RangeError::OutOfBounds)
                        } else if !source.is_unchanged() {
                            Some(RangeError::Changed)
                        } else {
                            None
                        };
                        if let Some(error) = error {
                            failures.push((*tag, error));
                            end.queue.pop_front();
                            continue;
                        }
                        taken.extend_from_slice(header);
                    }
                    let head = header.len();
                    let done = end.begun.saturating_sub(head) as u64;
                    let step = (room as u64).min(range.end - range.start - done);
                    let from = range.start + done;
                    let before = taken.len();
                    if source.read_range(from..from + step, &mut taken).is_err() {
                        if end.begun == 0 {
                            failures.push((*tag, RangeError::Changed));
                            end.queue.pop_front();
                            continue;
                        }
                        self.fail_end(key, CloseCause::SourceFailed);
                        return;
                    }
                    let rng = &mut self.nodes[index].rng;
                    if rotten > 0 && step > 0 && rng.below(1_000_000) < rotten {
                        let at = before + rng.index(taken.len() - before);
                        taken[at] ^= 1;
                    }
                    self.nodes[index].sent += step;
                    end.begun += taken.len();
                    if end.begun as u64 >= total {
                        end.begun = 0;
                        end.queue.pop_front();
                    }
                }
            }
            let other = link.ends[1 - key.1].node;
            link.watch.sent(key.1, &taken, [index, other], &self.nodes, &mut self.check);
            link.ends[key.1].kernel.extend(taken);
        }
        for (tag, error) in failures {
            if self.end(key).is_some_and(|end| end.known) {
                self.deliver(index, Event::RangeFailed { conn, tag, error });
            }
        }
        let Some(end) = self.end_mut(key).filter(|end| end.known) else { return };
        if end.queue.is_empty() {
            if end.finishing {
                end.fin_due = true;
            }
            if had {
                self.deliver(index, Event::Flushed { conn });
            }
        }
        self.kick(key);
        self.send_fin(key);
    }

    /// Gets in line for the uplink, if there is something to send and room for it.
    fn kick(&mut self, key: EndKey) {
        let Some(end) = self.end(key) else { return };
        let index = end.node;
        let window = self.nodes[index].profile.window;
        if end.kernel.is_empty() || end.leaving || end.in_flight >= window || end.silent {
            return;
        }
        if let Some(end) = self.end_mut(key) {
            end.leaving = true;
        }
        self.nodes[index].uplink.waiting.push_back(key);
        self.serve_uplink(index);
    }

    fn serve_uplink(&mut self, index: usize) {
        if self.nodes[index].uplink.busy {
            return;
        }
        while let Some(key) = self.nodes[index].uplink.waiting.pop_front() {
            let profile = &self.nodes[index].profile;
            let (window, segment, up) = (profile.window, profile.segment, profile.up);
            let ragged = profile.ragged;
            let Some(end) = self.end(key) else { continue };
            let most = end.kernel.len().min(window - end.in_flight.min(window)).min(segment);
            if most == 0 {
                if let Some(end) = self.end_mut(key) {
                    end.leaving = false;
                }
                continue;
            }
            let len = if ragged && self.rng.below(16) == 0 {
                1 + self.rng.index(most.min(64))
            } else {
                most
            };
            self.nodes[index].uplink.busy = true;
            let time = if up == 0 { 0 } else { len as u64 * 1_000_000_000 / up };
            return self.plan(self.now + time, What::Left { end: key, len });
        }
    }

    pub(crate) fn segment_left(&mut self, key: EndKey, len: usize) {
        let Some(index) = self.end(key).map(|end| end.node) else { return };
        self.nodes[index].uplink.busy = false;
        if let Some(end) = self.end_mut(key) {
            end.leaving = false;
            let len = len.min(end.kernel.len());
            let bytes: Vec<u8> = end.kernel.drain(..len).collect();
            end.in_flight += len;
            if len > 0 {
                self.send(key, Parcel::Bytes(bytes));
            }
            self.kick(key);
            self.send_fin(key);
            if self.end(key).is_some_and(|end| !end.queue.is_empty()) {
                self.plan_pump(key);
            }
        }
        self.collect(key.0);
        self.serve_uplink(index);
    }

    fn send_fin(&mut self, key: EndKey) {
        let Some(end) = self.end_mut(key) else { return };
        if end.fin_due && !end.fin_sent && end.kernel.is_empty() && !end.leaving && !end.silent {
            end.fin_sent = true;
            let (index, conn, known) = (end.node, end.conn, end.known);
            let both = end.fin_told;
            self.send(key, Parcel::Fin);
            if let (Some(conn), true, true) = (conn, known, both) {
                self.finished(key, index, conn);
            }
        }
    }

    fn finished(&mut self, key: EndKey, index: usize, conn: ConnId) {
        if let Some(end) = self.end_mut(key) {
            end.known = false;
        }
        self.nodes[index].conns.remove(&conn);
        self.collect(key.0);
        self.deliver(index, Event::Closed { conn, cause: CloseCause::Finished });
    }

    fn reset_other(&mut self, key: EndKey) {
        if let Some(end) = self.end_mut(key) {
            end.fin_sent = true;
        }
        self.send(key, Parcel::Rst);
    }

    /// Across the network to the other end, in order.
    fn send(&mut self, from: EndKey, parcel: Parcel) {
        let to = (from.0, 1 - from.1);
        let Some(a) = self.end(from).map(|end| end.node) else { return };
        let Some(b) = self.end(to).map(|end| end.node) else { return };
        if self.is_cut(a, b) {
            if let Some(end) = self.end_mut(to) {
                end.held_back.push((parcel, false));
            }
            return;
        }
        let at = self.now + self.latency(a, b);
        let Some(end) = self.end_mut(to) else { return };
        let at = at.max(end.last_arrival);
        end.last_arrival = at;
        self.plan(at, What::Arrive { end: to, parcel, counted: false });
    }

    /// What was held back on a way that works again goes on.
    pub(crate) fn heal(&mut self, pair: (usize, usize)) {
        for link in 0..self.links.len() {
            for side in 0..2 {
                let key = (link, side);
                let Some(other) = self.end((link, 1 - side)).map(|end| end.node) else { continue };
                let Some(end) = self.end_mut(key) else { continue };
                if (end.node.min(other), end.node.max(other)) != pair {
                    continue;
                }
                let parcels = std::mem::take(&mut end.held_back);
                for (parcel, _) in parcels {
                    self.send((link, 1 - side), parcel);
                }
            }
        }
    }

    // ---- receiving

    /// Something comes to a node; bytes take their time on its downlink.
    pub(crate) fn arrive(&mut self, key: EndKey, parcel: Parcel, counted: bool) {
        let Some(end) = self.end(key) else { return };
        let index = end.node;
        let down = self.nodes[index].profile.down;
        if !counted && down > 0 {
            let len = if let Parcel::Bytes(bytes) = &parcel { bytes.len() as u64 } else { 0 };
            let node = &mut self.nodes[index];
            let free = node.downlink_free.max(self.now) + len * 1_000_000_000 / down;
            node.downlink_free = free;
            return self.plan(free, What::Arrive { end: key, parcel, counted: true });
        }
        if end.silent {
            return self.poke(key);
        }
        if !end.known {
            // A closed socket answers data with a reset.
            let is_bytes = matches!(parcel, Parcel::Bytes(_));
            if matches!(parcel, Parcel::Rst | Parcel::GaveUp) {
                if let Some(end) = self.end_mut(key) {
                    end.kernel.clear();
                }
            }
            if is_bytes {
                if let Some(end) = self.end_mut(key) {
                    end.kernel.clear();
                }
                self.reset_other(key);
            }
            return self.collect(key.0);
        }
        let Some(end) = self.end_mut(key) else { return };
        match parcel {
            Parcel::Bytes(bytes) => end.inbox.extend(bytes),
            Parcel::Fin => end.fin_arrived = true,
            Parcel::Rst => end.broken = Some(CloseCause::Reset),
            Parcel::GaveUp => end.broken = Some(CloseCause::TimedOut),
        }
        self.plan_read(key);
    }

    fn plan_read(&mut self, key: EndKey) {
        let Some(end) = self.end_mut(key) else { return };
        if end.read_planned || end.conn.is_none() {
            return;
        }
        end.read_planned = true;
        self.plan(self.now, What::Read(key));
    }

    /// The driver's read.
    pub(crate) fn read(&mut self, key: EndKey) {
        if let Some(end) = self.end_mut(key) {
            end.read_planned = false;
        }
        let other = (key.0, 1 - key.1);
        while let Some(end) = self.end_mut(key) {
            let (index, Some(conn)) = (end.node, end.conn) else { return };
            if !end.known || !self.nodes[index].conns.contains_key(&conn) {
                return;
            }
            let Some(end) = self.end_mut(key) else { return };
            if !end.paused && !end.inbox.is_empty() {
                let len = end.inbox.len().min(READ_BUDGET);
                let bytes: Vec<u8> = end.inbox.drain(..len).collect();
                if let Some(sender) = self.end_mut(other) {
                    sender.in_flight = sender.in_flight.saturating_sub(len);
                }
                self.nodes[index].received += len as u64;
                self.deliver(index, Event::Received { conn, bytes: &bytes });
                self.kick(other);
                continue;
            }
            if let Some(cause) = end.broken {
                return self.fail_end(key, cause);
            }
            if end.fin_arrived && !end.fin_told && !end.paused {
                end.fin_told = true;
                let both = end.fin_sent;
                self.deliver(index, Event::RemoteFinished { conn });
                if both && self.end(key).is_some_and(|end| end.known) {
                    self.finished(key, index, conn);
                }
            }
            return;
        }
    }

    /// Ends a connection from outside and tells the machine.
    fn fail_end(&mut self, key: EndKey, cause: CloseCause) {
        let Some(end) = self.end_mut(key).filter(|end| end.known) else { return };
        let (index, conn) = (end.node, end.conn);
        let reset = cause == CloseCause::SourceFailed;
        end.kernel.clear();
        self.close_end(key, reset);
        if let Some(conn) = conn {
            self.deliver(index, Event::Closed { conn, cause });
        }
    }

    // ---- hosts without power

    pub(crate) fn silence(&mut self, index: usize) {
        for link in self.links.iter_mut().flatten() {
            for end in link.ends.iter_mut().filter(|end| end.node == index) {
                let (node, conn) = (end.node, end.conn);
                *end = End { node, conn, silent: true, ..End::default() };
            }
        }
        let node = &mut self.nodes[index];
        node.conns.clear();
        node.uplink = crate::node::Uplink::default();
    }

    /// Data came for a host that has no power, or had none.
    fn poke(&mut self, key: EndKey) {
        let Some(end) = self.end_mut(key) else { return };
        let first = !end.poked;
        end.poked = true;
        let index = end.node;
        if self.nodes[index].life == Life::Up {
            self.send(key, Parcel::Rst);
        } else if first {
            let other = (key.0, 1 - key.1);
            let late = What::Arrive { end: other, parcel: Parcel::GaveUp, counted: true };
            self.plan(self.now + RETRANSMIT_TIMEOUT, late);
        }
    }

    /// A host that has power again answers what is sent to its old connections.
    pub(crate) fn reset_links_of(&mut self, index: usize) {
        for link in 0..self.links.len() {
            for side in 0..2 {
                let key = (link, side);
                if self.end(key).is_some_and(|end| end.node == index && end.silent && end.poked) {
                    self.send(key, Parcel::Rst);
                }
            }
        }
    }
}
