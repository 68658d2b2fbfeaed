//! `peer info`: what an object is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::message::Swarm;
use protocol::{Digest, EntryKind, Manifest, Record};

use super::args::{Args, Flag, Kind};
use super::common::{OUTPUT_FLAGS, TRACKER_FLAGS, Tracking, Transfer};
use super::console::Console;
use super::errors::{CliError, Context};
use super::escape::escape;
use super::exit::Exit;
use super::format::{ago, bytes, thousands, timestamp};
use super::report::{Moment, Object, Report};
use super::runtime::{Plan, run};
use super::table::columns;
use super::target::{self, Wanted};
use super::{Command, Shell};
use crate::job::{Job, Target};
use crate::notice::{Failure, Notice};

/// Older versions that `--history` asks for, newest first.
const HISTORY: u32 = 50;

const fn switch(long: &'static str, env: &'static str, help: &'static str) -> Flag {
    Flag { long, short: None, kind: Kind::Switch, env, default: "", help }
}

const FLAGS: &[Flag] = &[
    switch("--files", "PEER_FILES", "list its files"),
    switch("--sums", "PEER_SUMS", "print only SHA-256 sums, as sha256sum does"),
    switch("--history", "PEER_HISTORY", "list its earlier versions"),
];

/// `peer info`.
pub(crate) const COMMAND: Command = Command {
    name: "info",
    alias: None,
    about: "show what an object is: size, digest, versions, files",
    usage: &["info NAME[@VERSION] [flags]", "info FILE.swarm [flags]"],
    details: &[
        "'object' is the SHA-256 of the list of all files and pieces: fetch NAME@sha256:OBJECT gets",
        "exactly that. 'content' is the SHA-256 of the bytes, for a single file.",
    ],
    examples: &[
        ("peer info llama-70b", "size, digests, holders"),
        ("peer info llama-70b --files", "its files, too"),
        ("peer info llama-70b --sums | sha256sum -c", "check a copy without this program"),
        ("peer info llama-70b --history", "what the name meant before"),
    ],
    flags: &[("Flags", FLAGS), ("Tracker", TRACKER_FLAGS), ("Output", OUTPUT_FLAGS)],
    run: info,
};

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
struct Options {
    files: bool,
    sums: bool,
    history: bool,
}

fn info(mut args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = args.command();
    let Wanted { target, typed, trackers } = target::read(&mut args)?;
    let options = Options {
        files: args.switch("--files")?,
        sums: args.switch("--sums")?,
        history: args.switch("--history")?,
    };
    let tracking = Tracking::read(&mut args, shell.env)?;
    args.finish()?;
    if let (Target::Manifest { .. }, true) = (&target, options.history) {
        let what = "--history needs a name on a tracker".to_owned();
        return Err(CliError::usage(command, what, format!("{typed} is a file")));
    }

    let trackers = tracking.trackers(&trackers);
    let context = Context { command, subject: typed, trackers: trackers.clone() };
    let ask = |jobs, facts: &mut Facts, shell: &mut Shell<'_>| {
        let (trackers, tracking) = (trackers.clone(), tracking.clone());
        let transfer = Transfer::default();
        let plan = Plan { jobs, trackers, tracking, transfer, listens: false };
        run(plan, facts, &mut shell.console)
    };
    let mut facts = Facts::default();
    if let Target::Manifest { manifest, .. } = &target {
        facts.manifest = Some(manifest.clone());
    } else {
        let mut jobs = vec![Job::Find { target: target.clone(), want: 0 }];
        if options.files || options.sums {
            jobs.push(Job::Manifest(target.clone()));
        }
        ask(jobs, &mut facts, shell)?.conclude(&context)?;
    }
    if options.history {
        let older = facts.older_versions(&target);
        let ended = ask(older, &mut facts, shell)?;
        // A tracker forgets old versions; those that it has are the history.
        let forgotten = |failure: &Failure| matches!(failure, Failure::NotFound { .. });
        if !ended.failures.iter().all(forgotten) {
            ended.conclude(&context)?;
        }
    }
    facts.at = Moment { unix: reactor::clock::unix_time(), ..facts.at };
    if shell.output.quiet < 2 {
        facts.print(&context.subject, options, shell.output.json, &mut shell.console);
    }
    Ok(Exit::DONE)
}

/// What was learned.
#[derive(Debug, Default)]
struct Facts {
    at: Moment,
    /// By version.
    found: BTreeMap<u32, Swarm>,
    manifest: Option<Arc<Manifest>>,
}

impl Report for Facts {
    fn notice(&mut self, _at: Moment, notice: &Notice, _console: &mut dyn Console) {
        match notice {
            Notice::Found { swarm } => {
                self.found.insert(swarm.record.version, swarm.clone());
            }
            Notice::GotManifest { manifest, .. } => self.manifest = Some(manifest.clone()),
            _ => {}
        }
    }
}

