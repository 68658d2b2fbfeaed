//! Words that the modes share. Pure; everything that others wrote comes out escaped.

use protocol::{Digest, Manifest, Record};

use super::About;
use crate::cli::errors;
use crate::cli::escape::{escape, escape_path, shell_word};
use crate::cli::format::{
    average, bytes, counted, rate, share, short_hex, span, thousands, whole_span,
};
use crate::notice::{Missing, Notice, StallReason};

/// `name@version`, or the name alone if it has no version; `fallback` without a name.
pub(super) fn label(name: &str, version: u32, fallback: &str) -> String {
    let name = escape(if name.is_empty() { fallback } else { name });
    if version == 0 { name.into_owned() } else { format!("{name}@{version}") }
}

/// The label of a record.
pub(super) fn record_label(record: &Record, about: &About) -> String {
    label(&record.name, record.version, &about.subject)
}

/// A warning: what happened, and where or what follows.
pub(super) type Warning = (&'static str, String, String);

/// The warning in a notice, with its code; `None` if it is no warning.
pub(super) fn warning(notice: &Notice) -> Option<Warning> {
    Some(match notice {
        Notice::TrackerDown { address, why, retry } => (
            "tracker_down",
            format!("tracker {address} does not answer: {why}"),
            match retry.as_secs() {
                0 => "trying again; transfers go on".to_owned(),
                _ => format!("trying again in {}; transfers go on", whole_span(*retry)),
            },
        ),
        Notice::Scanned { skipped, .. } => {
            let (what, detail) = errors::skipped(skipped)?;
            ("skipped", what, detail)
        }
        Notice::PublishRefused { name, code, text } => (
            "publish_refused",
            format!("the tracker refused '{name}' ({code}): {text}"),
            format!("'{name}' is not shared. {}", errors::refusal_advice(*code)),
        ),
        Notice::Withdrawn { name, version, error } => {
            let (what, detail) = errors::withdrawn(name, *version, error);
            ("withdrawn", what, detail)
        }
        Notice::PeerCorrupt { remote, piece } => {
            let what = match piece {
                Some(piece) => format!("{remote} sent wrong data for piece {piece}"),
                None => format!("{remote} sent a wrong manifest"),
            };
            ("peer_corrupt", what, "nothing of it was kept; that peer is avoided".to_owned())
        }
        Notice::DiskFull { error } => {
            let (what, detail) = errors::disk_full(error);
            ("disk_full", what, detail)
        }
        Notice::Verified { path, problems, .. } => {
            let first = problems.first()?;
            let place = if first.path.is_empty() { "it" } else { first.path.as_str() };
            let what = format!("{}: {place} {}", path.display(), first.what);
            ("not_as_published", what, counted(problems.len(), "problem", "problems"))
        }
        _ => return None,
    })
}

/// Runs of pieces named in a line; there may be a million.
const RUNS_IN_LINE: usize = 6;

/// `3 pieces (4-5, 17)`.
pub(in crate::cli) fn pieces(missing: &Missing) -> String {
    let count = usize::try_from(missing.count).unwrap_or(usize::MAX);
    let counted = counted(count, "piece", "pieces");
    let which = runs(missing, RUNS_IN_LINE);
    if which.is_empty() { counted } else { format!("{counted} ({which})") }
}

/// `4-5, 17`: the numbers of pieces, from 0, as far as `limit` runs go.
pub(super) fn runs(missing: &Missing, limit: usize) -> String {
    let mut runs = missing.runs();
    let named: Vec<String> = runs
        .by_ref()
        .take(limit)
        .map(
            |(first, last)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            },
        )
        .collect();
    let more = if runs.next().is_some() { ", ..." } else { "" };
    named.join(", ") + more
}

/// Why nothing comes, and what is being done about it.
pub(super) fn stall(
    reason: StallReason,
    missing: &Missing,
) -> (&'static str, String, &'static str) {
    match reason {
        StallReason::NoPeers => ("no_peers", "nobody offers it".to_owned(), "asking the tracker"),
        StallReason::NoSourceForPieces => (
            "no_source_for_pieces",
            format!("nobody offers {}", pieces(missing)),
            "asking the tracker",
        ),
        StallReason::PeersSilent => {
            ("peers_silent", "the peers send nothing".to_owned(), "asking others")
        }
        StallReason::NoTracker => (
            "no_tracker",
            "the tracker does not answer and no peer is known".to_owned(),
            "trying again",
        ),
        StallReason::Disk => ("disk", "waiting for the local disk".to_owned(), "waiting"),
    }
}

/// `published llama-70b@1  131.4 GiB in 41 files  4 MiB × 33,639 pieces  sha256:9f2c…e1d4`.
pub(super) fn published(name: &str, version: u32, manifest: &Manifest) -> String {
    let geometry = manifest.geometry();
    format!(
        "{}  {} in {}  {} × {} pieces  sha256:{}",
        label(name, version, ""),
        bytes(geometry.total_len()),
        counted(file_count(manifest), "file", "files"),
        bytes(u64::from(geometry.piece_size())).replace(".0 ", " "),
        thousands(u64::from(geometry.piece_count())),
        short_hex(manifest.id()),
    )
}

/// Files of an object, without empty folders.
pub(super) fn file_count(manifest: &Manifest) -> usize {
    let is_file = |entry: &&protocol::Entry| matches!(entry.kind, protocol::EntryKind::File { .. });
    manifest.entries().iter().filter(is_file).count()
}

/// The command that fetches what was published here.
pub(super) fn hint(about: &About, name: &str) -> String {
    let tracker = about.tracker.as_ref().map_or_else(String::new, |t| format!(" -T {t}"));
    format!("on another machine:  peer fetch {}{tracker}", shell_word(name))
}

/// The figures of a finished fetch, without `done`.
pub(super) struct Summary {
    /// Bytes that were wanted.
    pub(super) bytes: u64,
    /// Payload received and thrown away, of all that was received.
    pub(super) wasted: String,
    /// Bytes per second over the whole time.
    pub(super) average: u64,
    /// The line for people.
    pub(super) text: String,
}

/// What a `FetchDone` says about a fetch of `wanted` bytes, by default all of the object; `None` for
/// other notices.
pub(super) fn summary(notice: &Notice, wanted: Option<u64>) -> Option<Summary> {
    let Notice::FetchDone { manifest, received, wasted, sent, sources, took, .. } = notice else {
        return None;
    };
    let average = average(*received, *took);
    let lost = share(*wasted, *received);
    let bytes_done = wanted.unwrap_or_else(|| manifest.geometry().total_len());
    let text = format!(
        "in {}  {} verified  avg {}  from {}  re-sent {lost}  uploaded {}",
        span(*took),
        bytes(bytes_done),
        rate(average),
        counted(*sources, "peer", "peers"),
        bytes(*sent),
    );
    Some(Summary { bytes: bytes_done, wasted: lost, average, text })
}

/// The line that `sha256sum` would print for a fetched file; `None` for a folder.
pub(super) fn sha256sum_line(notice: &Notice) -> Option<String> {
    let Notice::FetchDone { manifest, path, .. } = notice else {
        return None;
    };
    let content = manifest.content();
    (content != Digest::ZERO).then(|| format!("{content}  {}", escape_path(path)))
}

/// `131.4 GiB in 41 files`.
pub(super) fn amount(total: u64, files: usize) -> String {
    format!("{} in {}", bytes(total), counted(files, "file", "files"))
}
