//! Turns notices and figures into what people and programs read.
//!
//! A report gets facts and a moment, and writes to a [`Console`]; it reads no clock and no file, so each
//! mode is tested by feeding it a made-up transfer. [`human`] rewrites one line on a terminal, [`lines`]
//! prints a timestamped line now and then, [`json`] prints events, [`quiet`] prints the final path.

mod human;
mod json;
mod lines;
mod quiet;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use json::{Object, error_event};
pub(in crate::cli) use words::pieces;

use super::common::{Output, Progress};
use super::console::{Console, stderr_is_terminal, stdout_is_terminal};
use super::errors::CliError;
use super::escape::escape_path;
use super::format::Paint;
use crate::notice::{Notice, Status};

/// When something was reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Since the program started.
    pub run: Duration,
    /// Since 1970.
    pub unix: Duration,
}

/// Something that turns facts into output.
pub(crate) trait Report {
    /// Something happened.
    fn notice(&mut self, at: Moment, notice: &Notice, console: &mut dyn Console);

    /// The figures, about ten times a second.
    fn status(&mut self, _at: Moment, _status: &Status, _console: &mut dyn Console) {}

    /// The job is over. The error itself, if any, is printed by the caller.
    fn end(&mut self, _at: Moment, _outcome: Result<(), &CliError>, _console: &mut dyn Console) {}

    /// Whether the job has no point any more because nobody reads what it prints.
    fn is_reader_gone(&self, _console: &dyn Console) -> bool {
        false
    }
}

/// What a command has to remember of the notices, for its exit code.
pub(crate) trait Memory {
    /// Something happened.
    fn note(&mut self, notice: &Notice);
}

/// A report that leaves a memory behind.
pub(crate) struct Remembering<M> {
    /// What people and programs read.
    pub report: Box<dyn Report>,
    /// What is kept.
    pub memory: M,
}

impl<M: Memory> Report for Remembering<M> {
    fn notice(&mut self, at: Moment, notice: &Notice, console: &mut dyn Console) {
        self.memory.note(notice);
        self.report.notice(at, notice, console);
    }

    fn status(&mut self, at: Moment, status: &Status, console: &mut dyn Console) {
        self.report.status(at, status, console);
    }

    fn end(&mut self, at: Moment, outcome: Result<(), &CliError>, console: &mut dyn Console) {
        self.report.end(at, outcome, console);
    }

    fn is_reader_gone(&self, console: &dyn Console) -> bool {
        self.report.is_reader_gone(console)
    }
}

/// What a report needs to know about the command, and about where it writes.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The command: `fetch`.
    pub command: &'static str,
    /// What it works on, as typed.
    pub subject: String,
    /// What others must give as `-T`.
    pub tracker: Option<String>,
    /// Threads that hash.
    pub workers: usize,
    /// Between progress lines, if the user said so.
    pub interval: Option<Duration>,
    /// Progress is wanted at all.
    pub progress: bool,
    /// Print the final path on stdout.
    pub print_path: bool,
    /// The fetch ends with a second look at the data; the path is printed after it.
    pub checks: bool,
    /// Stdout is a terminal.
    pub out_terminal: bool,
    /// Colours.
    pub paint: Paint,
    /// Free bytes of the disk that a path is on.
    pub free: fn(&Path) -> Option<u64>,
}

impl About {
    /// For a command, on the process's own channels.
    pub(crate) fn new(command: &'static str, subject: String, output: &Output) -> Self {
        Self {
            command,
            subject,
            tracker: None,
            workers: 1,
            interval: output.interval,
            progress: output.progress != Progress::None,
            print_path: output.quiet < 2,
            checks: false,
            out_terminal: stdout_is_terminal(),
            paint: paint(output),
            free: free_bytes,
        }
    }
}

/// Colours, if stderr is a terminal and nobody objects.
pub(crate) fn paint(output: &Output) -> Paint {
    Paint::new(!output.no_color && !output.json && stderr_is_terminal())
}

/// The report that the flags ask for.
pub(crate) fn choose(output: &Output, about: About) -> Box<dyn Report> {
    let terminal = stderr_is_terminal();
    match output.progress {
        _ if output.json => Box::new(json::Json::new(about, json::Channel::Stdout)),
        _ if output.quiet > 0 => Box::new(quiet::Quiet::new(about)),
        Progress::Json => Box::new(json::Json::new(about, json::Channel::Stderr)),
        Progress::Auto | Progress::Bar if terminal => Box::new(human::Human::new(about)),
        Progress::None if terminal => Box::new(human::Human::new(about)),
        _ => Box::new(lines::Lines::new(about)),
    }
}

/// Prints the final path, once it is known and all that must be true of it is.
#[derive(Debug, Default)]
struct FinalPath {
    path: Option<PathBuf>,
    checked: bool,
}

impl FinalPath {
    /// Takes the notices that matter, and prints the path when it is time.
    fn notice(&mut self, about: &About, notice: &Notice, console: &mut dyn Console) {
        match notice {
            Notice::FetchDone { path, .. } => self.path = Some(path.clone()),
            Notice::Verified { problems, .. } => self.checked = problems.is_empty(),
            _ => return,
        }
        let due = (self.checked || !about.checks) && about.print_path;
        if let Some(path) = self.path.take_if(|_| due) {
            print_path(about, &path, console);
        }
    }
}

/// A path as data: its very bytes, unless a terminal would have to show them.
pub(crate) fn print_path(about: &About, path: &Path, console: &mut dyn Console) {
    use std::os::unix::ffi::OsStrExt as _;
    if about.out_terminal {
        console.data(escape_path(path).as_bytes());
    } else {
        console.data(path.as_os_str().as_bytes());
    }
}

/// Free bytes for ordinary users of the disk that holds `path`, or the nearest folder above that exists.
fn free_bytes(path: &Path) -> Option<u64> {
    let found = path.ancestors().find_map(|p| {
        let p = if p.as_os_str().is_empty() { Path::new(".") } else { p };
        rustix::fs::statvfs(p).ok()
    })?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// A made-up fetch and a made-up seed, for the tests of all modes.
#[cfg(test)]
mod script_tests;