impl Facts {
    /// Questions for the versions before the one that was found.
    fn older_versions(&self, target: &Target) -> Vec<Job> {
        let Some((newest, swarm)) = self.found.last_key_value() else {
            return Vec::new();
        };
        let name = protocol::SafePath::new(&swarm.record.name).ok();
        let name = name.or_else(|| match target {
            Target::Name { name, .. } | Target::Exact { name, .. } => Some(name.clone()),
            Target::Manifest { .. } => None,
        });
        let Some(name) = name else {
            return Vec::new();
        };
        let find =
            |version| Job::Find { target: Target::Name { name: name.clone(), version }, want: 0 };
        (1..*newest).rev().take(HISTORY as usize).map(find).collect()
    }

    fn print(&self, subject: &str, options: Options, json: bool, console: &mut dyn Console) {
        if options.sums && !json {
            let sums = self.manifest.as_ref().map_or_else(Vec::new, |m| sums(m, subject));
            return sums.iter().for_each(|line| console.data(line.as_bytes()));
        }
        let newest = self.found.last_key_value().map(|(_, swarm)| swarm);
        if json {
            return console.data(self.json(newest, subject, options).finish().as_bytes());
        }
        let mut lines = self.summary(newest, subject);
        if options.files {
            let manifest = self.manifest.as_ref();
            lines.extend(manifest.map_or_else(Vec::new, |m| file_table(m, subject)));
        }
        if options.history {
            lines.push(String::new());
            lines.extend(self.history_table());
        }
        lines.iter().for_each(|line| console.data(line.as_bytes()));
    }

    fn summary(&self, newest: Option<&Swarm>, subject: &str) -> Vec<String> {
        let mut rows = Vec::new();
        let mut row = |key: &str, value: String| rows.push(vec![key.to_owned(), value]);
        if let Some(swarm) = newest {
            let record = &swarm.record;
            let title = if record.name.is_empty() { subject } else { &record.name };
            row("name", escape(title).into_owned());
            if record.version > 0 {
                row("version", record.version.to_string());
                let when = timestamp(Duration::from_secs(record.published_at));
                let ago = ago(record.published_at, self.at.unix.as_secs());
                row("published", format!("{when} ({ago})"));
            }
            row("holders", format!("{} full, {} part", swarm.complete, swarm.partial));
            describe(&mut row, &Shape::of_record(record));
        } else if let Some(manifest) = &self.manifest {
            row("name", escape(subject).into_owned());
            describe(&mut row, &Shape::of_manifest(manifest));
        }
        columns(&rows, &[])
    }

    fn history_table(&self) -> Vec<String> {
        let mut rows = vec![["VERSION", "SIZE", "FILES", "PUBLISHED", "OBJECT"].map(str::to_owned)];
        for (version, swarm) in self.found.iter().rev() {
            let record = &swarm.record;
            rows.push([
                version.to_string(),
                bytes(record.length),
                thousands(u64::from(record.file_count)),
                ago(record.published_at, self.at.unix.as_secs()),
                format!("sha256:{}", record.object),
            ]);
        }
        let rows: Vec<_> = rows.into_iter().map(Vec::from).collect();
        columns(&rows, &[0, 1, 2])
    }

    fn json(&self, newest: Option<&Swarm>, subject: &str, options: Options) -> Object {
        let mut object = Object::event(self.at, "info");
        if let Some(swarm) = newest {
            object = record_object(object, &swarm.record)
                .number("peers_full", u64::from(swarm.complete))
                .number("peers_part", u64::from(swarm.partial));
        } else if let Some(manifest) = &self.manifest {
            object = object.text("name", subject).manifest(manifest);
        }
        if let (true, Some(manifest)) = (options.files || options.sums, &self.manifest) {
            object = object.list("entries", manifest.entries().iter().map(entry_object));
        }
        if options.history {
            let versions = self.found.values().rev();
            let versions = versions.map(|swarm| record_object(Object::plain(), &swarm.record));
            object = object.list("history", versions);
        }
        object
    }
}

/// The sizes of an object, from wherever they are known.
struct Shape {
    object: String,
    content: Digest,
    length: u64,
    files: u64,
    pieces: u64,
    piece_size: u64,
}

impl Shape {
    fn of_record(record: &Record) -> Self {
        Self {
            object: record.object.to_string(),
            content: record.content,
            length: record.length,
            files: u64::from(record.file_count),
            pieces: u64::from(record.piece_count),
            piece_size: 1 << record.piece_log2.min(63),
        }
    }

    fn of_manifest(manifest: &Manifest) -> Self {
        let is_file = |e: &&protocol::Entry| matches!(e.kind, EntryKind::File { .. });
        Self {
            object: manifest.id().to_string(),
            content: manifest.content(),
            length: manifest.geometry().total_len(),
            files: manifest.entries().iter().filter(is_file).count() as u64,
            pieces: u64::from(manifest.geometry().piece_count()),
            piece_size: u64::from(manifest.geometry().piece_size()),
        }
    }
}

