//! Crash sweep: a fetch is killed at every single operation of its disk, with every part of what was not
//! durable lost or torn; what is left is looked at, started again, and finished.
//!
//! One run of the whole fetch (machine, storage, disk) is recorded: what a power cut would find after
//! each operation. Each of these points is tried in many ways; disks that no program can tell apart are
//! tried once. Each is judged as it is, then storage starts on it and finishes the fetch; a part of them
//! (or all) goes through a whole swarm once more, and the runs that go on after a first cut are cut
//! again at each of their operations.
//!
//! Judged are S1 to S4 and S15 of the table in `check.rs`; and that no piece which was safe is lost.

mod after;
mod cuts;
mod shape;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use peer::notice::Notice;
use reactor::Rng;

use crate::disk::{CrashPoint, Disk, Fate};
use crate::{Life, NodeKey, Profile, World, jobs};
use after::Judge;
pub use cuts::Effort;
pub use shape::Shape;
use shape::{NAME, PLACE};

/// So many points at the end are always followed by a kill and a cut.
const LAST: usize = 14;

/// How thoroughly to sweep.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// At the points of the first run.
    pub first: Effort,
    /// At the points of runs that go on after a cut.
    pub second: Effort,
    /// Of so many different disks, one goes through a whole swarm.
    pub swarm_every: u64,
    /// Of so many points, one is followed by a second cut.
    pub again_every: usize,
}

impl Plan {
    /// For every test run.
    pub fn quick() -> Self {
        Self {
            first: Effort { all_up_to: 7, pairs_up_to: 0, random: 20 },
            second: Effort { all_up_to: 3, pairs_up_to: 0, random: 2 },
            swarm_every: 60,
            again_every: 12,
        }
    }

    /// Everything.
    pub fn full() -> Self {
        Self {
            first: Effort { all_up_to: 10, pairs_up_to: 64, random: 300 },
            second: Effort { all_up_to: 5, pairs_up_to: 0, random: 10 },
            swarm_every: 10,
            again_every: 1,
        }
    }
}

/// What was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Moments of the first run: one after each operation.
    pub points: u64,
    /// Moments of runs after a first cut.
    pub second_points: u64,
    /// Ways in which things were lost, over all moments.
    pub cuts: u64,
    /// Different disks that these left.
    pub disks: u64,
    /// Of them, brought to the end by a whole swarm.
    pub swarms: u64,
    /// Operations that were not durable, at most.
    pub pending: usize,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, more: Self) {
        self.points += more.points;
        self.second_points += more.second_points;
        self.cuts += more.cuts;
        self.disks += more.disks;
        self.swarms += more.swarms;
        self.pending = self.pending.max(more.pending);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points, second_points, cuts, disks, swarms, pending } = self;
        write!(
            f,
            "{points} points (+ {second_points} after a first cut), up to {pending} operations pending, \
             {cuts} cuts, {disks} different disks, {swarms} of them finished by a swarm"
        )
    }
}

/// Sweeps one shape.
///
/// # Errors
/// What went wrong, after which operation, and what was lost then.
pub fn sweep(shape: &Shape, plan: &Plan) -> Result<Figures, String> {
    sweep_on(shape, plan, |_| {})
}

/// The same on a disk that `spoil` has done something to.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_on(shape: &Shape, plan: &Plan, spoil: impl FnOnce(&Disk)) -> Result<Figures, String> {
    let swarm = Swarm::new(shape);
    spoil(&swarm.world.disk(swarm.fetcher));
    let mut sweep = Sweep {
        judge: Judge::new(shape),
        shape,
        plan,
        rng: Rng::new(1),
        seen: BTreeSet::new(),
        figures: Figures::default(),
        swarm,
    };
    sweep.run().map_err(|problem| format!("{}: {problem}", shape.name))?;
    Ok(sweep.figures)
}

struct Sweep<'a> {
    judge: Judge<'a>,
    shape: &'a Shape,
    plan: &'a Plan,
    rng: Rng,
    seen: BTreeSet<u64>,
    figures: Figures,
    swarm: Swarm,
}

