//! `--json`: one event per line, for programs.
//!
//! Every object begins with `v` (version of this schema, 1), `ts` (RFC 3339, UTC) and `event`. Numbers
//! are bytes, bytes per second, seconds, and ratios from 0 to 1. Fields and events may be added within
//! one version: readers skip what they do not know.

use std::fmt::Write as _;
use std::time::Duration;

use protocol::{Digest, Manifest};

use super::words::{self, file_count};
use super::{About, FinalPath, Moment, Report};
use crate::cli::console::Console;
use crate::cli::errors::CliError;
use crate::cli::exit::Exit;
use crate::cli::format::{eta, timestamp_ms};
use crate::notice::{Notice, Phase, Status};

/// Between progress events.
const INTERVAL: Duration = Duration::from_secs(1);
/// Runs of pieces that one event names at most: enough for all but the most scattered ones.
const RUNS_IN_EVENT: usize = 1_000;

/// A JSON object under construction; its keys stay in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Object(String);

impl Object {
    /// An event.
    pub(crate) fn event(at: Moment, event: &str) -> Self {
        Self("{\"v\":1".to_owned()).text("ts", &timestamp_ms(at.unix)).text("event", event)
    }

    /// An object without head, for lists in events.
    pub(crate) fn plain() -> Self {
        Self("{".to_owned())
    }

    /// Adds a string.
    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.raw(key, &serde_json::Value::from(value).to_string())
    }

    /// Adds a string if there is one.
    pub(crate) fn opt_text(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// Adds a whole number.
    pub(crate) fn number(self, key: &str, value: u64) -> Self {
        self.raw(key, &value.to_string())
    }

    /// Adds a length or count.
    pub(crate) fn count(self, key: &str, value: usize) -> Self {
        self.raw(key, &value.to_string())
    }

    /// Adds a fraction with three digits.
    pub(crate) fn thousandths(self, key: &str, value: u64) -> Self {
        self.raw(key, &format!("{}.{:03}", value / 1_000, value % 1_000))
    }

    /// Adds a truth.
    pub(crate) fn flag(self, key: &str, value: bool) -> Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// Adds `sha256:...`, unless it stands for no digest.
    pub(crate) fn digest(self, key: &str, digest: Digest) -> Self {
        if digest == Digest::ZERO { self } else { self.text(key, &format!("sha256:{digest}")) }
    }

    /// Adds a list of finished objects.
    pub(crate) fn list(self, key: &str, items: impl IntoIterator<Item = Self>) -> Self {
        let items: Vec<_> = items.into_iter().map(Self::finish).collect();
        self.raw(key, &format!("[{}]", items.join(",")))
    }

    /// Adds what an object is.
    pub(crate) fn manifest(self, manifest: &Manifest) -> Self {
        let geometry = manifest.geometry();
        self.text("digest", &format!("sha256:{}", manifest.id()))
            .digest("content", manifest.content())
            .number("bytes", geometry.total_len())
            .count("files", file_count(manifest))
            .number("pieces", u64::from(geometry.piece_count()))
            .number("piece_size", u64::from(geometry.piece_size()))
    }

    /// The text.
    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn raw(mut self, key: &str, value: &str) -> Self {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        let _ = write!(self.0, "{}:{value}", serde_json::Value::from(key));
        self
    }
}

/// The `error` event.
pub(crate) fn error_event(at: Moment, error: &CliError) -> Object {
    let advice = Some(error.advice.as_str()).filter(|text| !text.is_empty());
    let detail = Some(error.detail.as_str()).filter(|text| !text.is_empty());
    Object::event(at, "error")
        .number("exit", u64::from(error.exit.status))
        .text("code", error.exit.code)
        .text("message", &error.what)
        .opt_text("detail", detail)
        .opt_text("advice", advice)
        .flag("resumable", error.exit.resumable)
}

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// `--json`: all output is JSON; the path is in the events.
    Stdout,
    /// `--progress json`: stdout has the path, as without it.
    Stderr,
}

/// The report for programs.
#[derive(Debug)]
pub(super) struct Json {
    about: About,
    channel: Channel,
    path: FinalPath,
    phase: Option<Phase>,
    printed: Duration,
    sent: u64,
    completed: bool,
    wanted: Option<u64>,
}

impl Json {
    pub(super) fn new(about: About, channel: Channel) -> Self {
        Self {
            about,
            channel,
            path: FinalPath::default(),
            phase: None,
            printed: Duration::ZERO,
            sent: 0,
            completed: false,
            wanted: None,
        }
    }

