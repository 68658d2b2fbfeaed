//! Calm swarms: how close the last of many fetchers comes to what no scheduler could beat.
//!
//! One seeder, everybody else starts at the same time and stays. Nothing breaks, so what is lost against
//! the bound is lost by deciding badly who gets which piece from whom, and when.

mod plot;
mod report;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use peer::job::{Config, Linger};
use peer::notice::Notice;

use crate::disk::Disk;
use crate::{NodeKey, Profile, Stuck, Tree, World, jobs};

pub use report::publish;

/// Bytes of a piece, as a power of two.
const PIECE_LOG2: u8 = 18;
/// Bytes per second that the seeder sends, and a usual fetcher.
const RATE: u64 = 2_000_000;
/// Bytes per second that everybody can receive.
const DOWN: u64 = 4 * RATE;
/// Bytes per second in both directions on links of 100 Mbit/s.
const SWITCHED_RATE: u64 = 12_500_000;
/// Enough for 1000 fetchers: whole pieces then cost 2 % against a fluid.
const PIECES: usize = 450;
/// What nobody needs, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(3_600);
const NAME: &str = "thing";
/// How many swarms are measured at the same time: one of 1000 takes 8 GB.
const AT_ONCE: usize = 2;

/// What the fetchers send with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// As much as the seeder.
    Equal,
    /// A third of them half as much as the seeder, a third as much, a third twice as much.
    Mixed,
    /// A quarter of what the seeder sends with.
    Slow,
    /// As much as the seeder, and everybody receives no more than that and leaves when done.
    Switched,
    /// The same, but the last one has a tenth of it in both directions. How long that one takes does not
    /// count.
    OneSlow,
}

impl Links {
    /// All of those in which everybody counts, and stays.
    pub const ALL: [Self; 3] = [Self::Equal, Self::Mixed, Self::Slow];

    /// In a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Mixed => "half, equal and double",
            Self::Slow => "a quarter",
            Self::Switched => "equal, in both directions",
            Self::OneSlow => "equal, in both directions, and one a tenth",
        }
    }

    /// Bytes per second that the seeder sends.
    fn rate(self) -> u64 {
        match self {
            Self::Equal | Self::Mixed | Self::Slow => RATE,
            Self::Switched | Self::OneSlow => SWITCHED_RATE,
        }
    }

    /// Bytes per second that the `index`th of so many fetchers sends, and receives.
    fn of(self, index: usize, fetchers: usize) -> (u64, u64) {
        match self {
            Self::Equal => (RATE, DOWN),
            Self::Mixed => ([RATE / 2, RATE, RATE * 2][index % 3], DOWN),
            Self::Slow => (RATE / 4, DOWN),
            Self::OneSlow if index + 1 == fetchers => (SWITCHED_RATE / 10, SWITCHED_RATE / 10),
            Self::Switched | Self::OneSlow => (SWITCHED_RATE, SWITCHED_RATE),
        }
    }

    /// How many of the fetchers, the last ones, nobody waits for.
    fn late(self) -> usize {
        usize::from(self == Self::OneSlow)
    }

    fn linger(self) -> Linger {
        match self {
            Self::Equal | Self::Mixed | Self::Slow => Linger::Forever,
            Self::Switched | Self::OneSlow => Linger::No,
        }
    }
}

/// A swarm to measure.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What the fetchers send with.
    pub links: Links,
    /// How many fetchers there are.
    pub fetchers: usize,
    /// Pieces of the object, 256 KiB each.
    pub pieces: usize,
}

/// How a run went.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// What was measured.
    pub shape: Shape,
    /// From the start of all fetchers to the completion of the last one.
    pub took: Duration,
    /// What no way to distribute the pieces can beat.
    pub bound: Duration,
    /// Copies of the object that the seeder sent until each piece had left it once.
    pub first_copies: f64,
    /// Copies that it sent altogether.
    pub copies: f64,
    /// Bytes that were received and thrown away, as a part of all that had to be received.
    pub waste: f64,
    /// Events.
    pub steps: u64,
}

impl Figures {
    /// How many times the bound it took.
    pub fn ratio(&self) -> f64 {
        self.took.as_secs_f64() / self.bound.as_secs_f64()
    }
}

impl Shape {
    fn len(self) -> usize {
        self.pieces << PIECE_LOG2
    }

    /// The least time in which everybody can have everything: the seeder has to send all of it once, each
    /// fetcher has to receive it, and all together have to send it once for each fetcher (Kumar and Ross,
    /// 2006). With equal links whole pieces take a little longer: the last one can't begin to leave the
    /// seeder before the others have, and then those that hold it at most double with each piece sent
    /// (Mundinger, Weber and Weiss, 2008).
    #[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
    pub fn bound(self) -> Duration {
        let (len, rate) = (self.len() as f64, self.links.rate() as f64);
        let waited_for = self.fetchers - self.links.late();
        let links = (0..self.fetchers).map(|index| self.links.of(index, self.fetchers));
        let all_up = self.links.rate() + links.clone().map(|(up, _)| up).sum::<u64>();
        let together = waited_for as f64 * len / all_up as f64;
        let down = links.take(waited_for).map(|(_, down)| down).min().unwrap_or(DOWN);
        let fluid = (len / rate).max(len / down as f64).max(together);
        let rounds = (self.pieces + self.fetchers.ilog2() as usize) as f64 / self.pieces as f64;
        let whole = if self.links == Links::Equal { len / rate * rounds } else { 0.0 };
        Duration::from_secs_f64(fluid.max(whole))
    }
}

