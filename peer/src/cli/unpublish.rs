//! `peer unpublish`: take a name back.

use super::args::Args;
use super::common::{self, OUTPUT_FLAGS, TRACKER_FLAGS, Tracking, Transfer};
use super::console::Console;
use super::errors::{CliError, Context};
use super::escape::escape;
use super::exit::Exit;
use super::report::{Moment, Object, Report};
use super::runtime::{Plan, run};
use super::{Command, Shell};
use crate::job::Job;
use crate::notice::Notice;

/// `peer unpublish`.
pub(crate) const COMMAND: Command = Command {
    name: "unpublish",
    alias: None,
    about: "remove a name of yours from the tracker",
    usage: &["unpublish NAME [flags]"],
    details: &[
        "All versions of the name go. Copies on other machines stay, and can be fetched by digest.",
        "Only the state directory that published a name can remove it.",
    ],
    examples: &[("peer unpublish llama-70b", "the name is free again")],
    flags: &[("Tracker", TRACKER_FLAGS), ("Output", OUTPUT_FLAGS)],
    run: unpublish,
};

fn unpublish(mut args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = args.command();
    let name = args.required_text("NAME")?;
    common::check_name(command, &name)?;
    let tracking = Tracking::read(&mut args, shell.env)?;
    args.finish()?;

    let trackers = tracking.trackers(&[]);
    let context = Context { command, subject: name.clone(), trackers: trackers.clone() };
    let jobs = vec![Job::Unpublish { name }];
    let transfer = Transfer::default();
    let plan = Plan { jobs, trackers, tracking, transfer, listens: false };
    let (json, quiet) = (shell.output.json, shell.output.quiet);
    let mut told = Told { json, quiet: quiet > 0, done: false };
    let ended = run(plan, &mut told, &mut shell.console)?;
    ended.conclude(&context)?;
    if !told.done {
        return Err(ended.nothing_happened());
    }
    Ok(Exit::DONE)
}

#[derive(Debug)]
struct Told {
    json: bool,
    quiet: bool,
    done: bool,
}

impl Report for Told {
    fn notice(&mut self, at: Moment, notice: &Notice, console: &mut dyn Console) {
        let Notice::Unpublished { name } = notice else {
            return;
        };
        self.done = true;
        if self.json {
            let object = Object::event(at, "unpublished").text("name", name);
            console.data(object.finish().as_bytes());
        } else if !self.quiet {
            console.line(&format!("unpublished {}", escape(name)));
        }
    }
}
