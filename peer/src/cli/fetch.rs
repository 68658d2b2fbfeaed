//! `peer fetch`: download, verify, and serve meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use super::args::{Args, Flag, Kind};
use super::common::{self, OUTPUT_FLAGS, TRACKER_FLAGS, TRANSFER_FLAGS, Tracking, Transfer};
use super::errors::{CliError, Context};
use super::exit::Exit;
use super::format::whole_span;
use super::report::{About, Memory, Remembering, Report as _, choose};
use super::runtime::{Plan, run, workers};
use super::target::{self, Wanted};
use super::values;
use super::{Command, Shell};
use crate::disk::IfExists;
use crate::job::{FetchJob, Job, Linger, Target};
use crate::notice::{Failure, Notice, VerifyProblem};

/// Without a byte for so long a fetch gives up, unless told otherwise.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

const fn flag(
    long: &'static str,
    kind: Kind,
    env: &'static str,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { long, short: None, kind, env, default, help }
}

const FLAGS: &[Flag] = &[
    Flag {
        long: "--output",
        short: Some('o'),
        kind: Kind::Value("DIR"),
        env: "PEER_OUTPUT",
        default: "the current one",
        help: "folder to put it in; made if need be",
    },
    flag(
        "--if-exists",
        Kind::Value("WHAT"),
        "PEER_IF_EXISTS",
        "verify",
        "verify (fine if it is the same)|fail|skip|replace",
    ),
    flag(
        "--wait",
        Kind::Value("TIME"),
        "PEER_WAIT",
        "not",
        "wait so long for the name to be published",
    ),
    flag(
        "--timeout",
        Kind::Value("TIME"),
        "PEER_TIMEOUT",
        "never",
        "give up after so long altogether",
    ),
    flag(
        "--stall-timeout",
        Kind::Value("TIME"),
        "PEER_STALL_TIMEOUT",
        "60s",
        "give up after so long without a byte; off: never",
    ),
    flag(
        "--reserve",
        Kind::Value("SIZE"),
        "PEER_RESERVE",
        "0",
        "bytes to leave free on the disk: 5G",
    ),
    flag(
        "--no-sync",
        Kind::Switch,
        "PEER_NO_SYNC",
        "",
        "do not wait for the disk: faster; a power cut soon after may leave damaged files under the final name",
    ),
    flag(
        "--check",
        Kind::Switch,
        "PEER_CHECK",
        "",
        "read all files again at the end and compare their SHA-256",
    ),
    flag(
        "--seed-time",
        Kind::Value("TIME"),
        "PEER_SEED_TIME",
        "0",
        "serve others for so long afterwards",
    ),
    flag("--stay", Kind::Switch, "PEER_STAY", "", "serve others afterwards until stopped"),
];

/// `peer fetch`.
pub(crate) const COMMAND: Command = Command {
    name: "fetch",
    alias: Some("get"),
    about: "download by name and verify, serving others meanwhile",
    usage: &[
        "fetch NAME[@VERSION] [flags]",
        "fetch NAME@sha256:DIGEST [flags]",
        "fetch NAME/INNER/PATH [flags]",
        "fetch FILE.swarm [flags]",
    ],
    details: &[
        "Fetches the newest version, an exact one, or only a part of a folder. Every piece is checked",
        "before it is written. Interrupted, even by power loss, the same command goes on where it was.",
        "Stdout gets the final path and nothing else, so that cd \"$(peer fetch NAME)\" works; for a",
        "single file, stderr gets a line as sha256sum prints it, too.",
    ],
    examples: &[
        ("peer fetch llama-70b -o /models", "to /models/llama-70b"),
        ("peer fetch llama-70b@3 -T 10.0.0.5", "version 3, from another tracker"),
        ("peer fetch llama-70b/config.json", "one file of a folder"),
        ("peer fetch nightly --wait 10m --timeout 1h", "wait for it to be published"),
        ("cd \"$(peer fetch llama-70b -q)\"", "in scripts"),
    ],
    flags: &[
        ("Flags", FLAGS),
        ("Tracker", TRACKER_FLAGS),
        ("Transfer", TRANSFER_FLAGS),
        ("Output", OUTPUT_FLAGS),
    ],
    run: fetch,
};

/// What the command line says, but for the target.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    folder: PathBuf,
    if_exists: IfExists,
    wait: Duration,
    timeout: Option<Duration>,
    stall_timeout: Option<Duration>,
    reserve: u64,
    sync: bool,
    check: bool,
    linger: Linger,
}

impl Options {
    fn read(args: &mut Args) -> Result<Self, CliError> {
        let seed_time = args.value("--seed-time", values::duration)?;
        let linger = match (args.switch("--stay")?, seed_time) {
            (true, Some(_)) => {
                return Err(common::conflict(args.command(), "--stay", "--seed-time"));
            }
            (true, None) => Linger::Forever,
            (false, Some(span)) if !span.is_zero() => Linger::For(span),
            (false, _) => Linger::No,
        };
        let if_exists = |text: &str| match text {
            "verify" => Ok(IfExists::Verify),
            "fail" => Ok(IfExists::Fail),
            "skip" => Ok(IfExists::Skip),
            "replace" => Ok(IfExists::Replace),
            _ => Err("expected verify, fail, skip or replace".to_owned()),
        };
        let stall_timeout = args.value("--stall-timeout", values::optional_duration)?;
        Ok(Self {
            folder: args.path("--output").unwrap_or_else(|| PathBuf::from(".")),
            if_exists: args.value("--if-exists", if_exists)?.unwrap_or_default(),
            wait: args.value("--wait", values::duration)?.unwrap_or_default(),
            timeout: args.value("--timeout", values::optional_duration)?.flatten(),
            stall_timeout: stall_timeout.unwrap_or(Some(STALL_TIMEOUT)),
            reserve: args.value("--reserve", values::size)?.unwrap_or(0),
            sync: !args.switch("--no-sync")?,
            check: args.switch("--check")?,
            linger,
        })
    }

