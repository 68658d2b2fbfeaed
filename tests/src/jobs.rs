//! Jobs as the command line makes them, with its defaults.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use peer::disk::{IfExists, ScanRequest};
use peer::job::{FetchJob, Job, Linger, SeedJob, Target};
use protocol::{Manifest, ObjectId, SafePath};

/// `peer seed PATH...`: each path under its own name.
///
/// # Panics
/// When a path has no name.
pub fn seed(paths: &[&str]) -> Vec<Job> {
    let request = |path: &&str| {
        let path = PathBuf::from(path);
        let name = path.file_name().expect("a path with a name").to_string_lossy().into_owned();
        ScanRequest { path, name: Some(name), follow_symlinks: false, hidden: false }
    };
    let paths = paths.iter().map(request).collect();
    vec![Job::Seed(SeedJob { paths, use_cache: false, seed_time: None, once: false })]
}

/// `peer fetch NAME -o FOLDER`, changed as a test wants it.
///
/// # Panics
/// When the name is not a valid one.
pub fn fetch_with(name: &str, folder: &str, change: impl FnOnce(&mut FetchJob)) -> Vec<Job> {
    let target = Target::Name { name: SafePath::new(name).expect("a valid name"), version: 0 };
    let mut job = FetchJob {
        target,
        folder: PathBuf::from(folder),
        if_exists: IfExists::Verify,
        sync: true,
        reserve: 0,
        wait: Duration::ZERO,
        timeout: None,
        stall_timeout: None,
        check: false,
        linger: Linger::No,
    };
    change(&mut job);
    vec![Job::Fetch(job)]
}

/// `peer fetch NAME@sha256:... -o FOLDER`, changed as a test wants it.
///
/// # Panics
/// When the name is not a valid one.
pub fn fetch_object(
    name: &str,
    object: ObjectId,
    folder: &str,
    change: impl FnOnce(&mut FetchJob),
) -> Vec<Job> {
    let target = Target::Exact { name: SafePath::new(name).expect("a valid name"), object };
    fetch_with(name, folder, |job| {
        job.target = target;
        change(job);
    })
}

/// Serves what is in its place already, in pieces as the manifest has them.
///
/// # Panics
/// When the name is not a valid one.
pub fn serve(name: &str, manifest: &Arc<Manifest>, folder: &str) -> Vec<Job> {
    let name_of = SafePath::new(name).expect("a valid name");
    let target = Target::Manifest { name: name_of, manifest: Arc::clone(manifest) };
    fetch_with(name, folder, |job| {
        job.target = target;
        job.linger = Linger::Forever;
    })
}

/// `peer fetch NAME -o FOLDER`.
pub fn fetch(name: &str, folder: &str) -> Vec<Job> {
    fetch_with(name, folder, |_| {})
}

/// `peer fetch NAME -o FOLDER --linger forever`.
pub fn fetch_and_serve(name: &str, folder: &str) -> Vec<Job> {
    fetch_with(name, folder, |job| job.linger = Linger::Forever)
}