    fn print(&self, object: Object, console: &mut dyn Console) {
        match self.channel {
            Channel::Stdout => console.data(object.finish().as_bytes()),
            Channel::Stderr => console.line(&object.finish()),
        }
    }

    /// The event of a notice; `None` for notices that are only warnings, or answers to other commands.
    fn event(&mut self, at: Moment, notice: &Notice) -> Option<Object> {
        Some(match notice {
            Notice::Listening { local } => {
                Object::event(at, "listening").text("address", &local.to_string())
            }
            Notice::TrackerUp { address } => {
                Object::event(at, "tracker_up").text("address", address)
            }
            Notice::Scanned { objects, files, bytes, .. } => Object::event(at, "start")
                .text("cmd", self.about.command)
                .count("objects", *objects)
                .count("files", *files)
                .number("bytes", *bytes),
            Notice::Hashed { name, path, manifest } => Object::event(at, "hashed")
                .text("name", name)
                .text("path", &path.to_string_lossy())
                .manifest(manifest),
            Notice::Published { name, version, manifest } => Object::event(at, "published")
                .text("name", name)
                .number("version", u64::from(*version))
                .manifest(manifest),
            Notice::FetchStarted { .. } => return self.started(at, notice),
            Notice::Stalled { since, reason, missing } => {
                let (code, _, action) = words::stall(*reason, missing);
                Object::event(at, "stall")
                    .number("for_s", since.as_secs())
                    .text("reason", code)
                    .number("missing_pieces", u64::from(missing.count))
                    .text("which_pieces", &words::runs(missing, RUNS_IN_EVENT))
                    .text("action", action)
            }
            Notice::Resumed => Object::event(at, "resume").text("after", "stall"),
            Notice::FetchDone { .. } => return self.complete(at, notice),
            Notice::Verified { path, manifest, problems } => Object::event(at, "verified")
                .text("path", &path.to_string_lossy())
                .flag("ok", problems.is_empty())
                .list("problems", problems.iter().map(problem_object))
                .manifest(manifest),
            _ => return None,
        })
    }

    fn started(&self, at: Moment, notice: &Notice) -> Option<Object> {
        let Notice::FetchStarted { record, dest, bytes, files, pieces, .. } = notice else {
            return None;
        };
        let name = if record.name.is_empty() { &self.about.subject } else { &record.name };
        Some(
            Object::event(at, "start")
                .text("cmd", self.about.command)
                .text("name", name)
                .number("version", u64::from(record.version))
                .text("digest", &format!("sha256:{}", record.object))
                .digest("content", record.content)
                .number("bytes", *bytes)
                .count("files", *files)
                .number("pieces", u64::from(*pieces))
                .text("dest", &dest.to_string_lossy()),
        )
    }

