//! S8, the living half: nobody whose lease runs is forgotten.
//!
//! A second tracker that believes in leases and knows nothing else listens to what the first one gets
//! from honest peers. Whenever the first one says how many hold an object, it must not be fewer than the
//! second one knows for sure.

use std::collections::BTreeMap;

use protocol::message::Swarm;
use protocol::{Code, FrameReader, Holding, Incoming, Message, NodeId, ObjectId};
use reactor::{ConnId, Event};

use crate::world::World;

/// Shortest lease in nanoseconds, less what clocks may differ by in that time: whoever has sent a BEAT
/// within it can't be expired, and has missed two of them at most.
const SURE: u64 = 54_000_000_000;

#[derive(Debug, Default)]
struct Session {
    reader: FrameReader,
    node: Option<NodeId>,
}

#[derive(Debug, Default)]
struct Lease {
    last_beat: u64,
    holdings: BTreeMap<ObjectId, Holding>,
}

/// What the tracker has been told.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    sessions: BTreeMap<ConnId, Session>,
    leases: BTreeMap<NodeId, Lease>,
}

impl Leases {
    fn said(&mut self, now: u64, conn: ConnId, mut bytes: &[u8]) {
        let mut session = self.sessions.remove(&conn).unwrap_or_default();
        while let Ok(Some(incoming)) = session.reader.next(&mut bytes) {
            if let Incoming::Message(message) = incoming {
                self.message(now, &mut session, message);
            }
        }
        self.sessions.insert(conn, session);
    }

    fn message(&mut self, now: u64, session: &mut Session, message: Message) {
        if let Message::Hello(hello) = message {
            session.node = Some(hello.node);
            return;
        }
        let Some(node) = session.node else { return };
        match message {
            Message::Beat(_) => {
                let lease = self.leases.entry(node).or_default();
                // A lease that may have ended may have taken the holdings with it.
                if now - std::mem::replace(&mut lease.last_beat, now) >= SURE {
                    lease.holdings.clear();
                }
            }
            Message::Announce(announce) => {
                let Some(lease) = self.leases.get_mut(&node) else { return };
                if announce.reset {
                    lease.holdings.clear();
                }
                for entry in announce.entries {
                    lease.holdings.insert(entry.object, entry.holding);
                }
            }
            Message::Bye(bye) if matches!(bye.code, Code::OK | Code::SHUTDOWN) => {
                self.leases.remove(&node);
            }
            _ => {}
        }
    }

    /// Peers that surely hold some of an object.
    fn sure(&self, now: u64, object: ObjectId) -> usize {
        let holds = |lease: &&Lease| {
            let holding = lease.holdings.get(&object);
            now - lease.last_beat < SURE
                && holding.is_some_and(|holding| *holding != Holding::Dropped)
        };
        self.leases.values().filter(holds).count()
    }
}

impl World {
    /// Something happens to a tracker.
    pub(crate) fn leases_on_event<R>(&mut self, index: usize, event: &Event<'_, R>) {
        match event {
            Event::Started => self.leases = Leases::default(),
            Event::Received { conn, bytes } => {
                let other = self.nodes[index].conns.get(conn).and_then(|key| {
                    let other = self.end((key.0, 1 - key.1))?;
                    self.nodes.get(other.node)
                });
                if other.is_some_and(|node| node.is_honest()) {
                    self.leases.said(self.now, *conn, bytes);
                }
            }
            Event::Closed { conn, .. } => {
                self.leases.sessions.remove(conn);
            }
            _ => {}
        }
    }

    /// A tracker says who has something.
    pub(crate) fn leases_on_swarm(&mut self, swarm: &Swarm) {
        // Who borrows ids takes other peers' leases over, and gives them up.
        if self.nodes.iter().any(|node| node.is_rogue()) {
            return;
        }
        let object = swarm.record.object;
        let (told, sure) = (swarm.complete + swarm.partial, self.leases.sure(self.now, object));
        if (told as usize) < sure {
            let text = format!("the tracker knows {told} peers with {object:?}, and {sure} live");
            self.check.fail("S8", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Profile, Tree, jobs};

    #[test]
    fn a_live_peer_that_is_forgotten_is_noticed() {
        let mut world = World::new(1);
        let tracker = world.add_tracker();
        world.start(tracker);
        let seeder =
            world.add_peer("seeder", jobs::seed(&["/share/a"]), &[tracker], Profile::default());
        world.disk(seeder).put("/share/a", &Tree::file(1, 9_000));
        world.start(seeder);
        world.run_for(Duration::from_secs(2)).expect("all is well");
        let (object, holding) = {
            let known = world.leases.leases.values().next().expect("its lease");
            known
                .holdings
                .iter()
                .next()
                .map(|(object, holding)| (*object, *holding))
                .expect("it holds")
        };
        let ask = || jobs::fetch("a", "/in");
        let asker = world.add_peer("asker", ask(), &[tracker], Profile::default());
        world.start(asker);
        world.run_for(Duration::from_secs(5)).expect("nobody is forgotten");
        // One of whom the tracker should know, and does not.
        let mut lost = Lease { last_beat: world.now, ..Lease::default() };
        lost.holdings.insert(object, holding);
        world.leases.leases.insert(NodeId([7; 16]), lost);
        let asker = world.add_peer("asker", ask(), &[tracker], Profile::default());
        world.start(asker);
        let broken = world.run_for(Duration::from_secs(5)).expect_err("it is missing").to_string();
        assert!(broken.starts_with("S8: "), "{broken}");
    }
}
