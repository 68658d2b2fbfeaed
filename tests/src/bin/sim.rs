//! `cargo sim`: random swarms with random trouble, one for each seed.
//!
//! `cargo sim N` runs so many seeds on all processors, `cargo sim 10m` as many as fit in so many minutes,
//! from `--from SEED` on, else from anywhere; `--seed N` runs one, and `--trace` prints all that happens in
//! it. `--coverage` also demands that every mark was hit and every kind of trouble had an effect;
//! `--canaries` plants one bug after the other and says how many seeds it took to find each.
//!
//! `--sweep` cuts the power at every operation of a fetcher's disk instead, in every way there is;
//! `--scale N` runs so many peers in one swarm, calm and with churn, and prints what that takes;
//! `--swarms N` measures calm swarms of up to so many fetchers against the bound, and renews the README's
//! table and the picture `docs/swarms.svg`.

use std::process::ExitCode;
use std::time::Duration;

use reactor::clock::Clock;
use reactor::{Time, seed::random_seed};
use tests::canaries::{CANARIES, Canary};
use tests::faults::Trouble;
use tests::marks::{MARKS, wanted};
use tests::runner::{Order, Sum, run_many};
use tests::sweep::{self, Shape};
use tests::{plan, scale, swarms};

const USAGE: &str = "usage: cargo sim [COUNT | MINUTESm] [--from SEED] [--threads N] [--coverage]
       cargo sim --seed SEED [--trace]
       cargo sim --canaries [--starts N] [--from SEED]
       cargo sim --sweep | --scale N | --swarms N";

#[derive(Default)]
struct Args {
    seed: Option<u64>,
    from: Option<u64>,
    count: Option<u64>,
    minutes: Option<u64>,
    threads: Option<u64>,
    starts: Option<u64>,
    trace: bool,
    sweep: bool,
    scale: Option<u64>,
    swarms: Option<u64>,
    coverage: bool,
    canaries: bool,
}

fn parse() -> Result<Args, String> {
    let mut args = Args::default();
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let number = |text: String| {
            text.parse().map_err(|_| format!("expected a number, got '{text}'")).map(Some)
        };
        let slot = match flag.as_str() {
            "--trace" => {
                args.trace = true;
                continue;
            }
            "--sweep" => {
                args.sweep = true;
                continue;
            }
            "--coverage" => {
                args.coverage = true;
                continue;
            }
            "--canaries" => {
                args.canaries = true;
                continue;
            }
            "--seed" => &mut args.seed,
            "--from" => &mut args.from,
            "--scale" => &mut args.scale,
            "--swarms" => &mut args.swarms,
            "--threads" => &mut args.threads,
            "--starts" => &mut args.starts,
            other if other.starts_with('-') => return Err(format!("unknown option '{other}'")),
            other => {
                match other.strip_suffix('m') {
                    Some(minutes) => args.minutes = number(minutes.to_owned())?,
                    None => args.count = number(other.to_owned())?,
                }
                continue;
            }
        };
        *slot = number(given.next().ok_or_else(|| format!("{flag} needs a number"))?)?;
    }
    if (args.coverage || args.canaries) && !cfg!(feature = "hooks") {
        return Err("built without marks and canaries; use `cargo sim`".to_owned());
    }
    Ok(args)
}

