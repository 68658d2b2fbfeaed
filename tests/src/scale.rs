//! Very many peers in one process: does the simulator hold them, and what do they cost?
//!
//! One small object in 64 pieces goes from a few seeders to everybody else. Calm, or with churn: some
//! are killed and come back, some lose power, some leave as soon as they are done, and the tracker is
//! away for a while. Every fetcher must complete, and every invariant holds all the time.

use std::fmt;
use std::time::Duration;

use peer::job::{Config, Linger};
use peer::notice::Notice;
use reactor::Rng;

use crate::{Life, NodeKey, Profile, Stuck, Tree, World, jobs};

/// Pieces of 4 KiB that the object has.
const PIECES: usize = 64;
const NAME: &str = "thing";
/// Fetchers start within this.
const ARRIVALS: Duration = Duration::from_secs(10);
/// Trouble happens within this.
const CHURN: Duration = Duration::from_secs(40);
/// Everything is over within this.
const LIMIT: Duration = Duration::from_secs(900);

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Peers, seeders included.
    pub peers: usize,
    /// Events.
    pub steps: u64,
    /// Connections made.
    pub links: usize,
    /// Virtual time until the last one was complete.
    pub took: Duration,
    /// Processes that were killed, lost power, or were started again because they gave up.
    pub restarts: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peers, steps, links, took, restarts } = self;
        let seconds = took.as_secs_f64();
        write!(
            f,
            "{peers} peers, {links} connections, {restarts} restarts: complete after {seconds:.1} s of \
             virtual time and {steps} events"
        )
    }
}

/// Runs so many peers.
///
/// # Errors
/// When an invariant breaks or somebody does not complete in time.
pub fn run(seed: u64, peers: usize, churn: bool) -> Result<Figures, Stuck> {
    let mut swarm = Swarm::new(seed, peers);
    if churn {
        swarm.stir();
    }
    swarm.complete()?;
    let took = swarm.world.elapsed();
    let (steps, links) = (swarm.world.steps(), swarm.world.links_made());
    swarm.end()?;
    Ok(Figures { peers, steps, links, took, restarts: swarm.restarts })
}

struct Swarm {
    world: World,
    rng: Rng,
    tracker: NodeKey,
    fetchers: Vec<NodeKey>,
    restarts: usize,
}

fn few_links(config: &mut Config) {
    config.max_peers = 10;
    config.buffer_bytes = 1 << 20;
}

impl Swarm {
    fn new(seed: u64, peers: usize) -> Self {
        let mut world = World::new(seed);
        let mut rng = world.rng().fork();
        let tree = Tree::file(seed, PIECES * 4_096);
        let manifest = tree.manifest(12);
        world.publish(&manifest, &tree);
        let tracker = world.add_tracker();
        world.start(tracker);
        let profile =
            Profile { up: 1_000_000, down: 4_000_000, ragged: false, ..Profile::default() };
        let seeders = (peers / 1_000).max(1);
        let mut fetchers = Vec::new();
        for index in 0..peers {
            let seeds = index < seeders;
            let jobs = if seeds {
                jobs::serve(NAME, &manifest, "/in")
            } else {
                jobs::fetch_object(NAME, manifest.id(), "/in", |job| {
                    job.wait = LIMIT;
                    job.linger = Linger::Forever;
                })
            };
            let name = if seeds { "seeder" } else { "fetcher" };
            let key = world.add_peer(name, jobs, &[tracker], profile.clone());
            world.tune(key, few_links);
            if seeds {
                world.disk(key).put("/in/thing", &tree);
                world.start(key);
                continue;
            }
            fetchers.push(key);
            let delay = rng.below(u64::try_from(ARRIVALS.as_millis()).unwrap_or(1));
            world.after(Duration::from_millis(2_000 + delay), move |world| world.start(key));
        }
        Self { world, rng, tracker, fetchers, restarts: 0 }
    }

    /// A fifth of all are killed or lose power, and come back.
    fn stir(&mut self) {
        for key in self.fetchers.clone() {
            let at = Duration::from_millis(3_000 + self.rng.below(30_000));
            let back = at + Duration::from_millis(100 + self.rng.below(8_000));
            match self.rng.below(10) {
                0 => self.world.after(at, move |world| world.kill_if_up(key)),
                1 => self.world.after(at, move |world| world.cut_power(key)),
                _ => continue,
            }
            self.restarts += 1;
            self.world.after(back, move |world| world.start(key));
        }
        let tracker = self.tracker;
        self.world.after(Duration::from_secs(8), move |world| world.kill_if_up(tracker));
        self.world.after(Duration::from_secs(14), move |world| world.start(tracker));
        debug_assert!(CHURN > Duration::from_secs(33), "all are back by then");
    }

    fn complete(&mut self) -> Result<(), Stuck> {
        let mut left = self.fetchers.clone();
        loop {
            left.retain(|key| !is_done(&self.world, *key));
            if left.is_empty() && self.world.elapsed() > CHURN.min(ARRIVALS) {
                return Ok(());
            }
            if self.world.elapsed() > LIMIT {
                let count = left.len();
                return Err(self.world.stuck(format!("{count} are not complete after {LIMIT:?}")));
            }
            if self.world.elapsed() > CHURN {
                for key in &left {
                    if matches!(self.world.life(*key), Life::Down | Life::Exited) {
                        self.restarts += 1;
                        self.world.start(*key);
                    }
                }
            }
            self.world.run_for(Duration::from_secs(1))?;
        }
    }

    /// Everybody stops, and nothing is left.
    fn end(&mut self) -> Result<(), Stuck> {
        // Who was to come back later comes back first.
        let later = CHURN.saturating_sub(self.world.elapsed());
        self.world.run_for(later)?;
        self.world.stop_all(Duration::from_secs(120))
    }
}

fn is_done(world: &World, key: NodeKey) -> bool {
    world.notices(key).iter().any(|(_, notice)| matches!(notice, Notice::FetchDone { .. }))
}
