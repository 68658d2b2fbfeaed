//! For people at a terminal: one line that is rewritten, and few lines that stay.

use std::time::Duration;

use super::words::{self, amount, label, record_label};
use super::{About, FinalPath, Moment, Report};
use crate::cli::console::Console;
use crate::cli::errors::CliError;
use crate::cli::escape::{escape, escape_path};
use crate::cli::format::{
    average, bytes, counted, eta, percent, progress, rate, ratio, span, thousands, whole_span,
};
use crate::notice::{Missing, Notice, Phase, StallReason, Status};

/// Cells of the bar.
const BAR_WIDTH: u64 = 26;
/// Waiting shorter than this is not worth a line.
const PATIENCE: Duration = Duration::from_millis(500);

/// The report for terminals.
#[derive(Debug)]
pub(super) struct Human {
    about: About,
    path: FinalPath,
    /// `name@version` once it is known.
    label: String,
    phase: Phase,
    phase_since: Duration,
    stalled: Option<Stalled>,
    tracker_down: bool,
    files: usize,
    hashed: Option<(u64, Duration)>,
    published: Option<String>,
    shared_bytes: u64,
    /// Bytes that the fetch is about; not the whole object if only a part is wanted.
    wanted: Option<u64>,
}

#[derive(Clone, Debug)]
struct Stalled {
    since: Duration,
    reason: StallReason,
    missing: Missing,
}

impl Human {
    pub(super) fn new(about: About) -> Self {
        let label = escape(&about.subject).into_owned();
        Self {
            about,
            path: FinalPath::default(),
            label,
            phase: Phase::Resolve,
            phase_since: Duration::ZERO,
            stalled: None,
            tracker_down: false,
            files: 0,
            hashed: None,
            published: None,
            shared_bytes: 0,
            wanted: None,
        }
    }

    fn warn(&self, what: &str, detail: &str, console: &mut dyn Console) {
        console.line(&format!("{} {}", self.about.paint.yellow("warning:"), escape(what)));
        if !detail.is_empty() {
            console.line(&format!("  {}", escape(detail)));
        }
    }

    fn started(&mut self, notice: &Notice, console: &mut dyn Console) {
        let Notice::FetchStarted { record, dest, bytes: total, kept, rechecked, files, .. } =
            notice
        else {
            return;
        };
        self.label = record_label(record, &self.about);
        let place = escape_path(dest);
        let free = (self.about.free)(dest)
            .map_or_else(String::new, |free| format!("   (free: {})", bytes(free)));
        console.line(&format!("{}  {} → {place}{free}", self.label, amount(*total, *files)));
        if *kept > 0 || *rechecked > 0 {
            let rechecked = match rechecked {
                0 => String::new(),
                1 => " (1 more piece is checked)".to_owned(),
                n => format!(" ({} more pieces are checked)", thousands(u64::from(*n))),
            };
            let left = bytes(total.saturating_sub(*kept));
            let kept = bytes(*kept);
            console.line(&format!("resuming {}: {kept} kept{rechecked}, {left} to go", self.label));
        }
    }

    fn done(&self, notice: &Notice, console: &mut dyn Console) {
        let (Notice::FetchDone { record, path, already, .. }, Some(summary)) =
            (notice, words::summary(notice, self.wanted))
        else {
            return;
        };
        if *already {
            let label = record_label(record, &self.about);
            console.line(&format!("{label} is there already: {}", escape_path(path)));
        } else {
            console.line(&format!("{} {}", self.about.paint.green("done"), summary.text));
        }
        if let Some(line) = words::sha256sum_line(notice) {
            console.line(&line);
        }
    }

