//! `peer ls`: the names that a tracker knows.

use std::time::Duration;

use protocol::message::PageEntry;

use super::args::{Args, Flag, Kind};
use super::common::{OUTPUT_FLAGS, TRACKER_FLAGS, Tracking};
use super::console::{Console, stdout_is_terminal};
use super::errors::{CliError, Context};
use super::escape::escape;
use super::exit::Exit;
use super::format::{ago, bytes, thousands};
use super::glob::Glob;
use super::report::{Moment, Object, Report};
use super::runtime::{Plan, run};
use super::table::columns;
use super::{Command, Shell};
use crate::job::Job;
use crate::notice::Notice;

/// Rows whose columns are lined up with each other; bounds what a long catalogue needs of memory.
const ROWS_AT_ONCE: usize = 10_000;

const FLAGS: &[Flag] = &[Flag {
    long: "--long",
    short: Some('l'),
    kind: Kind::Switch,
    env: "PEER_LONG",
    default: "",
    help: "a table with versions, sizes and holders",
}];

/// `peer ls`.
pub(crate) const COMMAND: Command = Command {
    name: "ls",
    alias: None,
    about: "list the names that a tracker knows",
    usage: &["ls [PATTERN] [flags]"],
    details: &[
        "PATTERN is the beginning of names, or a glob: * stands for any text, ? for one character.",
        "FULL and PART count the peers that hold all and some of it. No match is exit code 3.",
    ],
    examples: &[
        ("peer ls", "all names"),
        ("peer ls llama -l", "a table of those that begin with llama"),
        ("peer ls '*.gguf' --json", "for programs"),
    ],
    flags: &[("Flags", FLAGS), ("Tracker", TRACKER_FLAGS), ("Output", OUTPUT_FLAGS)],
    run: ls,
};

fn ls(mut args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = args.command();
    let pattern = match args.next_free() {
        None => String::new(),
        Some(word) => word.into_string().map_err(|raw| {
            let what = format!("'{}' is not valid UTF-8", raw.to_string_lossy());
            CliError::usage(command, what, "names are UTF-8 text".to_owned())
        })?,
    };
    let long = args.switch("--long")?;
    let tracking = Tracking::read(&mut args, shell.env)?;
    args.finish()?;

    let style = match (shell.output.json, long) {
        _ if shell.output.quiet > 1 => Style::Silent,
        (true, _) => Style::Json,
        (false, true) => Style::Table,
        (false, false) => Style::Names { escaped: stdout_is_terminal() },
    };
    let glob = Glob::new(&pattern);
    let job = Job::List { prefix: glob.prefix() };
    let trackers = tracking.trackers(&[]);
    let context = Context { command, subject: pattern.clone(), trackers: trackers.clone() };
    let mut listing = Listing::new(style, glob);
    let transfer = super::common::Transfer::default();
    let plan = Plan { jobs: vec![job], trackers, tracking, transfer, listens: false };
    let ended = run(plan, &mut listing, &mut shell.console)?;
    listing.flush(&mut shell.console);
    ended.conclude(&context)?;
    if listing.matched == 0 && !pattern.is_empty() {
        let what = format!("no name matches '{pattern}' on tracker {}", context.tracker());
        let detail = "see what there is: peer ls".to_owned();
        return Err(CliError::new(Exit::NOT_FOUND, what, detail, String::new()));
    }
    Ok(Exit::DONE)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Names { escaped: bool },
    Table,
    Json,
    Silent,
}

/// Prints pages as they come.
struct Listing {
    style: Style,
    glob: Glob,
    matched: usize,
    rows: Vec<Vec<String>>,
}

impl Listing {
    fn new(style: Style, glob: Glob) -> Self {
        Self { style, glob, matched: 0, rows: Vec::new() }
    }

    fn entry(&mut self, at: Moment, entry: &PageEntry, console: &mut dyn Console) {
        let record = &entry.record;
        if !self.glob.matches(&record.name) {
            return;
        }
        self.matched += 1;
        match self.style {
            Style::Silent => {}
            Style::Names { escaped: true } => console.data(escape(&record.name).as_bytes()),
            Style::Names { escaped: false } => console.data(record.name.as_bytes()),
            Style::Json => console.data(json(at, entry).finish().as_bytes()),
            Style::Table => {
                if self.matched == 1 {
                    self.rows.push(HEAD.map(str::to_owned).to_vec());
                }
                self.rows.push(row(entry, at.unix));
                if self.rows.len() >= ROWS_AT_ONCE {
                    self.flush(console);
                }
            }
        }
    }

