//! Made-up transfers, told to a report step by step; what it prints is compared with a stored text.
//!
//! The texts hold hostile names on purpose: an escape sequence that reaches a `live` or `err` line is a
//! failure. To accept changed output, look at it and copy it from the failure's message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Code, Digest, Entry, EntryKind, Manifest, Record, SafePath};

use super::{About, Moment, Report};
use crate::cli::console::Recorder;
use crate::cli::errors::CliError;
use crate::cli::exit::Exit;
use crate::cli::format::Paint;
use crate::disk::{StorageError, StorageErrorKind};
use crate::notice::{Notice, Phase, StallReason, Status};

pub(super) fn about(command: &'static str) -> About {
    About {
        command,
        subject: "phi\u{1b}.gguf".to_owned(),
        tracker: Some("10.0.0.5:9000".to_owned()),
        workers: 8,
        interval: None,
        progress: true,
        print_path: true,
        checks: false,
        out_terminal: false,
        paint: Paint::off(),
        free: |_| Some(812 << 30),
    }
}

/// Feeds a report and collects what it prints.
struct Stage<'r> {
    report: &'r mut dyn Report,
    console: Recorder,
}

impl Stage<'_> {
    fn at(ms: u64) -> Moment {
        let unix = Duration::from_millis(1_795_251_610_000 + ms);
        Moment { run: Duration::from_millis(ms), unix }
    }

    fn notice(&mut self, ms: u64, notice: &Notice) {
        self.report.notice(Self::at(ms), notice, &mut self.console);
    }

    fn status(&mut self, ms: u64, status: &Status) {
        self.report.status(Self::at(ms), status, &mut self.console);
    }
}

fn file_manifest() -> Arc<Manifest> {
    let kind = EntryKind::File { executable: false, len: 3 << 20, digest: Digest([7; 32]) };
    let pieces = vec![Digest([1; 32]); 3];
    Arc::new(Manifest::build(20, vec![(Entry { path: None, kind }, pieces)]).unwrap())
}

fn folder_manifest() -> Arc<Manifest> {
    let file = |path: &str| {
        let kind = EntryKind::File { executable: false, len: 1 << 20, digest: Digest([7; 32]) };
        (Entry { path: Some(SafePath::new(path).unwrap()), kind }, vec![Digest([1; 32])])
    };
    Arc::new(Manifest::build(20, vec![file("a"), file("b/c")]).unwrap())
}

fn record(manifest: &Manifest) -> Record {
    Record {
        object: manifest.id(),
        content: manifest.content(),
        length: manifest.geometry().total_len(),
        published_at: 1_795_000_000,
        version: 1,
        manifest_len: 200,
        piece_count: manifest.geometry().piece_count(),
        file_count: 1,
        piece_log2: 20,
        name: "phi\u{1b}.gguf".to_owned(),
    }
}