    /// What stays when hashing is over, and when serving begins.
    fn phase_changed(&mut self, at: Moment, to: Phase, console: &mut dyn Console) {
        let before = std::mem::replace(&mut self.phase, to);
        let hashed = self.hashed.take().filter(|(done, _)| before == Phase::Hash && *done > 0);
        if let Some((done, since)) = hashed {
            let took = at.run.saturating_sub(since);
            let speed = rate(average(done, took));
            let threads = counted(self.about.workers, "thread", "threads");
            let amount = amount(done, self.files);
            console.line(&format!("hashed  {amount}  {speed}  {}  ({threads})", span(took)));
        }
        let published = if to == Phase::Seed { self.published.take() } else { None };
        if let Some(name) = published {
            console.line(&words::hint(&self.about, &name));
        }
        self.phase_since = at.run;
    }

    fn live_line(&self, at: Moment, status: &Status) -> Option<String> {
        let waited = at.run.saturating_sub(self.phase_since);
        let waiting =
            |what: &str| (waited >= PATIENCE).then(|| format!("{what}  {}", whole_span(waited)));
        match status.phase {
            Phase::Resolve if self.tracker_down => {
                let tracker = self.about.tracker.as_deref().unwrap_or("the tracker");
                waiting(&format!("waiting for {tracker}"))
            }
            Phase::Resolve => match &self.stalled {
                Some(stalled) => {
                    let (_, why, action) = words::stall(stalled.reason, &stalled.missing);
                    waiting(&format!("looking for {}: {why}, {action}", self.label))
                }
                None => waiting(&format!("looking for {}", self.label)),
            },
            Phase::Scan => waiting("listing files"),
            Phase::Prepare => waiting("preparing the destination"),
            Phase::Finish => waiting("making it durable"),
            Phase::Hash => Some(self.work_line("hashing", at, status)),
            Phase::Verify => Some(self.work_line("verifying", at, status)),
            Phase::Transfer => Some(self.transfer_line(at, status)),
            Phase::Seed => Some(serving_line(status, self.shared_bytes)),
        }
    }

    fn work_line(&self, what: &str, at: Moment, status: &Status) -> String {
        let since = self.hashed.map_or(self.phase_since, |(_, since)| since);
        let speed = average(status.done, at.run.saturating_sub(since));
        let eta = eta(status.total.saturating_sub(status.done), speed);
        let eta = eta.filter(|eta| !eta.is_zero());
        format!(
            "{what} {:>3}%  {}  {}  {}{}",
            percent(status.done, status.total),
            bar(status.done, status.total),
            progress(status.done, status.total),
            rate(speed),
            eta.map_or_else(String::new, |eta| format!("  ETA {}", whole_span(eta))),
        )
    }

    fn transfer_line(&self, at: Moment, status: &Status) -> String {
        let head = format!(
            "{} {:>3}%  {}  {}",
            self.label,
            percent(status.done, status.total),
            bar(status.done, status.total),
            progress(status.done, status.total),
        );
        let peers = format!("peers {} ({} full)", status.peers, status.seeders);
        if let Some(stalled) = &self.stalled {
            let (_, why, action) = words::stall(stalled.reason, &stalled.missing);
            let since = whole_span(at.run.saturating_sub(stalled.since));
            return format!("{head}  stalled {since}: {why}, {action}  {peers}");
        }
        let eta = eta(status.total.saturating_sub(status.done), status.down_rate)
            .map_or_else(|| "-".to_owned(), whole_span);
        let down = rate(status.down_rate);
        format!("{head}  {down}  ETA {eta}  {peers}  up {}", rate(status.up_rate))
    }
}

