//! Runs many seeds on all processors and adds up what they did.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reactor::Time;
use reactor::clock::Clock;

use crate::Stuck;
use crate::faults::Faults;
use crate::plan;

/// One seed in so many runs twice, and both runs must be the same.
const TWICE: u64 = 100;

/// Which seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// The first seed.
    pub first: u64,
    /// How many at most.
    pub count: u64,
    /// How long at most.
    pub time: Option<Duration>,
    /// Stop at the first failure.
    pub stop: bool,
    /// The bug to plant, if any.
    pub canary: Option<&'static str>,
}

/// What many runs did.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Seeds that ran.
    pub seeds: u64,
    /// Seeds that ran twice.
    pub twice: u64,
    /// Events.
    pub events: u64,
    /// Virtual time.
    pub virtual_time: Duration,
    /// Real time.
    pub real_time: Duration,
    /// What became of the trouble.
    pub faults: Faults,
    /// How often each mark was hit.
    pub marks: BTreeMap<&'static str, u64>,
    /// Seeds that failed, and how.
    pub failures: BTreeMap<u64, String>,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (injected, effective) = self.faults.totals();
        let real = self.real_time.as_secs_f64().max(0.001);
        write!(
            f,
            "{} seeds ({} twice), {} failed: {} events, {:.1} h of virtual time, {injected} faults \
             injected with {effective} effects, in {real:.1} s ({:.1} seeds/s)",
            self.seeds,
            self.twice,
            self.failures.len(),
            self.events,
            self.virtual_time.as_secs_f64() / 3_600.0,
            self.seeds as f64 / real,
        )
    }
}

/// Runs one seed, and sees that a second run does exactly the same if its turn has come.
///
/// # Errors
/// What went wrong.
pub fn run_one(seed: u64, sum: &mut Sum) -> Result<(), String> {
    let outcome = plan::run(seed, false).map_err(|stuck: Stuck| stuck.to_string())?;
    sum.events += outcome.steps;
    sum.virtual_time += outcome.took;
    sum.faults.add(&outcome.faults);
    if seed.is_multiple_of(TWICE) {
        sum.twice += 1;
        let again = plan::run(seed, false).map_err(|stuck| stuck.to_string())?;
        if again.hash != outcome.hash {
            return Err(format!(
                "seed {seed} does not run the same way twice: {} and {}\nreplay with a trace: \
                 cargo sim --seed {seed} --trace",
                outcome.hash, again.hash
            ));
        }
    }
    Ok(())
}

/// Runs seeds one after the other on each of `threads` threads; tells of failures at once.
///
/// # Panics
/// When a thread did.
pub fn run_many(order: Order, threads: usize, told: impl Fn(&str) + Sync) -> Sum {
    let clock = Clock::start();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new(Sum::default());
    let work = || {
        arm(order.canary);
        let mut sum = Sum::default();
        while !stop.load(Ordering::Relaxed) {
            let over = order.time.is_some_and(|time| clock.now().since(Time::ZERO) >= time);
            let at = next.fetch_add(1, Ordering::Relaxed);
            if over || at >= order.count {
                break;
            }
            let seed = order.first + at;
            sum.seeds += 1;
            if let Err(problem) = caught(|| run_one(seed, &mut sum), seed) {
                told(&problem);
                sum.failures.insert(seed, problem);
                stop.fetch_or(order.stop, Ordering::Relaxed);
            }
        }
        arm(None);
        sum.marks = take_marks();
        add(&mut total.lock().expect("no thread panics with the sum"), sum);
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("panics are caught"));
    });
    let mut total = total.into_inner().expect("no thread panics with the sum");
    total.real_time = clock.now().since(Time::ZERO);
    total
}

/// A panic of the code under test is a failure like any other.
fn caught(run: impl FnOnce() -> Result<(), String>, seed: u64) -> Result<(), String> {
    let run = std::panic::AssertUnwindSafe(run);
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        Err(format!("panic: {text}\nreplay with a trace: cargo sim --seed {seed} --trace"))
    })
}

fn add(total: &mut Sum, sum: Sum) {
    total.seeds += sum.seeds;
    total.twice += sum.twice;
    total.events += sum.events;
    total.virtual_time += sum.virtual_time;
    total.faults.add(&sum.faults);
    total.failures.extend(sum.failures);
    for (mark, hits) in sum.marks {
        *total.marks.entry(mark).or_insert(0) += hits;
    }
}

#[cfg(feature = "hooks")]
fn arm(canary: Option<&'static str>) {
    reactor::hooks::arm(canary);
}

#[cfg(not(feature = "hooks"))]
fn arm(_canary: Option<&'static str>) {}

#[cfg(feature = "hooks")]
fn take_marks() -> BTreeMap<&'static str, u64> {
    reactor::hooks::take_marks()
}

#[cfg(not(feature = "hooks"))]
fn take_marks() -> BTreeMap<&'static str, u64> {
    BTreeMap::new()
}