    fn complete(&mut self, at: Moment, notice: &Notice) -> Option<Object> {
        let Notice::FetchDone {
            path,
            already,
            manifest,
            received,
            wasted,
            sent,
            sources,
            took,
            ..
        } = notice
        else {
            return None;
        };
        self.completed = true;
        let wanted = self.wanted.unwrap_or_else(|| manifest.geometry().total_len());
        Some(
            Object::event(at, "complete")
                .thousandths("seconds", u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
                .number("bytes", wanted)
                .number("bytes_received", *received)
                .number("bytes_wasted", *wasted)
                .number("bytes_uploaded", *sent)
                .count("sources", *sources)
                .text("digest", &format!("sha256:{}", manifest.id()))
                .digest("content", manifest.content())
                .text("path", &path.to_string_lossy())
                .flag("already", *already)
                .number("exit", u64::from(Exit::DONE.status)),
        )
    }

    fn figures(&self, at: Moment, status: &Status) -> Object {
        let event = if status.phase == Phase::Hash { "hash" } else { "progress" };
        let mut object = Object::event(at, event);
        // Nothing is to be done while the name is looked for, and while serving.
        if let Some(thousandths) =
            (u128::from(status.done) * 1_000).checked_div(status.total.into())
        {
            let thousandths = u64::try_from(thousandths).unwrap_or(1_000).min(1_000);
            object = object
                .number("bytes_done", status.done)
                .number("bytes_total", status.total)
                .thousandths("ratio", thousandths);
        }
        if status.phase == Phase::Hash {
            return object;
        }
        object = object.number("down_bps", status.down_rate).number("up_bps", status.up_rate);
        let left = status.total.saturating_sub(status.done);
        if let Some(eta) = eta(left, status.down_rate) {
            object = object.number("eta_s", eta.as_secs());
        }
        object
            .count("peers", status.peers)
            .count("peers_full", status.seeders)
            .number("bytes_received", status.received)
            .number("bytes_uploaded", status.sent)
            .flag("tracker_up", status.tracker_up)
            .count("serving", status.serving)
    }
}

impl Report for Json {
    fn notice(&mut self, at: Moment, notice: &Notice, console: &mut dyn Console) {
        if let Some(event) = self.event(at, notice) {
            self.print(event, console);
        }
        if let Notice::FetchStarted { bytes, .. } = notice {
            self.wanted = Some(*bytes);
        }
        if let Notice::FetchStarted { kept, rechecked, bytes, .. } = notice
            && (*kept > 0 || *rechecked > 0)
        {
            let event = Object::event(at, "resume")
                .text("after", "restart")
                .number("bytes_kept", *kept)
                .number("bytes_left", bytes.saturating_sub(*kept))
                .number("pieces_rechecked", u64::from(*rechecked));
            self.print(event, console);
        }
        if let Some((code, what, detail)) = words::warning(notice) {
            let event = Object::event(at, "warning").text("code", code);
            let event = match notice {
                Notice::PeerCorrupt { remote, .. } => event.text("peer", &remote.to_string()),
                _ => event,
            };
            self.print(event.text("message", &what).text("detail", &detail), console);
        }
        if self.channel == Channel::Stderr {
            self.path.notice(&self.about, notice, console);
        }
    }

    fn status(&mut self, at: Moment, status: &Status, console: &mut dyn Console) {
        self.sent = status.sent;
        // With its last job over the machine has no phase of its own; the last event is `complete`.
        if self.completed && status.phase == Phase::Resolve {
            return;
        }
        if self.phase != Some(status.phase) {
            self.phase = Some(status.phase);
            self.printed = at.run;
            let event = Object::event(at, "phase").text("phase", phase_word(status.phase));
            self.print(event, console);
        }
        let due = at.run.saturating_sub(self.printed) >= self.about.interval.unwrap_or(INTERVAL);
        if due && self.about.progress {
            self.printed = at.run;
            self.print(self.figures(at, status), console);
        }
    }

    fn end(&mut self, at: Moment, outcome: Result<(), &CliError>, console: &mut dyn Console) {
        // The `error` event is printed with all other errors. Either way the last event of a job tells
        // how it ended.
        if outcome.is_ok() && !self.completed {
            let ms = u64::try_from(at.run.as_millis()).unwrap_or(u64::MAX);
            let event = Object::event(at, "complete")
                .thousandths("seconds", ms)
                .number("bytes_uploaded", self.sent)
                .number("exit", u64::from(Exit::DONE.status));
            self.print(event, console);
        }
    }
}

/// One difference between files and their manifest.
fn problem_object(problem: &crate::notice::VerifyProblem) -> Object {
    Object::plain().text("path", &problem.path).text("problem", &problem.what)
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => "resolve",
        Phase::Scan => "scan",
        Phase::Hash => "hash",
        Phase::Prepare => "reserve",
        Phase::Transfer => "transfer",
        Phase::Finish => "finalize",
        Phase::Verify => "verify",
        Phase::Seed => "seed",
    }
}

#[cfg(test)]
mod tests {
    use super::super::script_tests as script;
    use super::*;

    fn check(lines: &[String], golden: &str) {
        for line in lines {
            let text = line.strip_prefix("out  ").or_else(|| line.strip_prefix("err  ")).unwrap();
            let parsed: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(parsed["v"], 1, "{line}");
        }
        script::expect(lines, golden);
    }

    #[test]
    fn a_fetch() {
        let json = |channel| Json::new(script::about("fetch"), channel);
        let lines = script::fetch(&mut json(Channel::Stdout));
        check(&lines, include_str!("golden/fetch_json.txt"));
        let both = script::fetch(&mut json(Channel::Stderr));
        assert_eq!(both.len(), lines.len() + 1);
        assert_eq!(both.iter().filter(|line| line.starts_with("out")).count(), 1);
    }

    #[test]
    fn a_seed_that_fails() {
        let lines = script::seed(&mut Json::new(script::about("seed"), Channel::Stdout));
        check(&lines, include_str!("golden/seed_json.txt"));
    }
}
