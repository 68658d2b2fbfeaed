//! A random swarm with random trouble, drawn from one seed.
//!
//! Each kind of trouble is part of a run or not, so that some runs are calm in each respect. Trouble
//! lasts for a while, then everything heals: from then on every honest fetcher must complete within a
//! bound, whoever failed before being started again as a person would. One honest seeder always comes
//! back, so completion is always possible. Beside them there may be peers that do harm on purpose, and
//! people who ask, publish and compare.

mod errands;
mod orphans;
mod trouble;

use std::path::Path;
use std::time::Duration;

use peer::job::Linger;
use peer::notice::Notice;
use reactor::Rng;

use crate::content::Tree;
use crate::faults::{Faults, Trouble};
use crate::{Life, NodeKey, Profile, Stuck, Twist, World, jobs};

/// Trouble happens this long.
const TROUBLE: Duration = Duration::from_secs(30);
/// After that everything completes within this, beside the time that the bytes take.
const GRACE: Duration = Duration::from_secs(600);
const NAME: &str = "thing";

/// Piece sizes of which each run has one: objects are small here, so most pieces are, too.
const PIECES: [fn(&mut peer::job::Config); 5] = [
    |_| {},
    |config| config.piece_log2 = Some(12),
    |config| config.piece_log2 = Some(13),
    |config| config.piece_log2 = Some(14),
    |config| config.piece_log2 = Some(16),
];

/// Settings of which each fetcher has one.
const HABITS: [fn(&mut peer::job::Config); 6] = [
    |_| {},
    |_| {},
    |config| config.buffer_bytes = 1 << 13,
    |config| config.max_peers = 2,
    |config| config.down_limit = Some(400_000),
    |config| config.up_limit = Some(400_000),
];

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// What happened in it.
    pub trouble: Vec<Trouble>,
    /// Nodes in it.
    pub nodes: usize,
    /// Events in it.
    pub steps: u64,
    /// What became of the trouble.
    pub faults: Faults,
    /// Virtual time of the last completion.
    pub took: Duration,
    /// The hash of everything that happened.
    pub hash: String,
}

struct Plan {
    world: World,
    rng: Rng,
    trouble: Vec<Trouble>,
    tracker: NodeKey,
    seeders: Vec<NodeKey>,
    fetchers: Vec<NodeKey>,
    /// Peers that do harm on purpose.
    rogues: Vec<NodeKey>,
    /// Honest peers on whose completion nothing depends.
    others: Vec<NodeKey>,
    tree: Tree,
    slowest: u64,
    /// Index into [`PIECES`].
    pieces: usize,
    /// All seeders are away for a while after everything else has healed.
    orphans: bool,
}

/// Runs the swarm of one seed.
///
/// # Errors
/// When an invariant breaks or somebody does not complete in time.
pub fn run(seed: u64, trace: bool) -> Result<Outcome, Stuck> {
    let mut plan = Plan::new(seed, trace);
    plan.begin()?;
    plan.add_rogues();
    plan.add_errands();
    plan.spread_trouble();
    plan.world.run_for(TROUBLE)?;
    plan.heal();
    plan.be_orphans()?;
    let took = plan.complete()?;
    plan.compare()?;
    plan.look_again()?;
    plan.rest()?;
    plan.count_misdeeds();
    plan.world.stop_all(Duration::from_secs(60))?;
    plan.leave_no_parts()?;
    let (nodes, steps) = (plan.world.len(), plan.world.steps());
    let (hash, faults) = (plan.world.trace_hash(), plan.world.faults().clone());
    Ok(Outcome { trouble: plan.trouble, nodes, steps, faults, took, hash })
}

fn tree(rng: &mut Rng) -> Tree {
    let seed = rng.next_u64();
    match rng.below(4) {
        0 => Tree::file(seed, rng.index(5_000)),
        1 if rng.below(4) == 0 => Tree::file(seed, 100_000 + rng.index(3_000_000)),
        1 => Tree::file(seed, 50_000 + rng.index(500_000)),
        2 => Tree::folder(seed, 1 + rng.index(40), 10_000).with("empty", Vec::new()),
        _ => Tree::folder(seed, 2 + rng.index(6), 150_000).with_folder("hollow/folder"),
    }
}

fn profile(rng: &mut Rng) -> Profile {
    let rate = |rng: &mut Rng| 100_000 << rng.below(8);
    Profile {
        up: rate(rng),
        down: rate(rng),
        latency: Duration::from_micros(50 << rng.below(11)),
        segment: 1_460 << rng.below(5),
        ragged: rng.below(2) == 0,
        window: 16_384 << rng.below(6),
        send_buffer: 16_384 << rng.below(5),
        disk: 10_000_000 << rng.below(6),
        sync: Duration::from_millis(1 << rng.below(7)),
        drift_ppm: i64::try_from(rng.below(401)).unwrap_or(200) - 200,
        workers: 1 + rng.index(4),
    }
}