    fn job(self, target: Target) -> Job {
        Job::Fetch(FetchJob {
            target,
            folder: self.folder,
            if_exists: self.if_exists,
            sync: self.sync,
            reserve: self.reserve,
            wait: self.wait,
            timeout: self.timeout,
            stall_timeout: self.stall_timeout,
            check: self.check,
            linger: self.linger,
        })
    }
}

fn fetch(mut args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = args.command();
    let Wanted { target, typed, trackers } = target::read(&mut args)?;
    let options = Options::read(&mut args)?;
    let tracking = Tracking::read(&mut args, shell.env)?;
    let transfer = Transfer::read(&mut args)?;
    args.finish()?;

    let trackers = tracking.trackers(&trackers);
    let context = Context { command, subject: typed.clone(), trackers: trackers.clone() };
    let about = About {
        tracker: trackers.first().cloned(),
        workers: workers(&transfer),
        checks: options.check,
        ..About::new(command, typed, &shell.output)
    };
    let waits = options.wait;
    let job = options.job(target);
    let mut watched =
        Remembering { report: choose(&shell.output, about), memory: Outcome::default() };
    let plan = Plan { jobs: vec![job], trackers, tracking, transfer, listens: true };
    let ended = run(plan, &mut watched, &mut shell.console)?;
    let outcome = match watched.memory.problem.take() {
        Some(problem) => Err(differs(&context, &problem)),
        // Serving on afterwards is over when somebody stops it; the data is all there.
        None if watched.memory.done && ended.failures.is_empty() => Ok(()),
        None => ended.conclude(&context).and_then(|()| Err(ended.nothing_happened())),
    };
    let no_name = matches!(ended.failures.first(), Some(Failure::NotFound { .. }));
    let outcome = outcome.map_err(|error| if no_name { waited(waits, error) } else { error });
    watched.end(ended.at, outcome.as_ref().map(|_| ()), &mut shell.console);
    outcome.map(|()| Exit::DONE)
}

/// A name that did not appear in the time given is a matter of time.
fn waited(wait: Duration, error: CliError) -> CliError {
    if wait.is_zero() {
        return error;
    }
    let what = format!("{} within {}", error.what, whole_span(wait));
    CliError { exit: Exit::TIMED_OUT, what, ..error }
}

fn differs(context: &Context, problem: &VerifyProblem) -> CliError {
    CliError::new(
        Exit::INTEGRITY,
        format!("'{}' is not on the disk as it was fetched", context.subject),
        format!("{}: {}", problem.path, problem.what),
        "suspect the disk or the memory of this machine; fetch it again with --if-exists replace"
            .to_owned(),
    )
}

/// What decides the exit code.
#[derive(Debug, Default)]
struct Outcome {
    done: bool,
    problem: Option<VerifyProblem>,
}

impl Memory for Outcome {
    fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::FetchDone { .. } => self.done = true,
            Notice::Verified { problems, .. } => self.problem = problems.first().cloned(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn read(words: &[&str]) -> Result<Options, CliError> {
        let words = words.iter().map(OsString::from).collect();
        Options::read(&mut Args::parse("fetch", &[FLAGS], words, &|_| None)?)
    }

    #[test]
    fn defaults() {
        let defaults = Options {
            folder: ".".into(),
            if_exists: IfExists::Verify,
            wait: Duration::ZERO,
            timeout: None,
            stall_timeout: Some(Duration::from_secs(60)),
            reserve: 0,
            sync: true,
            check: false,
            linger: Linger::No,
        };
        assert_eq!(read(&[]).unwrap(), defaults);
    }

    #[test]
    fn arguments() {
        let options = read(&["-o", "/m", "--if-exists=skip", "--wait", "10m", "--timeout", "1h"]);
        let options = options.unwrap();
        assert_eq!((options.folder, options.if_exists), ("/m".into(), IfExists::Skip));
        assert_eq!(options.wait, Duration::from_secs(600));
        assert_eq!(options.timeout, Some(Duration::from_secs(3_600)));
        let options =
            read(&["--stall-timeout=off", "--reserve=5G", "--no-sync", "--check"]).unwrap();
        assert_eq!((options.stall_timeout, options.reserve), (None, 5 << 30));
        assert!(!options.sync && options.check);
        assert_eq!(read(&["--stay"]).unwrap().linger, Linger::Forever);
        let minute = Linger::For(Duration::from_secs(60));
        assert_eq!(read(&["--seed-time", "1m"]).unwrap().linger, minute);
        for words in [&["--stay", "--seed-time", "1m"][..], &["--if-exists", "x"], &["--wait", "9"]]
        {
            assert_eq!(read(words).unwrap_err().exit, Exit::USAGE, "{words:?}");
        }
    }
}
