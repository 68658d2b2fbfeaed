//! What is fetched, onto which disk.

use std::sync::Arc;
use std::time::Duration;

use peer::disk::IfExists;
use peer::job::Job;
use protocol::Manifest;

use crate::content::bytes;
use crate::disk::Disk;
use crate::{Profile, Tree, jobs};

/// The name of what is fetched.
pub(super) const NAME: &str = "thing";
/// Where it goes.
pub(super) const PLACE: &str = "/in/thing";

/// One kind of fetch.
#[derive(Clone, Debug)]
pub struct Shape {
    /// In words.
    pub name: &'static str,
    pub(super) tree: Tree,
    pub(super) manifest: Arc<Manifest>,
    /// What has the final name at first, to be replaced.
    pub(super) old: Option<Tree>,
    pub(super) swap: bool,
    /// The fetch that is watched goes on after a power cut in the middle of an earlier one.
    pub(super) resumed: bool,
}

impl Shape {
    fn new(name: &'static str, tree: Tree) -> Self {
        let manifest = tree.manifest(12);
        Self { name, tree, manifest, old: None, swap: true, resumed: false }
    }

    /// One file of many pieces.
    pub fn file() -> Self {
        Self::new("a file of 12 pieces", Tree::file(7, 11 * 4096 + 777))
    }

    /// A bit of everything that a folder can have.
    pub fn folder() -> Self {
        let tree = Tree::default()
            .with("a", bytes(1, 10_000))
            .with("b/c", bytes(2, 300))
            .with("b/d", bytes(3, 4_096))
            .with("b/e/f", bytes(4, 1))
            .with_program("b/run", bytes(5, 5_000))
            .with("empty", Vec::new())
            .with_folder("hollow")
            .with("z", bytes(6, 700));
        Self::new("a folder of 7 files", tree)
    }

    /// The rest of a fetch that a power cut ended.
    pub fn resume() -> Self {
        Self { name: "the rest of a file", resumed: true, ..Self::file() }
    }

    /// The rest of a folder, as before.
    pub fn resumed_folder() -> Self {
        Self { name: "the rest of a folder", resumed: true, ..Self::folder() }
    }

    /// A folder that takes the place of its last version.
    pub fn version() -> Self {
        let old = Tree::default()
            .with("a", bytes(1, 10_000))
            .with("b/c", bytes(8, 500))
            .with("gone", bytes(9, 5_000));
        Self { name: "a new version", old: Some(old), ..Self::folder() }
    }

    /// The same where two things can't change places in one step.
    pub fn version_by_steps() -> Self {
        Self { name: "a new version without swaps", swap: false, ..Self::version() }
    }

    /// All of them.
    pub fn all() -> Vec<Self> {
        vec![
            Self::file(),
            Self::folder(),
            Self::resume(),
            Self::resumed_folder(),
            Self::version(),
            Self::version_by_steps(),
        ]
    }

    /// What is on the disk before anything is fetched: also what is nobody's business but the user's.
    pub(super) fn prepare(&self, disk: &Disk) {
        disk.put("/home/precious", &Tree::file(11, 5_000));
        disk.put("/in/other", &Tree::folder(12, 3, 2_000).with_folder("nothing"));
        if let Some(old) = &self.old {
            disk.put(PLACE, old);
        }
        if !self.swap {
            disk.forbid_swap();
        }
        disk.allow_below(&[PLACE, &self.part()]);
    }

    /// Where the fetch lives until it is complete.
    pub(super) fn part(&self) -> String {
        let hex: String = self.manifest.id().0[..8].iter().map(|b| format!("{b:02x}")).collect();
        format!("/in/.starling-{hex}.part")
    }

    pub(super) fn if_exists(&self) -> IfExists {
        if self.old.is_some() { IfExists::Replace } else { IfExists::Verify }
    }

    pub(super) fn jobs(&self) -> Vec<Job> {
        jobs::fetch_object(NAME, self.manifest.id(), "/in", |job| {
            job.if_exists = self.if_exists();
            job.wait = Duration::from_secs(60);
        })
    }

    /// Slow enough that the fetch takes some checkpoints.
    pub(super) fn profile(&self) -> Profile {
        let up = 1 + self.tree.len() as u64 / 20;
        Profile {
            up,
            send_buffer: 4_096,
            ragged: false,
            latency: Duration::from_micros(200),
            ..Profile::default()
        }
    }
}
