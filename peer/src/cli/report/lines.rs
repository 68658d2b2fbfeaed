//! For logs: a timestamped line each ten seconds or ten percent, no control codes.

use std::time::Duration;

use super::words::{self, file_count, label, record_label};
use super::{About, FinalPath, Moment, Report};
use crate::cli::console::Console;
use crate::cli::errors::CliError;
use crate::cli::escape::{escape, escape_path, shell_word};
use crate::cli::format::{average, bytes_tight, eta, percent, span, timestamp};
use crate::notice::{Notice, Phase, Status};

/// Between lines, unless ten more percent are done earlier.
const INTERVAL: Duration = Duration::from_secs(10);
/// Ten percents of a small object pass too fast to read.
const SHORTEST: Duration = Duration::from_secs(1);

/// The report for logs.
#[derive(Debug)]
pub(super) struct Lines {
    about: About,
    path: FinalPath,
    label: String,
    phase: Phase,
    phase_since: Duration,
    printed: Duration,
    printed_percent: u64,
    printed_serving: Option<(usize, u64)>,
    tracker_down: bool,
    wanted: Option<u64>,
    /// The first name that was published, until the hint is given.
    published: Option<String>,
}

impl Lines {
    pub(super) fn new(about: About) -> Self {
        let label = escape(&about.subject).into_owned();
        Self {
            about,
            path: FinalPath::default(),
            label,
            phase: Phase::Resolve,
            phase_since: Duration::ZERO,
            printed: Duration::ZERO,
            printed_percent: 0,
            printed_serving: None,
            tracker_down: false,
            wanted: None,
            published: None,
        }
    }

    fn print(at: Moment, text: &str, console: &mut dyn Console) {
        console.line(&format!("{} {text}", timestamp(at.unix)));
    }

    fn started(&mut self, notice: &Notice) -> Option<String> {
        let Notice::FetchStarted { record, dest, bytes, kept, rechecked, files, pieces } = notice
        else {
            return None;
        };
        self.label = record_label(record, &self.about);
        self.wanted = Some(*bytes);
        let resumed = match kept {
            0 if *rechecked == 0 => String::new(),
            kept => format!(" kept={} rechecked={rechecked}", bytes_tight(*kept)),
        };
        Some(format!(
            "start {} {} files={files} pieces={pieces}{resumed} dest={}",
            self.label,
            bytes_tight(*bytes),
            shell_word(&dest.to_string_lossy()),
        ))
    }

    fn done(&self, notice: &Notice) -> Option<String> {
        let Notice::FetchDone { record, path, already, manifest, sent, sources, took, .. } = notice
        else {
            return None;
        };
        let (label, id) = (record_label(record, &self.about), manifest.id());
        if *already {
            return Some(format!("already there {label} sha256:{id} path={}", escape_path(path)));
        }
        let summary = words::summary(notice, self.wanted)?;
        Some(format!(
            "done {label} {} {} avg={}/s sources={sources} resent={} sent={} sha256:{id}",
            bytes_tight(summary.bytes),
            span(*took),
            bytes_tight(summary.average),
            summary.wasted,
            bytes_tight(*sent),
        ))
    }

    fn text(&mut self, notice: &Notice) -> Option<String> {
        match notice {
            // Of a fetch nobody needs to know; a firewall in front of a seeder has to.
            Notice::Listening { local } if self.about.command == "seed" => {
                Some(format!("listening on {local}"))
            }
            Notice::TrackerUp { address } if std::mem::take(&mut self.tracker_down) => {
                Some(format!("tracker {} answers again", escape(address)))
            }
            Notice::Scanned { objects, files, bytes, .. } => {
                Some(format!("found objects={objects} files={files} {}", bytes_tight(*bytes)))
            }
            Notice::Published { name, version, manifest } => Some(format!(
                "published {} {} files={} pieces={} sha256:{}",
                label(name, *version, ""),
                bytes_tight(manifest.geometry().total_len()),
                file_count(manifest),
                manifest.geometry().piece_count(),
                manifest.id(),
            )),
            Notice::Found { swarm } => {
                self.label = record_label(&swarm.record, &self.about);
                None
            }
            Notice::FetchStarted { .. } => self.started(notice),
            Notice::Stalled { since, reason, missing } => {
                let (code, why, action) = words::stall(*reason, missing);
                let s = since.as_secs();
                Some(format!("stalled {} for={s}s reason={code}: {why}, {action}", self.label))
            }
            Notice::Resumed => Some(format!("going on {}", self.label)),
            Notice::FetchDone { .. } => self.done(notice),
            Notice::Verified { problems, .. } if problems.is_empty() => {
                Some(format!("checked {} again: every byte is right", self.label))
            }
            _ => None,
        }
    }

