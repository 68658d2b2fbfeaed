//! What the machine tells the person who runs it. Facts only: wording and layout are the command line's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::message::{Page, Swarm};
use protocol::{Code, Manifest, PieceSet, Record};

use crate::disk::StorageError;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Other peers can connect to us.
    Listening {
        /// Where.
        local: SocketAddr,
    },
    /// The tracker answers.
    TrackerUp {
        /// Which.
        address: String,
    },
    /// The tracker does not answer; transfers go on, and it is tried again.
    TrackerDown {
        /// Which.
        address: String,
        /// Why.
        why: String,
        /// When it is tried again.
        retry: Duration,
    },
    /// A path was listed.
    Scanned {
        /// Number of objects.
        objects: usize,
        /// Number of files.
        files: usize,
        /// Bytes of all files.
        bytes: u64,
        /// Left out, and why.
        skipped: Vec<(PathBuf, String)>,
    },
    /// All pieces of one local object are known.
    Hashed {
        /// Its name.
        name: String,
        /// The file or folder.
        path: PathBuf,
        /// What it is.
        manifest: Arc<Manifest>,
    },
    /// The tracker has the name.
    Published {
        /// Its name.
        name: String,
        /// Which version of it.
        version: u32,
        /// What it is.
        manifest: Arc<Manifest>,
    },
    /// The tracker refused the name. It is not served.
    PublishRefused {
        /// Its name.
        name: String,
        /// Why.
        code: Code,
        /// The same in the tracker's words.
        text: String,
    },
    /// A local object can't be shared (any more).
    Withdrawn {
        /// Its name.
        name: String,
        /// Its version, if it was published.
        version: Option<u32>,
        /// What is wrong with which file.
        error: StorageError,
    },
    /// A name was found.
    Found {
        /// The tracker's answer.
        swarm: Swarm,
    },
    /// The manifest is here and checked.
    GotManifest {
        /// The name as asked for.
        name: String,
        /// Its version; 0 if fetched by object.
        version: u32,
        /// What it is.
        manifest: Arc<Manifest>,
    },
    /// The fetch can begin.
    FetchStarted {
        /// Name and version, if it has them.
        record: Record,
        /// Where it will be.
        dest: PathBuf,
        /// Bytes that are wanted.
        bytes: u64,
        /// Bytes kept from an earlier run.
        kept: u64,
        /// Further pieces that may be there, and are being hashed to find out.
        rechecked: u32,
        /// Files that are wanted.
        files: usize,
        /// Pieces that are wanted.
        pieces: u32,
    },
    /// A peer sent wrong data; it is avoided.
    PeerCorrupt {
        /// Who.
        remote: SocketAddr,
        /// Which piece; `None` for the manifest.
        piece: Option<u32>,
    },
    /// No byte has come for a while; again when the reason changes or what is missing.
    Stalled {
        /// For how long.
        since: Duration,
        /// Why.
        reason: StallReason,
        /// What nobody offers.
        missing: Missing,
    },
    /// Bytes come again.
    Resumed,
    /// The disk is full; the fetch waits for space and tries again.
    DiskFull {
        /// What could not be written.
        error: StorageError,
    },
    /// It is in its place, every byte verified.
    FetchDone {
        /// Name and version, if it has them.
        record: Record,
        /// Where it is.
        path: PathBuf,
        /// It was there before we started.
        already: bool,
        /// What it is.
        manifest: Arc<Manifest>,
        /// Payload bytes received.
        received: u64,
        /// Payload bytes received and thrown away.
        wasted: u64,
        /// Payload bytes sent to others.
        sent: u64,
        /// Peers that sent at least one piece.
        sources: usize,
        /// From start to end.
        took: Duration,
    },
    /// A `verify` or `--check` finished.
    Verified {
        /// What was checked.
        path: PathBuf,
        /// Against what.
        manifest: Arc<Manifest>,
        /// Files that are missing, differ, or are extra; empty = all as it should be.
        problems: Vec<VerifyProblem>,
    },
    /// Answer to a listing.
    Page(Page),
    /// An unpublish went through.
    Unpublished {
        /// Which name.
        name: String,
    },
    /// The job ended without success.
    Failed(Failure),
}

