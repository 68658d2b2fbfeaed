//! What a test does to the nodes of a world, and what it can see of them.

use std::net::SocketAddr;
use std::sync::Arc;

use peer::job::{Config, Job};
use peer::notice::Notice;
use protocol::Manifest;
use reactor::{Event, Time};
use tracker::store::MemoryStore;

use crate::check::Left;
use crate::content::Tree;
use crate::disk::Disk;
use crate::link::Link;
use crate::node::{EndKey, Life, Node, NodeKey, Profile, Spec, Twist, address};
use crate::world::World;

impl World {
    /// A tracker with an empty store, not started.
    pub fn add_tracker(&mut self) -> NodeKey {
        let store = MemoryStore::new(|| 1_800_000_000);
        let config = tracker::Config { grease: true, ..tracker::Config::default() };
        self.add(
            "tracker",
            Spec::Tracker { config, store },
            Profile { up: 0, down: 0, ..Profile::default() },
        )
    }

    /// A peer with these jobs, not started.
    pub fn add_peer(
        &mut self,
        name: &str,
        jobs: Vec<Job>,
        trackers: &[NodeKey],
        profile: Profile,
    ) -> NodeKey {
        let trackers = trackers.iter().map(|key| self.address_of(*key).to_string()).collect();
        self.add(name, Spec::Peer { jobs, trackers, tune: |_| {} }, profile)
    }

    fn add(&mut self, name: &str, spec: Spec, profile: Profile) -> NodeKey {
        let rng = self.rng.fork();
        self.nodes.push(Node::new(name, spec, profile, rng));
        NodeKey(self.nodes.len() - 1)
    }

    /// Changes settings that a peer will be started with.
    pub fn tune(&mut self, key: NodeKey, change: fn(&mut Config)) {
        if let Spec::Peer { tune, .. } = &mut self.nodes[key.0].spec {
            *tune = change;
        }
    }

    /// What it does when it is started next.
    pub fn set_jobs(&mut self, key: NodeKey, new: Vec<Job>) {
        if let Spec::Peer { jobs, .. } = &mut self.nodes[key.0].spec {
            *jobs = new;
        }
    }

    /// Says what an object is that no seeder of this world hashes.
    pub fn publish(&mut self, manifest: &Arc<Manifest>, tree: &Tree) {
        self.check.publish(manifest, tree);
    }

    /// Says that others may rightly find this node corrupt.
    pub fn may_blame(&mut self, key: NodeKey) {
        self.check.may_blame.insert(key.0);
    }

    /// Says that a node is honest, whatever it does: to see that blame of honest nodes is noticed.
    pub fn trust(&mut self, key: NodeKey) {
        self.check.may_blame.remove(&key.0);
    }

    /// What has left a node, object by object.
    pub fn left(&self, key: NodeKey) -> Vec<Left> {
        let mine = self.check.left.iter().filter(|((node, _), _)| *node == key.0);
        mine.map(|(_, left)| left.clone()).collect()
    }

    /// How often somebody was found corrupt.
    pub fn corrupt_found(&self) -> u64 {
        self.check.corrupt_found
    }

    /// Makes a node dishonest.
    pub fn twist(&mut self, key: NodeKey, twist: Twist) {
        if matches!(twist, Twist::Corrupt(_)) {
            self.may_blame(key);
        }
        self.nodes[key.0].twist = Some(twist);
    }