/// A fetch that resumes, stalls, meets a liar, loses its tracker, and succeeds.
pub(super) fn fetch(report: &mut dyn Report) -> Vec<String> {
    let manifest = file_manifest();
    let remote: SocketAddr = "10.0.0.31:41022".parse().unwrap();
    let mut stage = Stage { report, console: Recorder::default() };
    let resolving = Status { tracker_up: true, ..Status::default() };
    stage.status(100, &resolving);
    stage.status(1_200, &resolving);
    stage.notice(
        1_300,
        &Notice::FetchStarted {
            record: record(&manifest),
            dest: "/models/phi\u{1b}.gguf".into(),
            bytes: 3 << 20,
            kept: 1 << 20,
            rechecked: 2,
            files: 1,
            pieces: 3,
        },
    );
    let moving = Status {
        phase: Phase::Transfer,
        total: 3 << 20,
        done: 1 << 20,
        down_rate: 512 << 10,
        up_rate: 128 << 10,
        received: 1 << 19,
        sent: 1 << 18,
        peers: 3,
        seeders: 1,
        tracker_up: true,
        serving: 1,
    };
    stage.status(1_400, &moving);
    stage.status(3_500, &moving);
    stage.notice(3_600, &Notice::PeerCorrupt { remote, piece: Some(2) });
    let down = Notice::TrackerDown {
        address: "10.0.0.5:9000".to_owned(),
        why: "refused\r\n\u{1b}[2J".to_owned(),
        retry: Duration::from_secs(5),
    };
    stage.notice(3_700, &down);
    stage.notice(4_700, &down);
    stage.notice(5_000, &Notice::TrackerUp { address: "10.0.0.5:9000".to_owned() });
    let since = Duration::from_secs(5);
    let reason = StallReason::NoSourceForPieces;
    let geometry = protocol::Geometry::new(20, [40 << 20]).expect("40 pieces");
    let mut nowhere = protocol::PieceSet::empty(40);
    for piece in [0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 39] {
        nowhere.insert(geometry.piece(piece).expect("one of them"));
    }
    stage.notice(9_000, &Notice::Stalled { since, reason, missing: nowhere.into() });
    stage.status(16_000, &Status { down_rate: 0, ..moving });
    stage.notice(17_000, &Notice::Resumed);
    stage.status(27_000, &Status { done: 2 << 20, ..moving });
    let done = Notice::FetchDone {
        record: record(&manifest),
        path: "/models/phi\u{1b}.gguf".into(),
        already: false,
        manifest,
        received: 2 << 20,
        wasted: 4 << 10,
        sent: 1 << 20,
        sources: 3,
        took: Duration::from_millis(27_500),
    };
    stage.notice(27_500, &done);
    stage.report.end(Stage::at(27_600), Ok(()), &mut stage.console);
    stage.console.lines
}

/// A seed of two objects of which one is refused, and the other changes on disk.
pub(super) fn seed(report: &mut dyn Report) -> Vec<String> {
    let mut stage = Stage { report, console: Recorder::default() };
    stage.notice(0, &Notice::Listening { local: "0.0.0.0:7000".parse().unwrap() });
    stage.status(100, &Status { phase: Phase::Scan, ..Status::default() });
    let skipped =
        vec![("m/link".into(), "a symbolic link".to_owned()), ("m/x".into(), String::new())];
    stage.notice(150, &Notice::Scanned { objects: 2, files: 3, bytes: 5 << 20, skipped });
    let hashing = Status { phase: Phase::Hash, total: 5 << 20, ..Status::default() };
    stage.status(200, &hashing);
    stage.status(1_200, &Status { done: 4 << 20, ..hashing.clone() });
    let name = "the models".to_owned();
    let manifest = folder_manifest();
    stage.notice(1_300, &Notice::Hashed { name: name.clone(), path: "m/d".into(), manifest });
    stage.status(1_400, &Status { done: 5 << 20, ..hashing });
    let manifest = folder_manifest();
    stage.notice(1_500, &Notice::Published { name: name.clone(), version: 3, manifest });
    let text = "it is mine\u{7}".to_owned();
    let refused = "phi".to_owned();
    stage.notice(1_600, &Notice::PublishRefused { name: refused, code: Code::NAME_TAKEN, text });
    let serving = Status {
        phase: Phase::Seed,
        up_rate: 3 << 20,
        sent: 10 << 20,
        peers: 2,
        serving: 1,
        ..Status::default()
    };
    stage.status(1_700, &serving);
    stage.status(12_000, &serving);
    stage.status(24_000, &serving);
    let error = StorageError {
        kind: StorageErrorKind::Changed,
        what: "size 1843 is now 1850".to_owned(),
        path: "m/d/a".into(),
        advice: None,
    };
    stage.notice(25_000, &Notice::Withdrawn { name, version: Some(3), error });
    let error = CliError::new(Exit::CHANGED, String::new(), String::new(), String::new());
    stage.report.end(Stage::at(26_000), Err(&error), &mut stage.console);
    stage.console.lines
}

/// Compares what was printed with a stored text.
pub(super) fn expect(lines: &[String], golden: &str) {
    for line in lines.iter().filter(|line| !line.starts_with("out")) {
        assert!(!line.chars().any(char::is_control), "not escaped: {line:?}");
    }
    // Data is not escaped; the stored texts are to be plain all the same.
    let printed = lines.join("\n").replace('\u{1b}', "<ESC>");
    assert!(printed == golden.trim_end(), "now prints:\n{printed}\n");
}
