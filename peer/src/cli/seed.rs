//! `peer seed`: hash, publish, serve.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{Args, Flag, Kind};
use super::common::{self, OUTPUT_FLAGS, TRACKER_FLAGS, TRANSFER_FLAGS, Tracking, Transfer};
use super::errors::{CliError, Context};
use super::escape::escape_path;
use super::exit::Exit;
use super::report::{About, Memory, Remembering, Report as _, choose};
use super::runtime::{Plan, run, workers};
use super::values;
use super::{Command, Shell};
use crate::disk::ScanRequest;
use crate::job::{Job, SeedJob};
use crate::notice::Notice;

const FLAGS: &[Flag] = &[
    Flag {
        long: "--name",
        short: Some('n'),
        kind: Kind::Value("NAME"),
        env: "PEER_NAME",
        default: "",
        help: "share the one PATH itself, called so",
    },
    Flag {
        long: "--hidden",
        short: None,
        kind: Kind::Switch,
        env: "PEER_HIDDEN",
        default: "",
        help: "share entries whose names begin with a dot, too",
    },
    Flag {
        long: "--follow-symlinks",
        short: None,
        kind: Kind::Switch,
        env: "PEER_FOLLOW_SYMLINKS",
        default: "left out",
        help: "share what symbolic links point to",
    },
    Flag {
        long: "--no-cache-hash",
        short: None,
        kind: Kind::Switch,
        env: "PEER_NO_CACHE_HASH",
        default: "",
        help: "hash everything again, and remember nothing",
    },
    Flag {
        long: "--seed-time",
        short: None,
        kind: Kind::Value("TIME"),
        env: "PEER_SEED_TIME",
        default: "until stopped",
        help: "end after so long: 30s, 5m, 2h, 1h30m",
    },
    Flag {
        long: "--once",
        short: None,
        kind: Kind::Switch,
        env: "PEER_ONCE",
        default: "",
        help: "end when everything is published, without serving",
    },
];

/// `peer seed`.
pub(crate) const COMMAND: Command = Command {
    name: "seed",
    alias: Some("put"),
    about: "hash, publish and serve files until stopped",
    usage: &["seed PATH... [flags]", "seed PATH -n NAME [flags]"],
    details: &[
        "A folder shares every entry at its top under the entry's own name: a file as a file, a",
        "sub-folder as a whole. With -n the one PATH itself, file or folder, is shared as NAME.",
        "Publishing changed content under a name of yours makes its next version.",
        "Ctrl-C stops it (exit code 130); hashes are remembered for the next time.",
    ],
    examples: &[
        ("peer seed ./models", "share each entry of ./models"),
        ("peer seed ./models -n llama-70b", "share the folder as llama-70b"),
        ("peer seed data.tar -T 10.0.0.5 --up 80M", "with another tracker and at most 80 MiB/s"),
        ("peer seed ./models --seed-time 2h -q", "for two hours, silently"),
    ],
    flags: &[
        ("Flags", FLAGS),
        ("Tracker", TRACKER_FLAGS),
        ("Transfer", TRANSFER_FLAGS),
        ("Output", OUTPUT_FLAGS),
    ],
    run: seed,
};

/// What the command line says.
#[derive(Clone, Debug)]
struct Options {
    paths: Vec<PathBuf>,
    name: Option<String>,
    hidden: bool,
    follow_symlinks: bool,
    use_cache: bool,
    seed_time: Option<Duration>,
    once: bool,
}

impl Options {
    fn read(args: &mut Args) -> Result<Self, CliError> {
        let command = args.command();
        let mut paths = vec![PathBuf::from(args.required("PATH")?)];
        while let Some(path) = args.next_free() {
            paths.push(path.into());
        }
        let options = Self {
            paths,
            name: args.value("--name", |text| Ok(text.to_owned()))?,
            hidden: args.switch("--hidden")?,
            follow_symlinks: args.switch("--follow-symlinks")?,
            use_cache: !args.switch("--no-cache-hash")?,
            seed_time: args.value("--seed-time", values::duration)?,
            once: args.switch("--once")?,
        };
        if options.once && options.seed_time.is_some() {
            return Err(common::conflict(command, "--once", "--seed-time"));
        }
        if let Some(name) = &options.name {
            if options.paths.len() > 1 {
                let what = "--name goes with one PATH".to_owned();
                let detail = format!("{} paths are given", options.paths.len());
                return Err(CliError::usage(command, what, detail));
            }
            common::check_name(command, name)?;
        }
        Ok(options)
    }

    fn job(self, command: &str) -> Result<Job, CliError> {
        let request = |path: PathBuf| scan_request(command, path, self.name.clone());
        let mut paths = Vec::new();
        for path in self.paths.clone() {
            let request = request(path)?;
            paths.push(ScanRequest {
                follow_symlinks: self.follow_symlinks,
                hidden: self.hidden,
                ..request
            });
        }
        Ok(Job::Seed(SeedJob {
            paths,
            use_cache: self.use_cache,
            seed_time: self.seed_time,
            once: self.once,
        }))
    }
}