fn describe(row: &mut impl FnMut(&str, String), shape: &Shape) {
    row("object", format!("sha256:{}", shape.object));
    if shape.content != Digest::ZERO {
        row("content", format!("sha256:{}", shape.content));
    }
    row("size", format!("{} ({} bytes)", bytes(shape.length), thousands(shape.length)));
    row("files", thousands(shape.files));
    row("pieces", format!("{} of {}", thousands(shape.pieces), bytes(shape.piece_size)));
}

/// A record as JSON, on top of what `object` holds.
pub(super) fn record_object(object: Object, record: &Record) -> Object {
    object
        .text("name", &record.name)
        .number("version", u64::from(record.version))
        .text("digest", &format!("sha256:{}", record.object))
        .digest("content", record.content)
        .number("bytes", record.length)
        .number("files", u64::from(record.file_count))
        .number("pieces", u64::from(record.piece_count))
        .number("piece_size", 1 << record.piece_log2.min(63))
        .number("published_at", record.published_at)
}

fn entry_object(entry: &protocol::Entry) -> Object {
    let object = Object::plain().text("path", entry.path.as_ref().map_or("", |p| p.as_str()));
    match &entry.kind {
        EntryKind::File { executable, len, digest } => object
            .text("type", "file")
            .number("bytes", *len)
            .flag("executable", *executable)
            .digest("content", *digest),
        EntryKind::EmptyFolder => object.text("type", "folder"),
    }
}

/// Lines as `sha256sum` prints them, relative to the object's folder; a file object under its own name.
fn sums(manifest: &Manifest, name: &str) -> Vec<String> {
    let own_name = name.rsplit('/').next().unwrap_or(name);
    let line = |entry: &protocol::Entry| match &entry.kind {
        EntryKind::File { digest, .. } => {
            let path = entry.path.as_ref().map_or(own_name, |path| path.as_str());
            Some(format!("{digest}  {path}"))
        }
        EntryKind::EmptyFolder => None,
    };
    manifest.entries().iter().filter_map(line).collect()
}

fn file_table(manifest: &Manifest, name: &str) -> Vec<String> {
    let own_name = name.rsplit('/').next().unwrap_or(name);
    let mut rows = vec![Vec::new(), ["SIZE", "MODE", "PATH"].map(str::to_owned).to_vec()];
    for entry in manifest.entries() {
        let (size, mode, tail) = match entry.kind {
            EntryKind::File { executable, len, .. } => {
                (bytes(len), if executable { "x" } else { "-" }, "")
            }
            EntryKind::EmptyFolder => ("-".to_owned(), "d", "/"),
        };
        let path = entry.path.as_ref().map_or(own_name, |path| path.as_str());
        rows.push(vec![size, mode.to_owned(), format!("{}{tail}", escape(path))]);
    }
    columns(&rows, &[0])
}

#[cfg(test)]
mod tests {
    use protocol::{Entry, SafePath};

    use super::*;
    use crate::cli::console::Recorder;

    fn folder() -> Arc<Manifest> {
        let file = |path: &str, len: u64, executable| {
            let kind = EntryKind::File { executable, len, digest: Digest([7; 32]) };
            let hashes = if len == 0 { vec![] } else { vec![Digest([1; 32])] };
            (Entry { path: Some(SafePath::new(path).unwrap()), kind }, hashes)
        };
        let empty =
            Entry { path: Some(SafePath::new("tmp").unwrap()), kind: EntryKind::EmptyFolder };
        let entries = vec![file("bin/run", 2_048, true), file("a", 7, false), (empty, vec![])];
        Arc::new(Manifest::build(20, entries).unwrap())
    }

    fn print(facts: &Facts, options: Options, json: bool) -> Vec<String> {
        let mut console = Recorder::default();
        facts.print("models/demo", options, json, &mut console);
        console.lines
    }

    #[test]
    fn a_metafile_with_files_and_sums() {
        let facts = Facts { manifest: Some(folder()), ..Facts::default() };
        let plain = Options { files: true, sums: false, history: false };
        let lines = print(&facts, plain, false);
        assert_eq!(lines[0], "out  name    models/demo");
        assert_eq!(lines[2], "out  size    2.0 KiB (2,055 bytes)");
        assert_eq!(lines[6], "out     SIZE  MODE  PATH");
        assert_eq!(
            lines[7..],
            ["out      7 B  -     a", "out  2.0 KiB  x     bin/run", "out        -  d     tmp/"]
        );
        let seven = Digest([7; 32]);
        let sums = print(&facts, Options { sums: true, ..plain }, false);
        assert_eq!(sums, [format!("out  {seven}  a"), format!("out  {seven}  bin/run")]);
        let json = print(&facts, plain, true);
        let object: serde_json::Value =
            serde_json::from_str(json[0].strip_prefix("out  ").unwrap()).unwrap();
        assert_eq!(object["entries"][2]["type"], "folder");
        assert_eq!(object["bytes"], 2_055);
    }
}