    fn due(&self, at: Moment, percent: u64) -> bool {
        let waited = at.run.saturating_sub(self.printed);
        let interval = self.about.interval.unwrap_or(INTERVAL);
        waited >= interval
            || (waited >= SHORTEST.min(interval) && percent / 10 > self.printed_percent / 10)
    }

    fn figures(&mut self, at: Moment, status: &Status) -> Option<String> {
        let left = status.total.saturating_sub(status.done);
        let percent = percent(status.done, status.total);
        let of_total = crate::cli::format::progress(status.done, status.total).replace(' ', "");
        let eta_s = |rate| {
            eta(left, rate).map_or_else(|| "-".to_owned(), |eta| format!("{}s", eta.as_secs()))
        };
        Some(match status.phase {
            Phase::Transfer => format!(
                "{} {} {percent}% {of_total} {}/s eta={} peers={}",
                self.about.command,
                self.label,
                bytes_tight(status.down_rate),
                eta_s(status.down_rate),
                status.peers,
            ),
            Phase::Hash | Phase::Verify => {
                let rate = average(status.done, at.run.saturating_sub(self.phase_since));
                let what = if status.phase == Phase::Hash { "hash" } else { "verify" };
                let (speed, eta) = (bytes_tight(rate), eta_s(rate));
                format!("{what} {percent}% {of_total} {speed}/s eta={eta}")
            }
            Phase::Seed => {
                // An idle seeder has nothing new to say.
                let figures = Some((status.peers, status.sent));
                if std::mem::replace(&mut self.printed_serving, figures) == figures {
                    return None;
                }
                format!(
                    "serving objects={} peers={} up={}/s sent={}",
                    status.serving,
                    status.peers,
                    bytes_tight(status.up_rate),
                    bytes_tight(status.sent),
                )
            }
            Phase::Resolve => format!("looking for {}", self.label),
            Phase::Scan => "listing files".to_owned(),
            Phase::Prepare => "preparing the destination".to_owned(),
            Phase::Finish => "making it durable".to_owned(),
        })
    }
}

impl Report for Lines {
    fn notice(&mut self, at: Moment, notice: &Notice, console: &mut dyn Console) {
        if matches!(notice, Notice::TrackerDown { .. })
            && std::mem::replace(&mut self.tracker_down, true)
        {
            return;
        }
        if let Notice::Published { name, .. } = notice {
            self.published.get_or_insert_with(|| name.clone());
        }
        if let Some(text) = self.text(notice) {
            Self::print(at, &text, console);
        }
        if let Some((_, what, detail)) = words::warning(notice) {
            let tail = if detail.is_empty() { String::new() } else { format!("; {detail}") };
            Self::print(at, &format!("warning: {}", escape(&format!("{what}{tail}"))), console);
        }
        if let Some(line) = words::sha256sum_line(notice) {
            console.line(&line);
        }
        self.path.notice(&self.about, notice, console);
    }

    fn status(&mut self, at: Moment, status: &Status, console: &mut dyn Console) {
        if status.phase != self.phase {
            self.phase = status.phase;
            self.phase_since = at.run;
            let published = if self.phase == Phase::Seed { self.published.take() } else { None };
            if let Some(name) = published {
                Self::print(at, &words::hint(&self.about, &name), console);
            }
            self.printed = at.run;
            self.printed_percent = 0;
        }
        let percent = percent(status.done, status.total);
        if !self.about.progress || !self.due(at, percent) {
            return;
        }
        self.printed = at.run;
        self.printed_percent = percent;
        if let Some(text) = self.figures(at, status) {
            Self::print(at, &text, console);
        }
    }

    fn end(&mut self, _: Moment, _: Result<(), &CliError>, _: &mut dyn Console) {}
}

#[cfg(test)]
mod tests {
    use super::super::script_tests as script;
    use super::*;

    #[test]
    fn a_fetch() {
        let lines = script::fetch(&mut Lines::new(script::about("fetch")));
        script::expect(&lines, include_str!("golden/fetch_lines.txt"));
    }

    #[test]
    fn a_seed() {
        let lines = script::seed(&mut Lines::new(script::about("seed")));
        script::expect(&lines, include_str!("golden/seed_lines.txt"));
    }
}