    fn flush(&mut self, console: &mut dyn Console) {
        for line in columns(&std::mem::take(&mut self.rows), &[1, 2, 3, 4, 5]) {
            console.data(line.as_bytes());
        }
    }
}

impl Report for Listing {
    fn notice(&mut self, at: Moment, notice: &Notice, console: &mut dyn Console) {
        if let Notice::Page(page) = notice {
            page.entries.iter().for_each(|entry| self.entry(at, entry, console));
        }
    }

    fn is_reader_gone(&self, console: &dyn Console) -> bool {
        console.is_closed()
    }
}

const HEAD: [&str; 7] = ["NAME", "VER", "SIZE", "FILES", "FULL", "PART", "PUBLISHED"];

fn row(entry: &PageEntry, now: Duration) -> Vec<String> {
    let record = &entry.record;
    vec![
        escape(&record.name).into_owned(),
        record.version.to_string(),
        bytes(record.length),
        thousands(u64::from(record.file_count)),
        thousands(u64::from(entry.complete)),
        thousands(u64::from(entry.partial)),
        ago(record.published_at, now.as_secs()),
    ]
}

fn json(at: Moment, entry: &PageEntry) -> Object {
    super::info::record_object(Object::event(at, "name"), &entry.record)
        .number("peers_full", u64::from(entry.complete))
        .number("peers_part", u64::from(entry.partial))
}

#[cfg(test)]
mod tests {
    use protocol::message::Page;
    use protocol::{Digest, ObjectId, Record, RequestId};

    use super::*;
    use crate::cli::console::Recorder;

    fn page() -> Notice {
        let entry = |name: &str, length, version| PageEntry {
            complete: 18,
            partial: 6,
            record: Record {
                object: ObjectId([9; 32]),
                content: Digest::ZERO,
                length,
                published_at: 1_000_000,
                version,
                manifest_len: 1,
                piece_count: 33_639,
                file_count: 41,
                piece_log2: 22,
                name: name.to_owned(),
            },
        };
        let entries = vec![
            entry("llama-70b", 141_087_789_056, 3),
            entry("llama\u{9b}2J-8b", 16_106_127_360, 1),
            entry("phi", 5, 1),
        ];
        Notice::Page(Page { rid: RequestId(1), more: false, entries })
    }

    fn list(style: Style, pattern: &str) -> Vec<String> {
        let mut listing = Listing::new(style, Glob::new(pattern));
        let mut console = Recorder::default();
        let unix = Duration::from_secs(1_007_200);
        let at = Moment { run: Duration::ZERO, unix };
        listing.notice(at, &page(), &mut console);
        listing.flush(&mut console);
        console.lines
    }

    #[test]
    fn a_table() {
        let expected = [
            "out  NAME            VER       SIZE  FILES  FULL  PART  PUBLISHED",
            "out  llama-70b         3  131.4 GiB     41    18     6  2h ago",
            "out  llama\\x9b2J-8b    1   15.0 GiB     41    18     6  2h ago",
        ];
        assert_eq!(list(Style::Table, "llama*"), expected);
    }

    #[test]
    fn names_only() {
        assert_eq!(list(Style::Names { escaped: false }, "*h?"), ["out  phi"]);
        assert_eq!(list(Style::Names { escaped: true }, "*8b"), ["out  llama\\x9b2J-8b"]);
        assert!(list(Style::Table, "x").is_empty());
    }

    #[test]
    fn objects() {
        let lines = list(Style::Json, "phi");
        let object: serde_json::Value =
            serde_json::from_str(lines[0].strip_prefix("out  ").unwrap()).unwrap();
        assert_eq!(object["event"], "name");
        assert_eq!((&object["name"], &object["bytes"]), (&"phi".into(), &5.into()));
        assert_eq!(object["peers_full"], 18);
    }
}