fn small_buffers(config: &mut Config) {
    config.buffer_bytes = 8 << 20;
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, first_copies, copies, waste, steps, .. } = self;
        write!(
            f,
            "{} fetchers, rates {}: {:.2} s, {:.3} times the bound; copies {first_copies:.2} until \
             all had left, {copies:.2} in all; waste {waste:.4}; {steps} events",
            shape.fetchers,
            shape.links.name(),
            self.took.as_secs_f64(),
            self.ratio(),
        )
    }
}

/// What the figures are of: equal links in steps of about three, the others in steps of ten.
pub fn shapes(largest: usize) -> Vec<Shape> {
    let sizes = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000].into_iter();
    let sizes: Vec<_> = sizes.take_while(|size| *size <= largest).collect();
    let of = |links, sizes: Vec<usize>| {
        sizes.into_iter().map(move |fetchers| Shape { links, fetchers, pieces: PIECES })
    };
    let tens: Vec<_> =
        sizes.iter().copied().filter(|size| [10, 100, 1_000].contains(size)).collect();
    let [equal, mixed, slow] = Links::ALL;
    of(equal, sizes).chain(of(mixed, tens.clone())).chain(of(slow, tens)).collect()
}

/// Runs swarms side by side, the largest first. Calls `note` as each ends, with its figures and with those
/// of all that have ended, in the order of the shapes.
///
/// # Errors
/// The first that [`measure`] gives.
pub fn measure_all(
    seed: u64,
    shapes: &[Shape],
    note: impl FnMut(Figures, &[Figures]) + Send,
) -> Result<(), Stuck> {
    let mut order: Vec<_> = (0..shapes.len()).collect();
    order.sort_by_key(|at| Reverse(shapes[*at].fetchers));
    let order = Mutex::new(order.into_iter());
    let ended = Mutex::new((BTreeMap::new(), note));
    let worker = || {
        loop {
            let next = order.lock().expect("nobody panics with it").next();
            let Some(at) = next else { return Ok(()) };
            let figures = measure(seed, shapes[at])?;
            let (all, note) = &mut *ended.lock().expect("nobody panics with it");
            all.insert(at, figures);
            note(figures, &all.values().copied().collect::<Vec<_>>());
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("measuring does not panic"))
    })
}

/// Runs a swarm.
///
/// # Errors
/// When an invariant breaks or somebody does not complete.
#[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
pub fn measure(seed: u64, shape: Shape) -> Result<Figures, Stuck> {
    let mut world = World::new(seed);
    let tree = Tree::file(seed, shape.len());
    let manifest = tree.manifest(PIECE_LOG2);
    world.publish(&manifest, &tree);
    let known = Disk::known(tree.files.values().next().map_or(&[], Vec::as_slice));
    let tracker = world.add_tracker();
    world.start(tracker);
    let profile =
        Profile { up: shape.links.rate(), down: DOWN, ragged: false, ..Profile::default() };
    let jobs = jobs::serve(NAME, &manifest, "/in");
    let seeder = world.add_peer("seeder", jobs, &[tracker], profile.clone());
    world.disk(seeder).put("/in/thing", &tree);
    world.start(seeder);
    world.run_for(Duration::from_secs(2))?;
    let fetchers: Vec<NodeKey> = (0..shape.fetchers)
        .map(|index| {
            let jobs = jobs::fetch_object(NAME, manifest.id(), "/in", |job| {
                job.linger = shape.links.linger();
            });
            let (up, down) = shape.links.of(index, shape.fetchers);
            let profile = Profile { up, down, ..profile.clone() };
            let key = world.add_peer("fetcher", jobs, &[tracker], profile);
            world.tune(key, small_buffers);
            world.disk(key).share(&known);
            key
        })
        .collect();
    let began = world.elapsed();
    for key in &fetchers {
        world.start(*key);
    }
    let mut left = fetchers[..shape.fetchers - shape.links.late()].to_vec();
    let end = world.run_until(LIMIT, |world| {
        while left.last().is_some_and(|key| wasted(world, *key).is_some()) {
            left.pop();
        }
        left.is_empty()
    })?;
    let whole = shape.len() as f64;
    let left = world.left(seeder).pop().unwrap_or_default();
    let wasted: u64 = fetchers.iter().filter_map(|key| wasted(&world, *key)).sum();
    Ok(Figures {
        shape,
        took: end - began,
        bound: shape.bound(),
        first_copies: left.bytes_until_all.unwrap_or(left.bytes) as f64 / whole,
        copies: left.bytes as f64 / whole,
        waste: wasted as f64 / (whole * shape.fetchers as f64),
        steps: world.steps(),
    })
}

/// What a fetcher that is complete received and threw away.
fn wasted(world: &World, key: NodeKey) -> Option<u64> {
    world.notices(key).iter().find_map(|(_, notice)| match notice {
        Notice::FetchDone { wasted, .. } => Some(*wasted),
        _ => None,
    })
}