/// What sharing `path` means: a folder shares its entries, anything else itself under its own name,
/// unless `name` says otherwise.
fn scan_request(
    command: &str,
    path: PathBuf,
    name: Option<String>,
) -> Result<ScanRequest, CliError> {
    let metadata = std::fs::metadata(&path).map_err(|e| CliError::file("share", &path, &e))?;
    let name = match name {
        Some(name) => Some(name),
        None if metadata.is_dir() => None,
        None => Some(own_name(command, &path)?),
    };
    Ok(ScanRequest { path, name, follow_symlinks: false, hidden: false })
}

/// The name that a path has by itself: its last part.
///
/// # Errors
/// When that can't be a name.
pub(super) fn own_name(command: &str, path: &Path) -> Result<String, CliError> {
    // `.` and `..` have none of their own.
    let whole;
    let last = match path.file_name() {
        Some(last) => Some(last),
        None => {
            whole = path.canonicalize().map_err(|e| CliError::file("open", path, &e))?;
            whole.file_name()
        }
    };
    let unusable = || {
        let what = format!("{} has no name that can be published", path.display());
        CliError::usage(command, what, "give one with --name NAME".to_owned())
    };
    let name = last.and_then(|name| name.to_str()).ok_or_else(unusable)?;
    common::check_name(command, name)?;
    Ok(name.to_owned())
}

fn seed(mut args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = args.command();
    let options = Options::read(&mut args)?;
    let tracking = Tracking::read(&mut args, shell.env)?;
    let transfer = Transfer::read(&mut args)?;
    args.finish()?;

    let subject = options.paths.iter().map(|p| escape_path(p)).collect::<Vec<_>>().join(" ");
    let trackers = tracking.trackers(&[]);
    let context = Context { command, subject: subject.clone(), trackers: trackers.clone() };
    let about = About {
        tracker: trackers.first().cloned(),
        workers: workers(&transfer),
        ..About::new(command, subject, &shell.output)
    };
    let job = options.job(command)?;
    let mut watched =
        Remembering { report: choose(&shell.output, about), memory: Tally::default() };
    let plan = Plan { jobs: vec![job], trackers, tracking, transfer, listens: true };
    let ended = run(plan, &mut watched, &mut shell.console)?;
    let outcome = ended.conclude(&context).and_then(|()| watched.memory.conclude(&context));
    watched.end(ended.at, outcome.as_ref().map(|_| ()), &mut shell.console);
    outcome.map(|()| Exit::DONE)
}

/// Counts what was shared and what was not, for the exit code.
#[derive(Debug, Default)]
struct Tally {
    shared: usize,
    /// Of each object that is not shared (any more): why.
    lost: Vec<Notice>,
}

impl Tally {
    fn conclude(&self, context: &Context) -> Result<(), CliError> {
        let Some(first) = self.lost.first() else {
            return Ok(());
        };
        let error = match first {
            Notice::Withdrawn { error, .. } => context.storage(error),
            Notice::PublishRefused { code, text, .. } => context
                .describe(&crate::notice::Failure::Refused { code: *code, text: text.clone() }),
            _ => return Ok(()),
        };
        if self.shared <= self.lost.len() && self.shared == withdrawn(&self.lost) {
            return Err(error);
        }
        let what = format!("{} of the objects could not be shared to the end", self.lost.len());
        let advice = "repair that and run the same command again".to_owned();
        Err(CliError::new(Exit::PARTLY, what, format!("the first: {}", error.what), advice))
    }
}

/// How many of these were published before.
fn withdrawn(lost: &[Notice]) -> usize {
    let published = |notice: &&Notice| matches!(notice, Notice::Withdrawn { version: Some(_), .. });
    lost.iter().filter(published).count()
}

impl Memory for Tally {
    fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::Published { .. } => self.shared += 1,
            Notice::PublishRefused { .. } | Notice::Withdrawn { .. } => {
                self.lost.push(notice.clone());
            }
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
        Options::read(&mut Args::parse("seed", &[FLAGS], words, &|_| None)?)
    }

    #[test]
    fn arguments() {
        let options = read(&["a", "b", "--hidden", "--seed-time", "2h"]).unwrap();
        assert_eq!(options.paths, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(options.seed_time, Some(Duration::from_secs(7_200)));
        assert!(options.hidden && options.use_cache && !options.once);
        assert!(!read(&["a", "--no-cache-hash"]).unwrap().use_cache);
        for words in [
            &[][..],
            &["a", "b", "-n", "x"],
            &["a", "-n", "../x"],
            &["a", "-n", "x@3"],
            &["a", "--once", "--seed-time", "1s"],
            &["a", "--seed-time", "1"],
        ] {
            assert_eq!(read(words).unwrap_err().exit, Exit::USAGE, "{words:?}");
        }
    }

    #[test]
    fn a_folder_shares_its_entries_and_a_file_itself() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("phi.gguf");
        std::fs::write(&file, "x").unwrap();
        let name = |path: &Path, name: Option<&str>| {
            scan_request("seed", path.to_owned(), name.map(str::to_owned)).map(|r| r.name)
        };
        assert_eq!(name(dir.path(), None), Ok(None));
        assert_eq!(name(dir.path(), Some("n")), Ok(Some("n".to_owned())));
        assert_eq!(name(&file, None), Ok(Some("phi.gguf".to_owned())));
        let gone = name(&dir.path().join("gone"), None).unwrap_err();
        assert_eq!(gone.exit, Exit::NOT_FOUND);
    }
}
