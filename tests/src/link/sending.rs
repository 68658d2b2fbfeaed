//! From a machine's queue to the other end: buffers, windows, turns on the uplink, cut ways.

use reactor::{CloseCause, ConnId, Event, RangeError, RangeTag};

use super::Parcel;
use crate::faults::Trouble;
use crate::node::{EndKey, Queued, Twist};
use crate::world::{What, World};

impl World {
    pub(super) fn plan_pump(&mut self, key: EndKey) {
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
        if !self.fill_kernel(key, index, room, &mut failures) {
            return self.fail_end(key, CloseCause::SourceFailed);
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

    /// Moves queued bytes on until the system's buffer is full. `false` if a range broke off half sent.
    pub(super) fn fill_kernel(
        &mut self,
        key: EndKey,
        index: usize,
        room: usize,
        failures: &mut Vec<(RangeTag, RangeError)>,
    ) -> bool {
        loop {
            let rotten = match self.nodes[index].twist {
                Some(Twist::Corrupt(odds)) => odds,
                _ => 0,
            };
            let Some(Some(link)) = self.links.get_mut(key.0) else { return true };
            let end = &mut link.ends[key.1];
            if end.kernel.len() >= room {
                return true;
            }
            let mut taken = Vec::new();
            match end.queue.front_mut() {
                None => return true,
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
                        return false;
                    }
                    let rng = &mut self.nodes[index].rng;
                    if rotten > 0 && step > 0 && rng.below(1_000_000) < rotten {
                        let at = before + rng.index(taken.len() - before);
                        taken[at] ^= 1;
                        self.faults.effect(Trouble::Corrupt, 1);
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
    }

    /// Gets in line for the uplink, if there is something to send and room for it.
    pub(super) fn kick(&mut self, key: EndKey) {
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

    pub(super) fn serve_uplink(&mut self, index: usize) {
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
            let slowness = self.nodes[index].slowness;
            self.faults.effect(Trouble::Slow, u64::from(slowness > 1));
            let time = (len as u64 * 1_000_000_000).checked_div(up).unwrap_or(0) * slowness;
            return self.plan(self.now + time, What::Left { end: key, len });
        }
    }

    pub(crate) fn segment_left(&mut self, key: EndKey, len: usize) {
        let Some(index) = self.end(key).map(|end| end.node) else { return };
        self.nodes[index].uplink.busy = false;
        if let Some(end) = self.end_mut(key) {
            end.leaving = false;
            let len = len.min(end.kernel.len());
            let bytes = super::take_front(&mut end.kernel, len);
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

    pub(super) fn send_fin(&mut self, key: EndKey) {
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

    pub(super) fn finished(&mut self, key: EndKey, index: usize, conn: ConnId) {
        if let Some(end) = self.end_mut(key) {
            end.known = false;
        }
        self.nodes[index].conns.remove(&conn);
        self.collect(key.0);
        self.deliver(index, Event::Closed { conn, cause: CloseCause::Finished });
    }

    pub(super) fn reset_other(&mut self, key: EndKey) {
        if let Some(end) = self.end_mut(key) {
            end.fin_sent = true;
        }
        self.send(key, Parcel::Rst);
    }

    /// Across the network to the other end, in order.
    pub(super) fn send(&mut self, from: EndKey, parcel: Parcel) {
        let to = (from.0, 1 - from.1);
        let Some(a) = self.end(from).map(|end| end.node) else { return };
        let Some(b) = self.end(to).map(|end| end.node) else { return };
        if let Some(trouble) = self.cut_between(a, b) {
            self.faults.effect(trouble, 1);
            if let Some(end) = self.end_mut(to) {
                end.held_back.push(parcel);
            }
            return;
        }
        let at = self.now + self.latency(a, b);
        let Some(end) = self.end_mut(to) else { return };
        let at = at.max(end.last_arrival);
        end.last_arrival = at;
        self.plan(at, What::Arrive { end: to, parcel });
    }

    /// What was held back on a way that works again goes on.
    pub(crate) fn heal(&mut self, way: (usize, usize)) {
        for link in 0..self.links.len() {
            for side in 0..2 {
                let key = (link, side);
                let Some(other) = self.end((link, 1 - side)).map(|end| end.node) else { continue };
                let Some(end) = self.end_mut(key) else { continue };
                if (other, end.node) != way {
                    continue;
                }
                let parcels = std::mem::take(&mut end.held_back);
                for parcel in parcels {
                    self.send((link, 1 - side), parcel);
                }
            }
        }
    }
}
