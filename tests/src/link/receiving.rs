//! From the network to a machine: the downlink, the inbox, ends and resets.

use reactor::{CloseCause, ConnId, ConnectError, Event};

use super::{Parcel, READ_BUDGET};
use crate::node::EndKey;
use crate::world::{What, World};

impl World {
    /// Something comes to a node; bytes take their time on its downlink.
    pub(crate) fn arrive(&mut self, key: EndKey, parcel: Parcel) {
        let Some(index) = self.end(key).map(|end| end.node) else { return };
        let node = &mut self.nodes[index];
        if node.profile.down == 0 {
            return self.enter(key, parcel);
        }
        node.downlink.push_back((key, parcel));
        if node.downlink.len() == 1 {
            self.serve_downlink(index);
        }
    }

    /// Begins with what is first in a node's downlink. Each part takes as long as the downlink is slow when
    /// its turn comes, so that what queues while it is slow does not stay so.
    fn serve_downlink(&mut self, index: usize) {
        let node = &self.nodes[index];
        let Some((_, parcel)) = node.downlink.front() else { return };
        let len = if let Parcel::Bytes(bytes) = parcel { bytes.len() as u64 } else { 0 };
        let time = (len * 1_000_000_000).checked_div(node.profile.down).unwrap_or(0);
        self.plan(self.now + time * node.slowness, What::Through { node: index });
    }

    /// What was first in a node's downlink is through.
    pub(crate) fn through_downlink(&mut self, index: usize) {
        let Some((key, parcel)) = self.nodes[index].downlink.pop_front() else { return };
        self.serve_downlink(index);
        self.enter(key, parcel);
    }

    /// Something reaches an end's system.
    pub(crate) fn enter(&mut self, key: EndKey, parcel: Parcel) {
        let Some(end) = self.end(key) else { return };
        if end.silent {
            // Nobody answers a reset with a reset (RFC 9293, 3.10.7.1).
            if matches!(parcel, Parcel::Bytes(_) | Parcel::Fin) {
                self.poke(key);
            }
            return;
        }
        if !end.known {
            // A closed socket answers data with a reset.
            let is_bytes = matches!(parcel, Parcel::Bytes(_));
            if !matches!(parcel, Parcel::Fin)
                && let Some(end) = self.end_mut(key)
            {
                end.kernel.clear();
            }
            if is_bytes {
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

    pub(super) fn plan_read(&mut self, key: EndKey) {
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
                let arrived = end.inbox.len();
                let place = self.place(index, conn).map_or(READ_BUDGET, |place| place.len());
                let len = arrived.min(READ_BUDGET).min(place);
                let Some(end) = self.end_mut(key) else { return };
                let bytes = super::take_front(&mut end.inbox, len);
                if let Some(sender) = self.end_mut(other) {
                    sender.in_flight = sender.in_flight.saturating_sub(len);
                }
                self.nodes[index].received += len as u64;
                self.hand_over(index, conn, &bytes);
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

    /// Where the next bytes belong as the machine says, on the connections on which this driver asks: on
    /// the others it lets the machine put all bytes in their place itself.
    fn place(&mut self, index: usize, conn: ConnId) -> Option<&mut [u8]> {
        let program = self.nodes[index].program.as_mut()?;
        if conn.0.is_multiple_of(2) { program.landing(conn) } else { None }
    }

    /// Delivers bytes, no more than fit into their place if there is one.
    fn hand_over(&mut self, index: usize, conn: ConnId, bytes: &[u8]) {
        let len = bytes.len();
        if let Some(place) = self.place(index, conn) {
            place[..len].copy_from_slice(bytes);
            self.deliver(index, Event::Landed { conn, len });
        } else {
            self.deliver(index, Event::Received { conn, bytes });
        }
    }

    /// Ends a connection from outside and tells the machine.
    pub(crate) fn fail_end(&mut self, key: EndKey, cause: CloseCause) {
        let Some(end) = self.end_mut(key).filter(|end| end.known) else { return };
        let (index, conn) = (end.node, end.conn);
        let reset = cause == CloseCause::SourceFailed;
        end.kernel.clear();
        self.close_end(key, reset);
        let Some(conn) = conn else { return };
        if self.nodes[index].connecting.remove(&conn) {
            // It had not heard of the connection yet: to it, it never was.
            let error = ConnectError::Refused;
            self.deliver(index, Event::ConnectFailed { conn, error });
        } else {
            self.deliver(index, Event::Closed { conn, cause });
        }
    }
}