    /// How many connections were made.
    pub fn links_made(&self) -> usize {
        self.links.len()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node that was added as the `index`th, counting from 0.
    pub fn key(&self, index: usize) -> NodeKey {
        NodeKey(index)
    }

    /// Where a node listens.
    pub fn address_of(&self, key: NodeKey) -> SocketAddr {
        address(key.0)
    }

    /// A node's disk.
    pub fn disk(&self, key: NodeKey) -> Disk {
        self.nodes[key.0].disk.clone()
    }

    /// Whether it runs, and why not.
    pub fn life(&self, key: NodeKey) -> Life {
        self.nodes[key.0].life
    }

    /// What its processes told so far.
    pub fn notices(&self, key: NodeKey) -> &[(Time, Notice)] {
        &self.nodes[key.0].notices
    }

    /// Payload bytes that it sent and received over all connections.
    pub fn traffic(&self, key: NodeKey) -> (u64, u64) {
        (self.nodes[key.0].sent, self.nodes[key.0].received)
    }

    /// Gives a tracker a store with nothing in it, from its next start on.
    pub fn empty_store(&mut self, key: NodeKey) {
        if let Spec::Tracker { store, .. } = &mut self.nodes[key.0].spec {
            *store = MemoryStore::new(|| 1_800_000_000);
        }
    }

    /// Starts a node's process, or starts it again.
    pub fn start(&mut self, key: NodeKey) {
        let node = &mut self.nodes[key.0];
        if node.life == Life::Up || node.life == Life::Paused {
            return;
        }
        node.disk.set_clock(self.now);
        // What an earlier process left open for its last words ends here.
        let ends: Vec<EndKey> = node.conns.values().copied().collect();
        for end in ends {
            self.close_end(end, false);
        }
        let node = &mut self.nodes[key.0];
        node.boot(self.now);
        self.reset_links_of(key.0);
        self.note(key.0, "start", 0, 0);
        self.deliver(key.0, Event::Started);
        self.deliver(key.0, Event::Listening { local: address(key.0) });
    }

    /// Kills a node's process; its system closes its connections.
    pub fn kill(&mut self, key: NodeKey) {
        self.note(key.0, "kill", 0, 0);
        let ends: Vec<EndKey> = self.nodes[key.0].conns.values().copied().collect();
        for end in ends {
            let abruptly = self.rng.below(2) == 0;
            self.close_end(end, abruptly);
        }
        self.nodes[key.0].end_process(Life::Down);
        self.nodes[key.0].disk.forget_process();
    }

    /// As [`World::kill`], unless it does not run.
    pub fn kill_if_up(&mut self, key: NodeKey) {
        if matches!(self.life(key), Life::Up | Life::Paused) {
            self.kill(key);
        }
    }

    /// Takes a node's power away: its connections go silent, and of its disk only what is durable is
    /// sure to be left.
    pub fn cut_power(&mut self, key: NodeKey) {
        self.note(key.0, "dark", 0, 0);
        self.silence(key.0);
        let node = &mut self.nodes[key.0];
        node.end_process(Life::Down);
        node.dark = true;
        let mut rng = node.rng.fork();
        node.disk.lose_power(&mut rng);
        let node = &self.nodes[key.0];
        if node.syncs() {
            self.check.after_cut(key.0, &node.disk);
        }
    }

    /// Stops a process without ending it.
    pub fn pause(&mut self, key: NodeKey) {
        if self.nodes[key.0].life == Life::Up {
            self.note(key.0, "pause", 0, 0);
            self.nodes[key.0].life = Life::Paused;
        }
    }

    /// Lets a stopped process go on.
    pub fn resume(&mut self, key: NodeKey) {
        let node = &mut self.nodes[key.0];
        if node.life != Life::Paused {
            return;
        }
        node.life = Life::Up;
        for what in std::mem::take(&mut self.nodes[key.0].held) {
            self.plan(self.now, what);
        }
        self.note(key.0, "resume", 0, 0);
    }

    /// Asks a process to end.
    pub fn stop(&mut self, key: NodeKey) {
        self.deliver(key.0, Event::ShutdownRequested);
    }

    /// Cuts or heals the way between two nodes.
    pub fn set_cut(&mut self, a: NodeKey, b: NodeKey, cut: bool) {
        let pair = (a.0.min(b.0), a.0.max(b.0));
        if cut {
            self.cuts.insert(pair);
        } else if self.cuts.remove(&pair) {
            self.heal(pair);
        }
    }

    /// What is left though every process has ended: connections, locks, tasks. `None` if nothing. (S15)
    pub fn leftovers(&self) -> Option<String> {
        let held = |link: &&Link| link.ends.iter().any(|end| end.known);
        if let Some(link) = self.links.iter().flatten().find(held) {
            return Some(format!("a connection: {link:?}"));
        }
        let busy = |node: &&Node| !node.conns.is_empty() || node.program.is_some();
        self.nodes.iter().find(busy).map(|node| format!("{} is not over", node.name))
    }
}