impl Plan {
    fn new(seed: u64, trace: bool) -> Self {
        let mut world = World::new(seed);
        world.set_replay(format!("cargo sim --seed {seed} --trace"), trace);
        let mut rng = world.rng().fork();
        let calm = rng.below(4) == 0;
        let mut trouble: Vec<Trouble> =
            Trouble::ALL.iter().copied().filter(|_| !calm && rng.below(4) == 0).collect();
        // Whoever publishes a name first owns it; a damaged name, or one that somebody takes while the
        // tracker has lost its memory, would be nobody's fault.
        if trouble.contains(&Trouble::Garble) || trouble.contains(&Trouble::Flood) {
            trouble.retain(|kind| *kind != Trouble::Wipe);
        }
        // Who publishes first after that owns the name, whatever has become of its file.
        if trouble.contains(&Trouble::Edit) {
            trouble.retain(|kind| *kind != Trouble::Wipe);
        }
        let orphans = orphans::draw(&mut rng, &mut trouble);
        world.set_about(trouble.iter().map(Trouble::to_string).collect::<Vec<_>>().join(", "));
        let tracker = world.add_tracker();
        let tree = tree(&mut rng);
        let (seeders, fetchers) = (Vec::new(), Vec::new());
        let (rogues, others, slowest) = (Vec::new(), Vec::new(), u64::MAX);
        let pieces = rng.index(PIECES.len());
        if trouble.contains(&Trouble::FalseTracker) {
            world.twist(tracker, Twist::Misname);
            world.faults().inject(Trouble::FalseTracker);
        }
        Self {
            world,
            rng,
            trouble,
            tracker,
            seeders,
            fetchers,
            rogues,
            others,
            tree,
            slowest,
            pieces,
            orphans,
        }
    }

    /// Who has everything has nothing beside it, if its last run said so: power that is lost before may
    /// bring back what was removed. (S15)
    fn leave_no_parts(&self) -> Result<(), Stuck> {
        // A disk that fails may not let go of what is to be removed, either; that is a warning.
        if [Trouble::Write, Trouble::Full].into_iter().any(|kind| self.has(kind)) {
            return Ok(());
        }
        let done = |key: &&NodeKey| {
            let mut said = self.world.said_in_this_run(**key);
            said.any(|notice| matches!(notice, Notice::FetchDone { .. }))
                && self.world.life(**key) == Life::Exited
        };
        for key in self.fetchers.iter().filter(done) {
            if let Some(part) = self.world.disk(*key).parts().first() {
                let left = format!("S15: left: {} of {key:?}", part.display());
                return Err(self.world.stuck(left));
            }
        }
        Ok(())
    }

    fn has(&self, kind: Trouble) -> bool {
        self.trouble.contains(&kind)
    }

    fn add_seeder(&mut self, twist: Option<Twist>) {
        let profile = profile(&mut self.rng);
        self.slowest = self.slowest.min(profile.up).min(profile.down);
        let path = format!("/share/{NAME}");
        let name = format!("seeder{}", self.seeders.len());
        let key = self.world.add_peer(&name, jobs::seed(&[&path]), &[self.tracker], profile);
        self.world.disk(key).put(&path, &self.tree);
        self.world.tune(key, PIECES[self.pieces]);
        if let Some(twist) = twist {
            self.world.twist(key, twist);
        }
        self.world.start(key);
        self.seeders.push(key);
    }

    fn begin(&mut self) -> Result<(), Stuck> {
        self.world.start(self.tracker);
        self.add_seeder(None);
        let first = self.seeders[0];
        let published = |notice: &Notice| matches!(notice, Notice::Published { .. });
        self.world.run_until(Duration::from_secs(60), |world| {
            world.notices(first).iter().any(|(_, notice)| published(notice))
        })?;
        for _ in 0..self.rng.below(3) {
            self.add_seeder(None);
        }
        let odds = 10_000 + self.rng.below(900_000);
        let twists = [
            (Trouble::Corrupt, Twist::Corrupt(odds)),
            (Trouble::Mute, Twist::Mute),
            (Trouble::Garble, Twist::Garble(odds / 4)),
            (Trouble::Repeat, Twist::Repeat(2)),
        ];
        for (kind, twist) in twists {
            if self.has(kind) {
                self.add_seeder(Some(twist));
                self.world.faults().inject(kind);
            }
        }
        for index in 0..1 + self.rng.index(6) {
            let profile = profile(&mut self.rng);
            let habits = if self.orphans { 0 } else { self.rng.index(HABITS.len()) };
            self.slowest = self.slowest.min(profile.up).min(profile.down);
            let linger = match self.rng.below(3) {
                0 => Linger::No,
                1 => Linger::Forever,
                _ => Linger::For(Duration::from_secs(5)),
            };
            // Who does without durability and loses power has only himself to blame.
            let sync = self.rng.below(4) != 0 || self.has(Trouble::Power);
            let check = self.rng.below(6) == 0;
            let jobs = jobs::fetch_with(NAME, "/in", |job| {
                job.check = check;
                job.wait = Duration::from_secs(120);
                job.linger = linger;
                job.sync = sync;
            });
            let name = format!("fetcher{index}");
            let key = self.world.add_peer(&name, jobs, &[self.tracker], profile);
            self.world.disk(key).allow_below(&["/in"]);
            self.world.tune(key, HABITS[habits]);
            if self.rng.below(3) == 0 {
                self.world.disk(key).cannot_reserve();
            }
            self.fetchers.push(key);
            let delay = Duration::from_millis(self.rng.below(6_000));
            self.world.after(delay, move |world| world.start(key));
        }
        Ok(())
    }

