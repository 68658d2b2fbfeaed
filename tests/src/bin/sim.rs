//! `cargo sim`: random swarms with random trouble, one for each seed.
//!
//! `--sweep` cuts the power at every operation of a fetcher's disk instead, in every way there is.
//!
//! `--scale N` runs so many peers in one swarm, calm and with churn, and prints what that takes.
//!
//! `--seed N` runs one of them, `--trace` prints all that happens in it; `--count N` runs so many and
//! `--minutes M` as many as fit, from `--from N` on.

use std::process::ExitCode;
use std::time::Duration;

use reactor::clock::Clock;
use reactor::{Time, seed::random_seed};
use tests::sweep::{self, Shape};
use tests::{plan, scale};

#[derive(Default)]
struct Args {
    seed: Option<u64>,
    from: Option<u64>,
    count: Option<u64>,
    minutes: Option<u64>,
    trace: bool,
    sweep: bool,
    scale: Option<u64>,
}

fn parse() -> Result<Args, String> {
    let mut args = Args::default();
    let mut given = std::env::args().skip(1);
    while let Some(flag) = given.next() {
        let slot = match flag.as_str() {
            "--trace" => {
                args.trace = true;
                continue;
            }
            "--sweep" => {
                args.sweep = true;
                continue;
            }
            "--seed" => &mut args.seed,
            "--from" => &mut args.from,
            "--count" => &mut args.count,
            "--scale" => &mut args.scale,
            "--minutes" => &mut args.minutes,
            other => return Err(format!("unknown option '{other}'")),
        };
        let value = given.next().ok_or_else(|| format!("{flag} needs a number"))?;
        *slot = Some(value.parse().map_err(|_| format!("{flag} needs a number, not '{value}'"))?);
    }
    Ok(args)
}

#[allow(clippy::print_stdout, reason = "this is a command")]
fn main() -> ExitCode {
    let args = match parse() {
        Ok(args) => args,
        Err(problem) => {
            eprintln!(
                "{problem}\nusage: cargo sim [--seed N [--trace]] [--from N] [--count N | --minutes M]\n       \
                 cargo sim --sweep | --scale N"
            );
            return ExitCode::from(2);
        }
    };
    if args.sweep {
        return sweep_all();
    }
    if let Some(peers) = args.scale {
        return scale_up(args.from.unwrap_or(1), usize::try_from(peers).unwrap_or(usize::MAX));
    }
    if let Some(seed) = args.seed {
        return match plan::run(seed, args.trace) {
            Ok(outcome) => {
                println!("{outcome:#?}");
                ExitCode::SUCCESS
            }
            Err(stuck) => {
                println!("{stuck}");
                ExitCode::FAILURE
            }
        };
    }
    let first = args.from.unwrap_or_else(|| random_seed().unwrap_or(1) >> 16);
    let until = args.minutes.map(|minutes| Time::ZERO + Duration::from_secs(minutes * 60));
    let usual = if until.is_some() { u64::MAX } else { 1_000 };
    let count = args.count.unwrap_or(usual);
    let clock = Clock::start();
    let (mut done, mut steps, mut failed, mut virtual_time) = (0, 0, 0, Duration::ZERO);
    while done < count && until.is_none_or(|until| clock.now() < until) {
        match plan::run(first + done, false) {
            Ok(outcome) => {
                steps += outcome.steps;
                virtual_time += outcome.took;
            }
            Err(stuck) => {
                failed += 1;
                println!("{stuck}\n");
            }
        }
        done += 1;
    }
    let real = clock.now().since(Time::ZERO);
    println!(
        "{done} seeds from {first}, {failed} failed, {steps} events, {} h of virtual time in {} s",
        virtual_time.as_secs() / 3600,
        real.as_secs()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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

/// What this process had in memory at most, as the system says.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown memory".to_owned(), |text| format!("{} of memory", text.trim()))
}
