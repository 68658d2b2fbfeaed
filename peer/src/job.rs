//! What a peer can be told to do. The command line makes jobs; the machine carries them out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Manifest, NodeId, ObjectId, PublisherKey, SafePath};

use crate::disk::{IfExists, ScanRequest};

/// How this peer behaves, whatever its job.
#[derive(Clone, Debug)]
pub struct Config {
    /// Identity of this process, drawn at random.
    pub node: NodeId,
    /// Trackers as `host:port`, in order of preference; may be empty with a metafile.
    pub trackers: Vec<String>,
    /// Secret of the cluster, if it has one.
    pub token: Option<Vec<u8>>,
    /// Shows that names are ours.
    pub publisher: PublisherKey,
    /// Address to announce instead of the observed one.
    pub advertise: Option<std::net::SocketAddr>,
    /// Bytes per second to send at most.
    pub up_limit: Option<u64>,
    /// Bytes per second to receive at most.
    pub down_limit: Option<u64>,
    /// Connections to other peers that we dial at most; from twice as many on, none are accepted.
    pub max_peers: usize,
    /// Pieces of what is shared have 2 to this power of bytes, instead of what suits its size (12 to 26).
    pub piece_log2: Option<u8>,
    /// Bytes of pieces being received or stored at most, over all fetches; at least two pieces are
    /// always allowed.
    pub buffer_bytes: usize,
    /// Blocking tasks that run at once; as many workers as the driver has.
    pub workers: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// Hash, publish and serve.
    Seed(SeedJob),
    /// Hash only, tell the manifests, end.
    Create(ScanRequest),
    /// Fetch an object.
    Fetch(FetchJob),
    /// Get the manifest of an object, tell it, end.
    Manifest(Target),
    /// Get the manifest, unless given, and compare local files with it; end.
    Verify {
        /// What they should be.
        target: Target,
        /// The file or folder.
        path: PathBuf,
    },
    /// Ask the tracker for a record and up to so many peers, tell it, end.
    Find {
        /// What to look for.
        target: Target,
        /// How many peers.
        want: u16,
    },
    /// Ask the tracker for all names with this prefix, tell them page by page, end.
    List {
        /// May be empty.
        prefix: String,
    },
    /// Remove a name from the tracker, end.
    Unpublish {
        /// Which.
        name: String,
    },
}

/// What to seed.
#[derive(Clone, Debug)]
pub struct SeedJob {
    /// What to share; at least one.
    pub paths: Vec<ScanRequest>,
    /// Remember hashes between runs.
    pub use_cache: bool,
    /// End after so long.
    pub seed_time: Option<Duration>,
    /// End once each object has been published, without serving.
    pub once: bool,
}

/// What to fetch and how.
#[derive(Clone, Debug)]
pub struct FetchJob {
    /// What.
    pub target: Target,
    /// The folder to put it in.
    pub folder: PathBuf,
    /// What to do if something has its name already.
    pub if_exists: IfExists,
    /// Make the data durable before it gets its name.
    pub sync: bool,
    /// Bytes to leave free on the disk.
    pub reserve: u64,
    /// Wait so long for the name to appear.
    pub wait: Duration,
    /// Give up after so long altogether.
    pub timeout: Option<Duration>,
    /// Give up after so long without a new byte.
    pub stall_timeout: Option<Duration>,
    /// Afterwards read everything again and compare with the whole-file digests.
    pub check: bool,
    /// Serve on afterwards.
    pub linger: Linger,
}

/// How long to serve after a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Not at all.
    No,
    /// So long.
    For(Duration),
    /// Until told to stop.
    Forever,
}

/// Which object.
#[derive(Clone, Debug)]
pub enum Target {
    /// A name in its newest (0) or an exact version. If the tracker does not know the whole of it, its
    /// leading segments are tried, and the rest is a path inside that object.
    Name {
        /// Which name.
        name: SafePath,
        /// Which version.
        version: u32,
    },
    /// A name that must be this object: `NAME@sha256:...`.
    Exact {
        /// Saved under the last segment of it.
        name: SafePath,
        /// Which object.
        object: ObjectId,
    },
    /// An object whose manifest we have.
    Manifest {
        /// Saved under the last segment of it.
        name: SafePath,
        /// What it is.
        manifest: Arc<Manifest>,
    },
}
