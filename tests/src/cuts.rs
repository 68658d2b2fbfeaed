//! What must hold on a node's disk at the moment when it has lost power, in any run: S2 and S3.
//!
//! The crash sweep tries all there is to be lost of small fetches; this looks at every power cut of every
//! other run.

use std::path::{Path, PathBuf};

use peer::job::Job;
use protocol::{Manifest, ObjectId};

use crate::check::Check;
use crate::disk::Disk;
use crate::journal;
use crate::node::{Node, Spec};

impl Check {
    /// A node has lost power: `disk` is what it will find.
    pub(crate) fn after_cut(&mut self, index: usize, disk: &Disk) {
        if disk.tampered() {
            return;
        }
        for (object, base) in self.fetch_places(index) {
            let Some((manifest, tree)) = self.truth(object) else { continue };
            let problem = if base.ends_with("data") {
                journal_problem(disk, &base, &manifest).map(|raw| {
                    format!("S2: node {index} has no piece {raw}, which its journal has")
                })
            } else {
                let there = disk.tree(&base);
                let how = there.and_then(|there| tree.difference(&there));
                how.map(|how| format!("S3: node {index} was cut short, {}: {how}", base.display()))
            };
            if let Some((rule, what)) = problem.as_deref().and_then(|text| text.split_once(": ")) {
                self.fail(rule, what.to_owned());
            }
        }
    }
}

/// A piece that the journal beside `data` calls durable, and that the data does not have.
fn journal_problem(disk: &Disk, data: &Path, manifest: &Manifest) -> Option<u32> {
    let journal = disk.read_all(&data.with_file_name("journal"))?;
    let geometry = manifest.geometry();
    let claims = journal::read(&journal, manifest.id(), geometry.piece_count())?;
    if disk.inode(data) != Some(claims.inode) {
        return None;
    }
    let right = |raw: u32| {
        let piece = geometry.piece(raw)?;
        let span = geometry.span(piece);
        let path = manifest.entries().get(span.file)?.path.as_ref();
        let path = path.map_or_else(|| data.to_owned(), |path| data.join(path.as_str()));
        let bytes = disk.read(&path, span.offset, span.len as usize)?;
        Some(protocol::Digest::of(&bytes) == manifest.piece_hash(piece))
    };
    claims.durable.iter().find(|raw| right(*raw) != Some(true))
}

impl Node {
    /// Whether it makes durable what it fetches.
    pub(crate) fn syncs(&self) -> bool {
        let Spec::Peer { jobs, .. } = &self.spec else { return true };
        jobs.iter().all(|job| !matches!(job, Job::Fetch(fetch) if !fetch.sync))
    }
}

/// Where a node's fetches are and will be.
pub(crate) type Places = Vec<(ObjectId, PathBuf)>;
