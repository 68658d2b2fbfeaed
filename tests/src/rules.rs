//! More of what must always hold, beside `check`: rules about who is talked to and who is told what.
//!
//! * S5: no more data waits in a sending queue than a machine may put there, and nothing is kept for
//!   connections that are gone.
//! * S6: whoever was found corrupt is asked for nothing more.
//! * S7: whoever answers nothing is asked for no more than its window allows.
//! * S8: nobody is sent to a peer that has been dead for longer than its lease.
//! * S9: a name never goes back to an older version once a newer one is acknowledged.
//! * S12: no address is dialed that nobody can have.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use peer::notice::Notice;
use protocol::message::Swarm;
use protocol::{FrameReader, Incoming, Message};
use reactor::ConnId;

use crate::node::{Life, index_of};
use crate::world::World;

/// Bytes of data that may wait in a sending queue before a peer takes another block, and that block
/// (which may overtake smaller ones whose files are being opened).
const QUEUED_DATA_MAX: usize = 256 << 10;
/// A node that has been dead for so long must not be named any more: its lease of 55 s, and as much
/// again as a BEAT may have been on its way or the tracker asleep.
const FORGOTTEN_AFTER: u64 = 75_000_000_000;

/// Whoever was found corrupt is left alone for at least so long.
const SHUNNED_FOR: u64 = 590_000_000_000;

/// What the rules remember.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Who found whom corrupt, when, and as which processes: neither is the same after a restart.
    blamed: BTreeMap<(usize, usize), (u64, u64, u64)>,
    /// The newest version of each name that its publisher was told of, and when.
    acknowledged: BTreeMap<String, (u32, u64)>,
    /// Names are not followed any more: the tracker has lost its memory.
    pub(crate) wiped: bool,
    /// Before this, BEATs may have been late and leases extended.
    pub(crate) leases_from: u64,
    pub(crate) readers: BTreeMap<ConnId, FrameReader>,
}

impl World {
    /// Looks at what a process told.
    pub(crate) fn rules_on_notice(&mut self, index: usize, notice: &Notice) {
        match notice {
            Notice::PeerCorrupt { remote, .. } => {
                if let Some(guilty) = index_of(remote.ip()).filter(|at| *at < self.nodes.len()) {
                    let (ours, theirs) = (self.nodes[index].epoch, self.nodes[guilty].epoch);
                    self.rules.blamed.insert((index, guilty), (self.now, ours, theirs));
                }
            }
            Notice::Published { name, version, .. } if !self.rules.wiped => {
                let now = self.now;
                let newest = self.rules.acknowledged.entry(name.clone()).or_insert((0, now));
                if *version > newest.0 {
                    *newest = (*version, now);
                }
            }
            Notice::Found { swarm } if !self.rules.wiped => {
                let asked_from = self.nodes[index].boot;
                let record = &swarm.record;
                let Some((version, at)) = self.rules.acknowledged.get(&record.name) else { return };
                if asked_from > *at && record.version < *version {
                    let (old, name) = (record.version, &record.name);
                    let problem = format!("node {index} gets version {old} of '{name}'");
                    self.check.fail("S9", format!("{problem} after {version} was acknowledged"));
                }
            }
            _ => {}
        }
    }

    /// Whether `from` leaves `to` alone now, because it found it corrupt.
    pub(crate) fn shuns(&self, from: usize, to: usize) -> bool {
        let epochs = (self.nodes[from].epoch, self.nodes[to].epoch);
        self.rules.blamed.get(&(from, to)).is_some_and(|(at, ours, theirs)| {
            (*ours, *theirs) == epochs && self.now - at < SHUNNED_FOR
        })
    }

    /// A machine dials.
    pub(crate) fn rules_on_dial(&mut self, index: usize, remote: SocketAddr) {
        let ip = remote.ip();
        if remote.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
            self.check.fail("S12", format!("node {index} dials {remote}"));
        }
    }

    /// A block has joined: so many bytes of data wait in a sending queue, beside the largest block.
    pub(crate) fn rules_on_block(&mut self, index: usize, waiting: usize) {
        if waiting > QUEUED_DATA_MAX {
            let problem =
                format!("{waiting} bytes of data wait in a sending queue of node {index}");
            self.check.fail("S5", problem);
        }
    }

    /// Somebody was done what nobody honest may do.
    pub(crate) fn rules_on_complaint(&mut self, index: usize, complaint: Option<(ConnId, String)>) {
        let Some((conn, what)) = complaint else { return };
        let Some(&(link, side)) = self.nodes[index].conns.get(&conn) else { return };
        let Some(other) = self.end((link, 1 - side)).map(|end| end.node) else { return };
        if self.nodes[other].is_honest() {
            self.check.fail("S7", format!("node {other} to node {index}: {what}"));
        }
    }

    /// What a machine holds after an event.
    pub(crate) fn rules_on_load(&mut self, index: usize) {
        let load = self.nodes[index].program.as_ref().and_then(|program| program.load());
        let Some(load) = load else { return };
        if load.upload_queues > load.links {
            let problem = format!("{} upload queues for {} links", load.upload_queues, load.links);
            self.check.fail("S5", format!("node {index} keeps {problem}"));
        }
    }

    /// An honest tracker says something to a peer.
    pub(crate) fn rules_on_tracker(&mut self, conn: ConnId, mut bytes: &[u8]) {
        let mut reader = self.rules.readers.remove(&conn).unwrap_or_default();
        while let Ok(Some(incoming)) = reader.next(&mut bytes) {
            if let Incoming::Message(Message::Swarm(swarm)) = incoming {
                self.check_swarm(&swarm);
                self.leases_on_swarm(&swarm);
            }
        }
        self.rules.readers.insert(conn, reader);
    }

    fn check_swarm(&mut self, swarm: &Swarm) {
        for peer in &swarm.peers {
            let Some(node) = index_of(peer.addr.ip()).and_then(|at| self.nodes.get(at)) else {
                continue;
            };
            let gone = matches!(node.life, Life::Down | Life::Exited);
            let since = node.ended.max(self.rules.leases_from);
            if gone && self.now.saturating_sub(since) > FORGOTTEN_AFTER {
                let seconds = (self.now - node.ended) / 1_000_000_000;
                let text = format!("the tracker names {}, dead for {seconds} s", node.name);
                self.check.fail("S8", text);
                return;
            }
        }
    }
}