    fn heal(&mut self) {
        // A tracker that sleeps for longer than two intervals gives everybody the time back.
        let asleep = self.has(Trouble::TrackerPause) && self.rng.below(2) == 0;
        if asleep {
            let tracker = self.tracker;
            let later = Duration::from_secs(20 + self.rng.below(40));
            self.world.pause(tracker);
            self.world.after(later, move |world| world.resume(tracker));
        }
        self.world.untwist(self.tracker);
        let all: Vec<NodeKey> = (0..self.world.len()).map(|index| self.world.key(index)).collect();
        for (index, key) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                self.world.set_cut(*key, *other, false);
            }
            let disk = self.world.disk(*key);
            disk.set_quota(None);
            disk.fail_syncs(0);
            disk.fail_writes(0);
            self.world.set_network(*key, false, false, 1);
            if *key != self.tracker || !asleep {
                self.world.resume(*key);
            }
        }
        self.world.fail_store(self.tracker, None);
        self.world.start(self.tracker);
        if !self.orphans {
            self.start_seeders();
        }
    }

    fn start_seeders(&mut self) {
        for key in self.seeders.clone() {
            self.world.start(key);
        }
    }

    /// Every fetcher completes; one that gave up is started again, as a person would.
    fn complete(&mut self) -> Result<Duration, Stuck> {
        let bytes = self.tree.len() as u64 * (self.fetchers.len() as u64 + 2);
        let limit = GRACE + Duration::from_secs(3 * bytes / self.slowest.max(1));
        let end = self.world.elapsed() + limit;
        let mut tries = 0;
        loop {
            let (fetchers, tree) = (self.fetchers.clone(), &self.tree);
            let step = Duration::from_secs(5);
            if fetchers.iter().all(|key| has_it(&self.world, *key, tree)) {
                return Ok(self.world.elapsed());
            }
            if self.world.elapsed() > end {
                return Err(self.world.stuck(format!("not complete {limit:?} after all healed")));
            }
            self.supervise();
            for key in fetchers {
                let over = matches!(self.world.life(key), Life::Exited | Life::Down);
                if over && !has_it(&self.world, key, &self.tree) {
                    tries += 1;
                    self.world.start(key);
                }
            }
            if tries > 60 {
                return Err(self.world.stuck("a fetcher gives up again and again".to_owned()));
            }
            self.world.run_for(step)?;
        }
    }

    /// A tracker that ended because its store failed is started again, as a service would be.
    fn supervise(&mut self) {
        if self.world.life(self.tracker) == Life::Exited {
            self.world.faults().effect(Trouble::Store, 1);
            self.world.start(self.tracker);
        }
    }

    /// Every fetcher that called it complete has it, for good.
    fn compare(&self) -> Result<(), Stuck> {
        for key in self.fetchers.clone() {
            let Some(there) = self.world.disk(key).tree(Path::new(&format!("/in/{NAME}"))) else {
                return Err(self.world.stuck(format!("{key:?} has nothing")));
            };
            if let Some(difference) = self.tree.difference(&there) {
                return Err(self.world.stuck(format!("{key:?}: {difference}")));
            }
        }
        Ok(())
    }
}

fn has_it(world: &World, key: NodeKey, tree: &Tree) -> bool {
    let told = |notice: &Notice| matches!(notice, Notice::FetchDone { .. });
    if !world.notices(key).iter().any(|(_, notice)| told(notice)) {
        return false;
    }
    let path = format!("/in/{NAME}");
    let there = world.disk(key).tree(Path::new(&path));
    there.is_some_and(|there| tree.difference(&there).is_none())
}