#[allow(clippy::print_stdout, reason = "this is a command")]
fn main() -> ExitCode {
    let args = match parse() {
        Ok(args) => args,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if args.sweep {
        return sweep_all();
    }
    if let Some(peers) = args.scale {
        return scale_up(args.from.unwrap_or(1), usize::try_from(peers).unwrap_or(usize::MAX));
    }
    if let Some(largest) = args.swarms {
        let largest = usize::try_from(largest).unwrap_or(usize::MAX);
        return measure_swarms(args.from.unwrap_or(1), largest);
    }
    let passed = if let Some(seed) = args.seed {
        let outcome = plan::run(seed, args.trace);
        match &outcome {
            Ok(outcome) => println!("{outcome:#?}"),
            Err(stuck) => println!("{stuck}"),
        }
        outcome.is_ok()
    } else if args.canaries {
        run_canaries(&args)
    } else {
        run_seeds(&args)
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn threads(args: &Args) -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    args.threads.and_then(|threads| usize::try_from(threads).ok()).unwrap_or(all)
}

fn first(args: &Args) -> u64 {
    // Round numbers of at most ten digits are easier to pass on.
    args.from.unwrap_or_else(|| random_seed().unwrap_or(1) % 100_000_000 * 100)
}

#[allow(clippy::print_stdout, reason = "this is a command")]
fn run_seeds(args: &Args) -> bool {
    let first = first(args);
    let time = args.minutes.map(|minutes| Duration::from_secs(minutes * 60));
    let usual = if time.is_some() { u64::MAX } else { 1_000 };
    let count = args.count.unwrap_or(usual);
    let order = Order { first, count, time, stop: false, canary: None };
    let sum = run_many(order, threads(args), |problem| println!("{problem}\n"));
    println!("from {first}: {sum}");
    let covered = !args.coverage || is_covered(&sum);
    sum.failures.is_empty() && covered
}

/// Says what was not reached, and what it would prove.
#[allow(clippy::print_stdout, reason = "this is a command")]
fn is_covered(sum: &Sum) -> bool {
    let (mut missing, wanted) = (0, wanted(sum.seeds));
    for (mark, proves) in MARKS {
        let hits = sum.marks.get(mark).copied().unwrap_or(0);
        println!("{hits:>10}  {mark}");
        if hits < wanted {
            missing += 1;
            println!("            MISSING, {wanted} wanted: {proves}");
        }
    }
    for kind in Trouble::ALL {
        let (injected, effective) = sum.faults.of(*kind);
        println!("{injected:>10}  injected, {effective} effects: {kind}");
        if injected == 0 || effective == 0 {
            missing += 1;
            println!("            MISSING: it had no effect");
        }
    }
    let all = MARKS.len() + Trouble::ALL.len();
    println!("{} of {all} marks and kinds of trouble are covered", all - missing);
    missing == 0
}

/// The first seed from `first` on that fails with a planted bug, and does not fail without it.
fn catch(canary: &Canary, first: u64, threads: usize) -> Option<(u64, String)> {
    let (mut from, end) = (first, first + canary.budget);
    while from < end {
        let planted = Some(canary.name);
        let order =
            Order { first: from, count: end - from, time: None, stop: true, canary: planted };
        let sum = run_many(order, threads, |_| {});
        let (seed, text) = sum.failures.first_key_value()?;
        let alone = Order { first: *seed, count: 1, canary: None, ..order };
        if run_many(alone, 1, |_| {}).failures.is_empty() {
            return Some((*seed, text.lines().next().unwrap_or("").to_owned()));
        }
        from = seed + 1;
    }
    None
}

/// Plants each bug, from several starting points, and prints the seeds that it took to find it.
#[allow(clippy::print_stdout, reason = "this is a command")]
fn run_canaries(args: &Args) -> bool {
    std::panic::set_hook(Box::new(|_| {}));
    let starts = args.starts.unwrap_or(5);
    let first = first(args);
    let mut all_caught = true;
    let threads = threads(args);
    println!(
        "{:<22} {:>6}  seeds until caught from {starts} starts after {first}",
        "canary", "median"
    );
    for canary in CANARIES {
        let mut taken = Vec::new();
        let mut why = String::new();
        for start in 0..starts {
            let from = first + start * 10_000;
            let caught = catch(canary, from, threads);
            taken.push(caught.as_ref().map(|(seed, _)| seed - from + 1));
            why = caught.map_or(why, |(_, text)| text);
        }
        taken.sort_unstable_by_key(|taken| taken.unwrap_or(u64::MAX));
        let shown =
            |taken: &Option<u64>| taken.map_or("never".to_owned(), |taken| taken.to_string());
        let median = shown(&taken[taken.len() / 2]);
        let list: Vec<String> = taken.iter().map(shown).collect();
        all_caught &= taken.iter().all(Option::is_some);
        let name = canary.name;
        println!("{name:<22} {median:>6}  {} ({}: {why})", list.join(" "), canary.what);
    }
    all_caught
}

#[allow(clippy::print_stdout, reason = "this is a command")]
fn sweep_all() -> ExitCode {
    let clock = Clock::start();
    let mut all = sweep::Figures::default();
    for shape in Shape::all() {
        match sweep::sweep(&shape, &sweep::Plan::full()) {
            Ok(figures) => {
                println!("{}: {figures}", shape.name);
                all += figures;
            }
            Err(problem) => {
                println!("{problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("all: {all}, in {} s", clock.now().since(Time::ZERO).as_secs());
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, reason = "this is a command")]
fn scale_up(seed: u64, peers: usize) -> ExitCode {
    for churn in [false, true] {
        let clock = Clock::start();
        let how = if churn { "churn" } else { "calm" };
        match scale::run(seed, peers, churn) {
            Ok(figures) => {
                let seconds = clock.now().since(Time::ZERO).as_secs_f64();
                println!("{how}: {figures}, in {seconds:.1} s with {}", peak_memory());
            }
            Err(stuck) => {
                let text = stuck.to_string();
                println!("{how}: {}", text.get(..4_000).unwrap_or(&text));
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stdout, reason = "this is a command")]
fn measure_swarms(seed: u64, largest: usize) -> ExitCode {
    let mut published = Ok(());
    let measured = swarms::measure_all(seed, &swarms::shapes(largest), |figures, all| {
        println!("{figures}");
        // The last ones take long: what is known is there before.
        published = swarms::publish(all);
    });
    if let Err(stuck) = measured {
        println!("{stuck}");
        return ExitCode::FAILURE;
    }
    match published {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// What this process had in memory at most, as the system says.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown memory".to_owned(), |text| format!("{} of memory", text.trim()))
}
