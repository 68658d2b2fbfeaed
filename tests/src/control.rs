//! What a test does to the nodes of a world, and what it can see of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peer::job::{Config, Job};
use peer::notice::Notice;
use protocol::{Manifest, NodeId};
use reactor::{CloseCause, Event, Time};
use tracker::store::MemoryStore;

use crate::check::Left;
use crate::content::Tree;
use crate::disk::Disk;
use crate::faults::{Faults, Trouble};
use crate::link::Link;
use crate::node::{EndKey, Life, Node, NodeKey, Profile, Spec, Twist, address};
use crate::rogue::Script;
use crate::stuck::Stuck;
use crate::world::{What, World};

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
        // A damaged BITMAP may say another length of the manifest, and so make a wrong one of a right one.
        if matches!(twist, Twist::Corrupt(_) | Twist::Garble(_)) {
            self.may_blame(key);
        }
        self.nodes[key.0].twist = Some(twist);
    }

    /// How many connections were made.
    pub fn links_made(&self) -> usize {
        self.links.len()
    }

    /// Makes a node honest again.
    pub fn untwist(&mut self, key: NodeKey) {
        self.nodes[key.0].twist = None;
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
            self.faults.effect(Trouble::Wipe, u64::from(!store.snapshot().is_empty()));
            *store = MemoryStore::new(|| 1_800_000_000);
            self.rules.wiped = true;
        }
    }

    /// Lets a tracker's store fail from now on, or work again.
    pub fn fail_store(&mut self, key: NodeKey, failure: Option<tracker::store::StoreError>) {
        if let Spec::Tracker { store, .. } = &mut self.nodes[key.0].spec {
            store.fail_with(failure);
        }
    }

    /// What became of all trouble so far.
    pub fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// A node that does not run the real code, but misbehaves.
    pub fn add_rogue(&mut self, name: &str, script: Script, profile: Profile) -> NodeKey {
        self.add(name, Spec::Rogue(script), profile)
    }

    /// Changes how a node stands with its network.
    pub fn set_network(&mut self, key: NodeKey, refuses: bool, exhausted: bool, slowness: u64) {
        let node = &mut self.nodes[key.0];
        (node.refuses, node.exhausted, node.slowness) = (refuses, exhausted, slowness.max(1));
    }

    /// Sets a node's clock on the wall so far ahead.
    pub fn set_wall_clock(&mut self, key: NodeKey, ahead: Duration) {
        self.nodes[key.0].wall = crate::world::nanos(ahead);
    }

    /// Resets every connection of a node, both ends of it. How many.
    pub fn reset_links(&mut self, key: NodeKey) -> u64 {
        self.note(key.0, "reset", 0, 0);
        let ends: Vec<EndKey> = self.nodes[key.0].conns.values().copied().collect();
        for end in &ends {
            self.fail_end((end.0, 1 - end.1), CloseCause::Reset);
            self.fail_end(*end, CloseCause::Reset);
        }
        ends.len() as u64
    }

    /// What a node is called on the wire.
    pub fn id_of(&self, key: NodeKey) -> NodeId {
        self.nodes[key.0].id
    }

    /// How often a node did what nobody should.
    pub fn misdeeds(&self, key: NodeKey) -> u64 {
        self.nodes[key.0].program.as_ref().map_or(0, |program| program.misdeeds())
    }

    /// Names a rogue as somebody else from its next start on.
    pub fn set_script(&mut self, key: NodeKey, new: Script) {
        if let Spec::Rogue(script) = &mut self.nodes[key.0].spec {
            *script = new;
        }
    }

    /// Starts a node's process, or starts it again.
    pub fn start(&mut self, key: NodeKey) {
        let node = &mut self.nodes[key.0];
        if node.life == Life::Up || node.life == Life::Paused {
            return;
        }
        node.disk.set_clock(node.wall_clock(self.now));
        // What an earlier process left open for its last words ends here.
        let ends: Vec<EndKey> = node.conns.values().copied().collect();
        for end in ends {
            self.close_end(end, false);
        }
        let node = &mut self.nodes[key.0];
        node.boot(self.now);
        if node.is_tracker() {
            self.rules.readers.clear();
            self.rules.leases_from = self.now;
        }
        self.reset_links_of(key.0);
        self.note(key.0, "start", 0, 0);
        self.deliver(key.0, Event::Started);
        self.deliver(key.0, Event::Listening { local: address(key.0) });
    }

    /// Kills a node's process; its system closes its connections.
    pub fn kill(&mut self, key: NodeKey) {
        self.note(key.0, "kill", 0, 0);
        let node = &self.nodes[key.0];
        let kind = if node.is_tracker() { Trouble::Tracker } else { Trouble::Kill };
        self.faults.effect(kind, u64::from(node.program.is_some()));
        let ends: Vec<EndKey> = self.nodes[key.0].conns.values().copied().collect();
        for end in ends {
            let abruptly = self.rng.below(2) == 0;
            self.close_end(end, abruptly);
        }
        // Connections that wait for a stopped process to take them are nobody's now.
        for what in std::mem::take(&mut self.nodes[key.0].held) {
            if let What::Accepted { end, .. } | What::Connected { end, .. } = what {
                self.close_end(end, true);
            }
        }
        self.nodes[key.0].end_process(Life::Down, self.now);
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
        self.faults.effect(Trouble::Power, u64::from(self.nodes[key.0].program.is_some()));
        self.silence(key.0);
        let node = &mut self.nodes[key.0];
        node.end_process(Life::Down, self.now);
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
        if node.is_tracker() {
            self.rules.leases_from = self.now;
        }
        let node = &mut self.nodes[key.0];
        let held = std::mem::take(&mut node.held);
        let kind = if node.is_tracker() { Trouble::TrackerPause } else { Trouble::Pause };
        self.faults.effect(kind, held.len() as u64);
        for what in held {
            self.plan(self.now, what);
        }
        self.note(key.0, "resume", 0, 0);
    }

    /// Asks a process to end.
    pub fn stop(&mut self, key: NodeKey) {
        self.deliver(key.0, Event::ShutdownRequested);
    }

    /// Cuts or heals both ways between two nodes.
    pub fn set_cut(&mut self, a: NodeKey, b: NodeKey, cut: bool) {
        self.cut_way(a, b, cut.then_some(Trouble::Cut));
        self.cut_way(b, a, cut.then_some(Trouble::Cut));
    }

    /// Cuts the way from one node to another, or heals it. What is on it waits until then.
    pub fn cut_way(&mut self, from: NodeKey, to: NodeKey, trouble: Option<Trouble>) {
        let way = (from.0, to.0);
        self.rules.leases_from = self.now;
        match trouble {
            Some(trouble) => drop(self.cuts.insert(way, trouble)),
            None => {
                if self.cuts.remove(&way).is_some() {
                    self.heal(way);
                }
            }
        }
    }

    /// Everybody stops, and nothing is left. What fails to stop politely within the limit is not let off.
    ///
    /// # Errors
    /// Somebody does not stop, or something is left. (S15)
    pub fn stop_all(&mut self, within: Duration) -> Result<(), Stuck> {
        let all: Vec<NodeKey> = (0..self.len()).map(|index| self.key(index)).collect();
        for key in &all {
            self.resume(*key);
            if self.life(*key) == Life::Up {
                self.stop(*key);
            }
        }
        self.run_until(within, |world| {
            all.iter().all(|key| matches!(world.life(*key), Life::Exited | Life::Down))
        })?;
        self.run_for(Duration::from_secs(1_000))?;
        match self.leftovers() {
            Some(left) => Err(self.stuck(format!("S15: left: {left}"))),
            None => Ok(()),
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