/// Something that `verify` found.
#[derive(Clone, Debug)]
pub struct VerifyProblem {
    /// Path inside the object; empty for a file object.
    pub path: String,
    /// `missing`, `differs in 3 of 17 pieces`, ...
    pub what: String,
}

/// Pieces that no peer offers that we know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many.
    pub count: u32,
    /// Which. `None` without a manifest: then it is all of them, and their number is hearsay.
    pub pieces: Option<PieceSet>,
}

impl Missing {
    /// The first and the last piece of each run of neighbours, ascending.
    pub fn runs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut pieces = self.pieces.iter().flat_map(PieceSet::iter).peekable();
        std::iter::from_fn(move || {
            let first = pieces.next()?;
            let mut last = first;
            while let Some(next) = pieces.next_if_eq(&(last + 1)) {
                last = next;
            }
            Some((first, last))
        })
    }
}

impl From<PieceSet> for Missing {
    fn from(pieces: PieceSet) -> Self {
        Self { count: pieces.count(), pieces: Some(pieces) }
    }
}

/// Why nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StallReason {
    /// Nobody that we know holds it.
    NoPeers,
    /// Peers are there, but none offers the missing pieces.
    NoSourceForPieces,
    /// Peers offer pieces, but send nothing.
    PeersSilent,
    /// The tracker does not answer and we know no peer.
    NoTracker,
    /// Waiting for the local disk.
    Disk,
}

/// Why a job ended without success; each kind has its exit code.
#[derive(Clone, Debug)]
pub enum Failure {
    /// No such name, version or object.
    NotFound {
        /// As asked for.
        name: String,
        /// Names that look alike.
        similar: Vec<String>,
    },
    /// Found, but nobody offers these pieces.
    MissingPieces {
        /// Which.
        missing: Missing,
    },
    /// Nothing moved for too long, or the time given is over.
    TimedOut {
        /// What was waited for.
        what: String,
    },
    /// The tracker can't be reached.
    NoTracker {
        /// Which.
        address: String,
        /// Why.
        why: String,
    },
    /// The tracker or peer speaks another version.
    Incompatible {
        /// Both ranges, in words.
        text: String,
    },
    /// Not allowed.
    Denied {
        /// In the tracker's words.
        text: String,
    },
    /// Data could not be verified from any source, or `verify` found differences.
    Integrity {
        /// What.
        text: String,
    },
    /// A file could not be used.
    Storage(StorageError),
    /// The tracker refused a request for a reason that has no kind of its own.
    Refused {
        /// Its code.
        code: Code,
        /// In its words.
        text: String,
    },
    /// Nothing of what was given can be shared.
    NothingToShare,
}

/// Figures for progress displays, taken at any time.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What is going on.
    pub phase: Phase,
    /// Bytes to hash or to fetch.
    pub total: u64,
    /// Bytes of them done: hashed, or stored.
    pub done: u64,
    /// Bytes per second coming in, averaged over some seconds.
    pub down_rate: u64,
    /// Bytes per second going out, averaged over some seconds.
    pub up_rate: u64,
    /// Payload bytes received.
    pub received: u64,
    /// Payload bytes sent.
    pub sent: u64,
    /// Connected peers.
    pub peers: usize,
    /// Connected peers that have all of it.
    pub seeders: usize,
    /// Whether the tracker answers.
    pub tracker_up: bool,
    /// Objects being served.
    pub serving: usize,
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Phase {
    /// Looking for the name, peers and manifest.
    #[default]
    Resolve,
    /// Listing files.
    Scan,
    /// Hashing files.
    Hash,
    /// Reading the journal, reserving space.
    Prepare,
    /// Fetching pieces.
    Transfer,
    /// Syncing and renaming.
    Finish,
    /// Comparing files with a manifest.
    Verify,
    /// Serving.
    Seed,
}

/// What a peer holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Connections to other peers.
    pub links: usize,
    /// Connections for which requests wait or waited: never more than there are links.
    pub upload_queues: usize,
}