impl Sweep<'_> {
    fn run(&mut self) -> Result<(), String> {
        let mut points = self.swarm.record(|disk| self.shape.prepare(disk))?;
        if self.shape.resumed {
            let half = &points[points.len() / 2];
            let fates: Vec<Fate> = (0..half.pending()).map(|_| Fate::draw(&mut self.rng)).collect();
            let points_then = self.swarm.record(|disk| disk.restore(half, &fates))?;
            points = points_then;
        }
        for (number, point) in points.iter().enumerate() {
            self.figures.points += 1;
            self.at(point, self.plan.first)?;
            // The end, where one thing takes the place of another, is never left out.
            let ends = number + LAST >= points.len();
            if number.is_multiple_of(self.plan.again_every) || ends {
                let only_kill = !number.is_multiple_of(self.plan.again_every);
                self.again(point, only_kill).map_err(|how| format!("{how}\nafter a first cut"))?;
            }
        }
        Ok(())
    }

    /// Goes on after a kill, and after cuts that leave all, nothing or something, and is cut again.
    fn again(&mut self, point: &CrashPoint, only_kill: bool) -> Result<(), String> {
        let drawn = (0..point.pending()).map(|_| Fate::draw(&mut self.rng)).collect();
        let all = |fate| Some(vec![fate; point.pending()]);
        let starts = [None, Some(drawn), all(Fate::Lost), all(Fate::Kept)];
        for fates in starts.into_iter().take(if only_kill { 1 } else { 4 }) {
            let points = self.swarm.record(|disk| match &fates {
                Some(fates) => disk.restore(point, fates),
                None => disk.restore_killed(point),
            })?;
            for point in &points {
                self.figures.second_points += 1;
                self.at(point, self.plan.second)?;
            }
        }
        Ok(())
    }

    /// Everything that may be left after one operation.
    fn at(&mut self, point: &CrashPoint, effort: Effort) -> Result<(), String> {
        self.figures.pending = self.figures.pending.max(point.pending());
        let disk = Disk::default();
        self.shape.prepare(&disk);
        disk.restore(point, &vec![Fate::Lost; point.pending()]);
        let confirmed = self.judge.confirmed(&disk);
        for fates in cuts::ways(point, effort, &mut self.rng) {
            self.figures.cuts += 1;
            disk.restore(point, &fates);
            if !self.is_new(&disk, &confirmed) {
                continue;
            }
            self.figures.disks += 1;
            let told = |problem| format!("{problem}\n{}", point.describe(&fates));
            self.judge.left(&disk).map_err(told)?;
            self.judge.restart(&disk, &confirmed).map_err(told)?;
            if self.figures.disks.is_multiple_of(self.plan.swarm_every) {
                self.figures.swarms += 1;
                let left = self.swarm.finish(|disk| disk.restore(point, &fates));
                self.judge.done(&left.map_err(told)?).map_err(told)?;
            }
        }
        Ok(())
    }

    fn is_new(&mut self, disk: &Disk, confirmed: &[u32]) -> bool {
        let mut hasher = DefaultHasher::new();
        (disk.fingerprint(), confirmed).hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }
}

/// A tracker, a seeder, and a fetcher that is started again and again.
struct Swarm {
    world: World,
    fetcher: NodeKey,
}

impl Swarm {
    fn new(shape: &Shape) -> Self {
        let mut world = World::new(1);
        let tracker = world.add_tracker();
        let serve = jobs::serve(NAME, &shape.manifest, "/in");
        let seeder = world.add_peer("seeder", serve, &[tracker], shape.profile());
        world.disk(seeder).put(PLACE, &shape.tree);
        world.publish(&shape.manifest, &shape.tree);
        let fetcher = world.add_peer("fetcher", shape.jobs(), &[tracker], Profile::default());
        shape.prepare(&world.disk(fetcher));
        world.start(tracker);
        world.start(seeder);
        Self { world, fetcher }
    }

    /// Runs the fetch on the disk that `make` makes, to its end.
    fn finish(&mut self, make: impl FnOnce(&Disk)) -> Result<Disk, String> {
        let disk = self.world.disk(self.fetcher);
        make(&disk);
        let told = self.world.notices(self.fetcher).len();
        self.world.start(self.fetcher);
        let fetcher = self.fetcher;
        let ended = |world: &World| world.life(fetcher) == Life::Exited;
        self.world
            .run_until(Duration::from_secs(300), ended)
            .map_err(|stuck| format!("the swarm does not complete: {stuck}"))?;
        let notices = &self.world.notices(fetcher)[told..];
        match notices.last() {
            Some((_, Notice::FetchDone { .. })) => Ok(disk),
            other => Err(format!("the swarm ends with {other:?}")),
        }
    }

    /// The same, and what a power cut would find after each operation of the disk.
    fn record(&mut self, make: impl FnOnce(&Disk)) -> Result<Vec<CrashPoint>, String> {
        let disk = self.finish(|disk| {
            make(disk);
            disk.keep_points();
        })?;
        Ok(disk.take_points())
    }
}
