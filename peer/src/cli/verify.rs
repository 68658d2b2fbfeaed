//! `peer verify`: compare local files with what was published.

use std::path::PathBuf;

use super::args::Args;
use super::common::{OUTPUT_FLAGS, TRACKER_FLAGS, TRANSFER_FLAGS, Tracking, Transfer};
use super::console::Console;
use super::errors::{CliError, Context};
use super::escape::{escape, escape_path};
use super::exit::Exit;
use super::format::counted;
use super::report::{About, Moment, Report, choose};
use super::runtime::{Plan, run, workers};
use super::target::{self, Wanted};
use super::{Command, Shell};
use crate::job::{Job, Target};
use crate::notice::{Failure, Notice, Status, VerifyProblem};

/// `peer verify`.
pub(crate) const COMMAND: Command = Command {
    name: "verify",
    alias: None,
    about: "compare local files with what was published",
    usage: &["verify NAME[@VERSION] PATH [flags]", "verify FILE.swarm PATH [flags]"],
    details: &[
        "PATH is the file or folder that should be the object. Each difference is a line on stdout;",
        "any at all is exit code 8. With a .swarm file no network is needed.",
    ],
    examples: &[
        ("peer verify llama-70b /models/llama-70b", "with the newest version"),
        ("peer verify llama-70b@3 /models/llama-70b", "with version 3"),
        ("peer verify llama-70b.swarm ./llama-70b", "offline"),
    ],
    flags: &[("Tracker", TRACKER_FLAGS), ("Transfer", TRANSFER_FLAGS), ("Output", OUTPUT_FLAGS)],
    run: verify,
};

fn verify(mut args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = args.command();
    let Wanted { target, typed, trackers } = target::read(&mut args)?;
    let path = PathBuf::from(args.required("PATH")?);
    let tracking = Tracking::read(&mut args, shell.env)?;
    let transfer = Transfer::read(&mut args)?;
    args.finish()?;
    std::fs::symlink_metadata(&path).map_err(|error| CliError::file("verify", &path, &error))?;

    // With a metafile there is nothing to ask anybody.
    let trackers = match &target {
        Target::Manifest { .. } => Vec::new(),
        Target::Name { .. } | Target::Exact { .. } => tracking.trackers(&trackers),
    };
    let context = Context { command, subject: typed.clone(), trackers: trackers.clone() };
    let about = About {
        tracker: trackers.first().cloned(),
        workers: workers(&transfer),
        ..About::new(command, typed, &shell.output)
    };
    let mut check = Check {
        report: choose(&shell.output, about),
        prints: !shell.output.json && shell.output.quiet < 2,
        says: !shell.output.json && shell.output.quiet == 0,
        problems: None,
    };
    let jobs = vec![Job::Verify { target, path: path.clone() }];
    let plan = Plan { jobs, trackers, tracking, transfer, listens: false };
    let ended = run(plan, &mut check, &mut shell.console)?;
    let outcome = match check.problems.take() {
        Some(0) => Ok(()),
        Some(problems) => Err(CliError::new(
            Exit::INTEGRITY,
            format!("{} is not '{}'", path.display(), context.subject),
            counted(problems, "difference", "differences"),
            "fetch it again with --if-exists replace, or publish it as a new version".to_owned(),
        )),
        None => ended.conclude(&context).and_then(|()| Err(ended.nothing_happened())),
    };
    check.report.end(ended.at, outcome.as_ref().map(|_| ()), &mut shell.console);
    outcome.map(|()| Exit::DONE)
}

struct Check {
    report: Box<dyn Report>,
    prints: bool,
    says: bool,
    problems: Option<usize>,
}

impl Report for Check {
    fn notice(&mut self, at: Moment, notice: &Notice, console: &mut dyn Console) {
        match notice {
            Notice::Verified { path, problems, .. } => {
                self.problems = Some(problems.len());
                if self.prints {
                    problems.iter().for_each(|p| console.data(line(p).as_bytes()));
                    if problems.is_empty() && self.says {
                        console.line(&format!("{}: every byte is right", escape_path(path)));
                    }
                } else {
                    self.report.notice(at, notice, console);
                }
            }
            // The differences have been told, and decide the exit code.
            Notice::Failed(Failure::Integrity { .. }) if self.problems.is_some() => {}
            _ => self.report.notice(at, notice, console),
        }
    }

    fn status(&mut self, at: Moment, status: &Status, console: &mut dyn Console) {
        self.report.status(at, status, console);
    }

    fn is_reader_gone(&self, console: &dyn Console) -> bool {
        self.report.is_reader_gone(console)
    }
}

fn line(problem: &VerifyProblem) -> String {
    let path = if problem.path.is_empty() { "." } else { &problem.path };
    format!("{}: {}", escape(path), escape(&problem.what))
}
