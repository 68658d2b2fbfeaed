//! `peer create`: save what `seed` would publish to a `.swarm` file, offline.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::{Manifest, Metafile};

use super::args::{Args, Flag, Kind};
use super::common::{self, OUTPUT_FLAGS, TRACKER_FLAGS, TRANSFER_FLAGS, Tracking, Transfer};
use super::console::Console as _;
use super::errors::{CliError, Context};
use super::escape::escape_path;
use super::exit::Exit;
use super::report::{About, Memory, Object, Remembering, Report as _, choose, print_path};
use super::runtime::{Plan, run, workers};
use super::{Command, Shell};
use crate::disk::ScanRequest;
use crate::job::Job;
use crate::notice::Notice;

const FLAGS: &[Flag] = &[
    Flag {
        long: "--name",
        short: Some('n'),
        kind: Kind::Value("NAME"),
        env: "PEER_NAME",
        default: "that of PATH",
        help: "what to save it under when it is fetched",
    },
    Flag {
        long: "--output",
        short: Some('o'),
        kind: Kind::Value("FILE"),
        env: "PEER_CREATE_OUTPUT",
        default: "NAME.swarm",
        help: "file to write; must not exist",
    },
    Flag {
        long: "--follow-symlinks",
        short: None,
        kind: Kind::Switch,
        env: "PEER_FOLLOW_SYMLINKS",
        default: "left out",
        help: "take what symbolic links point to",
    },
];

/// `peer create`.
pub(crate) const COMMAND: Command = Command {
    name: "create",
    alias: None,
    about: "save a file's or folder's digests to a .swarm file, offline",
    usage: &["create PATH [flags]"],
    details: &[
        "The file holds all that is needed to fetch and verify PATH without asking for its name.",
        "Trackers given with -T are written into it.",
    ],
    examples: &[
        ("peer create ./llama-70b", "makes llama-70b.swarm"),
        ("peer create data.tar -o d.swarm -T 10.0.0.5", "with the tracker to ask"),
        ("peer fetch llama-70b.swarm", "uses it"),
    ],
    flags: &[
        ("Flags", FLAGS),
        ("Tracker", TRACKER_FLAGS),
        ("Transfer", TRANSFER_FLAGS),
        ("Output", OUTPUT_FLAGS),
    ],
    run: create,
};

fn create(mut args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = args.command();
    let path = PathBuf::from(args.required("PATH")?);
    let name = args.value("--name", |text| Ok(text.to_owned()))?;
    let output = args.path("--output");
    let follow_symlinks = args.switch("--follow-symlinks")?;
    let tracking = Tracking::read(&mut args, shell.env)?;
    let transfer = Transfer::read(&mut args)?;
    args.finish()?;

    fs::metadata(&path).map_err(|error| CliError::file("read", &path, &error))?;
    let name = match name {
        Some(name) => name,
        None => super::seed::own_name(command, &path)?,
    };
    common::check_name(command, &name)?;
    let trackers = tracking.given.clone();
    check_trackers(command, &trackers)?;
    let output = output.unwrap_or_else(|| default_output(&name));
    if fs::symlink_metadata(&output).is_ok() {
        return Err(exists(&output));
    }

    let context = Context { command, subject: escape_path(&path), trackers: Vec::new() };
    let about = About {
        workers: workers(&transfer),
        ..About::new(command, escape_path(&path), &shell.output)
    };
    let request = ScanRequest { path, name: Some(name.clone()), follow_symlinks, hidden: true };
    let report = choose(&shell.output, about.clone());
    let mut watched = Remembering { report, memory: Hashed::default() };
    let jobs = vec![Job::Create(request)];
    let plan = Plan { jobs, trackers: Vec::new(), tracking, transfer, listens: false };
    let ended = run(plan, &mut watched, &mut shell.console)?;
    let outcome = ended.conclude(&context).and_then(|()| match watched.memory.manifest.take() {
        Some(manifest) => save(&output, &Metafile { name, trackers, manifest }),
        None => Err(ended.nothing_happened()),
    });
    watched.end(ended.at, outcome.as_ref().map(|_| ()), &mut shell.console);
    outcome?;
    if shell.output.json {
        let object = Object::event(ended.at, "created").text("path", &output.to_string_lossy());
        shell.console.data(object.finish().as_bytes());
    } else if about.print_path {
        print_path(&about, &output, &mut shell.console);
    }
    Ok(Exit::DONE)
}

/// `models/llama` becomes `llama.swarm` in the current folder.
fn default_output(name: &str) -> PathBuf {
    PathBuf::from(format!("{}.swarm", name.rsplit('/').next().unwrap_or(name)))
}

fn check_trackers(command: &str, trackers: &[String]) -> Result<(), CliError> {
    use protocol::limits::{MAX_TRACKER, MAX_TRACKERS};
    if trackers.len() > MAX_TRACKERS || trackers.iter().any(|t| t.len() > MAX_TRACKER) {
        let what = format!("{} trackers do not fit into a .swarm file", trackers.len());
        let detail = format!("at most {MAX_TRACKERS} of at most {MAX_TRACKER} bytes");
        return Err(CliError::usage(command, what, detail));
    }
    Ok(())
}

/// Writes the file under another name first, so that nobody ever sees half of it, and never over
/// another one.
fn save(output: &Path, metafile: &Metafile) -> Result<(), CliError> {
    let mut part = output.as_os_str().to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = PathBuf::from(part);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&part)?;
        file.write_all(&metafile.to_bytes())?;
        file.sync_all()?;
        // A link, unlike a rename, fails if something has the name by now.
        fs::hard_link(&part, output)
    })();
    let removed = fs::remove_file(&part);
    written.and(removed).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(output),
        _ => CliError::file("write", output, &error),
    })
}

fn exists(output: &Path) -> CliError {
    let what = format!("{} exists already", output.display());
    let advice = "choose another with -o FILE, or remove it".to_owned();
    CliError::new(Exit::EXISTS, what, "it was left as it is".to_owned(), advice)
}

/// What the file is to say.
#[derive(Debug, Default)]
struct Hashed {
    manifest: Option<Arc<Manifest>>,
}

impl Memory for Hashed {
    fn note(&mut self, notice: &Notice) {
        if let Notice::Hashed { manifest, .. } = notice {
            self.manifest = Some(manifest.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, Entry, EntryKind};

    use super::*;

    #[test]
    fn a_metafile_is_saved_whole_and_never_over_another_file() {
        let kind = EntryKind::File { executable: false, len: 1, digest: Digest([7; 32]) };
        let entry = (Entry { path: None, kind }, vec![Digest([1; 32])]);
        let metafile = Metafile {
            name: "x".to_owned(),
            trackers: vec!["t:9000".to_owned()],
            manifest: Arc::new(Manifest::build(20, vec![entry]).unwrap()),
        };
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("x.swarm");
        save(&output, &metafile).unwrap();
        assert_eq!(Metafile::parse(&fs::read(&output).unwrap()).unwrap(), metafile);
        assert_eq!(save(&output, &metafile).unwrap_err().exit, Exit::EXISTS);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(default_output("models/llama"), PathBuf::from("llama.swarm"));
    }
}