impl Report for Human {
    fn notice(&mut self, at: Moment, notice: &Notice, console: &mut dyn Console) {
        match notice {
            Notice::TrackerUp { address } if self.tracker_down => {
                self.tracker_down = false;
                console.line(&format!("tracker {} answers again", escape(address)));
            }
            // Said once; that it goes on failing is no news.
            Notice::TrackerDown { .. } if std::mem::replace(&mut self.tracker_down, true) => return,
            Notice::Scanned { files, bytes, .. } => {
                self.files += files;
                self.shared_bytes += bytes;
            }
            Notice::Published { name, version, manifest } => {
                let text = words::published(name, *version, manifest);
                console.line(&format!("{} {text}", self.about.paint.green("published")));
                self.published.get_or_insert_with(|| name.clone());
            }
            Notice::Found { swarm } => self.label = record_label(&swarm.record, &self.about),
            Notice::GotManifest { name, version, .. } => {
                self.label = label(name, *version, &self.about.subject);
            }
            Notice::FetchStarted { bytes, .. } => {
                self.shared_bytes = *bytes;
                self.wanted = Some(*bytes);
                self.started(notice, console);
            }
            Notice::Stalled { since, reason, missing } => {
                let since = at.run.saturating_sub(*since);
                self.stalled = Some(Stalled { since, reason: *reason, missing: missing.clone() });
            }
            Notice::Resumed => self.stalled = None,
            Notice::FetchDone { .. } => {
                console.live(None);
                self.done(notice, console);
            }
            Notice::Verified { problems, .. } if problems.is_empty() => {
                console.line(&format!("checked {} again: every byte is right", self.label));
            }
            _ => {}
        }
        if let Some((_, what, detail)) = words::warning(notice) {
            self.warn(&what, &detail, console);
        }
        self.path.notice(&self.about, notice, console);
    }

    fn status(&mut self, at: Moment, status: &Status, console: &mut dyn Console) {
        if status.phase != self.phase {
            self.phase_changed(at, status.phase, console);
        }
        if status.phase == Phase::Hash {
            let since = self.hashed.map_or(at.run, |(_, since)| since);
            // Not how much is done: the last of it is done between two looks.
            self.hashed = Some((status.total, since));
        }
        if self.about.progress {
            console.live(self.live_line(at, status).as_deref());
        }
    }

    fn end(&mut self, at: Moment, outcome: Result<(), &CliError>, console: &mut dyn Console) {
        // A short job may be over before the figures were asked for again.
        if outcome.is_ok() && self.phase == Phase::Hash {
            self.phase_changed(at, Phase::Resolve, console);
        }
        console.live(None);
    }
}

fn serving_line(status: &Status, shared: u64) -> String {
    format!(
        "serving   {}   {}   up {}   {} sent   ratio {}   Ctrl-C to stop",
        counted(status.serving, "object", "objects"),
        counted(status.peers, "peer", "peers"),
        rate(status.up_rate),
        bytes(status.sent),
        ratio(status.sent, shared),
    )
}

/// A bar of [`BAR_WIDTH`] cells, exact to an eighth of a cell.
fn bar(done: u64, total: u64) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = if total == 0 {
        BAR_WIDTH * 8
    } else {
        let exact = u128::from(done.min(total)) * u128::from(BAR_WIDTH * 8) / u128::from(total);
        u64::try_from(exact).unwrap_or(BAR_WIDTH * 8)
    };
    let cell = |i: u64| match eighths.saturating_sub(i * 8) {
        part @ 0..8 => PARTS.get(usize::try_from(part).unwrap_or(0)).copied().unwrap_or(' '),
        _ => '█',
    };
    (0..BAR_WIDTH).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::super::script_tests as script;
    use super::*;

    #[test]
    fn a_bar_is_exact_to_an_eighth() {
        assert_eq!(bar(0, 10), " ".repeat(26));
        assert_eq!(bar(10, 10), "█".repeat(26));
        assert_eq!(bar(u64::MAX, u64::MAX), "█".repeat(26));
        assert_eq!(bar(1, 104), format!("▎{}", " ".repeat(25)));
    }

    #[test]
    fn a_fetch() {
        let lines = script::fetch(&mut Human::new(script::about("fetch")));
        script::expect(&lines, include_str!("golden/fetch_human.txt"));
    }

    #[test]
    fn a_seed() {
        let lines = script::seed(&mut Human::new(script::about("seed")));
        script::expect(&lines, include_str!("golden/seed_human.txt"));
    }
}
