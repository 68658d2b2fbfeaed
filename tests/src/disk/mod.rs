//! A disk in memory with two faces: what reads show, and what a power cut would leave.
//!
//! Every change is applied to the visible state at once and kept in a log until something makes it
//! durable. A power cut takes the durable state and an arbitrary part of the log: any subset of it, data
//! writes torn at sectors, no order kept, as little as POSIX promises (a rename is one step, though, and
//! a synced folder knows the names in it). Faults are set from outside: a quota, failing syncs, files changed behind the owner's back,
//! a cut after so many operations.

mod change;
mod chunks;
mod crash;
mod files;
mod image;
mod state;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reactor::Rng;

use change::Change;
pub use crash::{CrashPoint, Fate};
use image::{Body, ROOT};
pub(crate) use state::Cost;
use state::State;

use crate::content::Tree;

/// One node's disk. Clones share it; it outlives the node's crashes.
#[derive(Clone, Debug)]
pub struct Disk {
    state: Arc<Mutex<State>>,
}

/// The content of a file that many disks will hold.
#[derive(Clone, Debug)]
pub struct Known(Arc<[Arc<[u8]>]>);

impl Default for Disk {
    fn default() -> Self {
        Self { state: Arc::new(Mutex::new(State::new())) }
    }
}

impl Disk {
    /// An empty disk that notes what is written.
    pub(crate) fn watched() -> Self {
        let disk = Self::default();
        disk.state().written = Some(Vec::new());
        disk
    }

    /// What was written since the last call: the file's number, where, and how much.
    pub(crate) fn take_written(&self) -> Vec<(u64, u64, usize)> {
        self.state().written.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- content, from outside

    /// Puts files and folders below `path`, durable at once, as a user would have before anything ran.
    ///
    /// # Panics
    /// When something else is in the way.
    pub fn put(&self, path: &str, tree: &Tree) {
        let mut state = self.state();
        for (relative, bytes) in &tree.files {
            let full = join(path, relative);
            let parent = state.make_path(full.parent().unwrap_or_else(|| Path::new("/")));
            let name = full.file_name().expect("a file has a name").to_owned();
            let executable = tree.executable.contains(relative);
            let ino = match state.child(parent, &name) {
                Some(ino) => ino,
                None => state.make(parent, name, false, executable).expect("the name is free"),
            };
            state.overwrite(ino, bytes.clone());
        }
        for folder in &tree.folders {
            state.make_path(&join(path, folder));
        }
        state.sync_everything();
    }

    /// Content to be given to many disks with [`Disk::share`].
    pub fn known(content: &[u8]) -> Known {
        Known(content.chunks(chunks::CHUNK).map(Arc::from).collect())
    }

    /// Keeps what is known elsewhere already without taking memory for it. Changes nothing else.
    pub fn share(&self, known: &Known) {
        self.state().known = Arc::clone(&known.0);
    }

    /// Everything below `path` as it shows now; `None` if nothing is there.
    pub fn tree(&self, path: &Path) -> Option<Tree> {
        self.state().tree(path, false)
    }

    /// The same as a power cut would leave it that loses all it may.
    pub fn durable_tree(&self, path: &Path) -> Option<Tree> {
        self.state().tree(path, true)
    }

    /// Paths of all files and folders, as they show now.
    pub fn paths(&self) -> Vec<PathBuf> {
        let state = self.state();
        let mut found = Vec::new();
        state.walk(ROOT, Path::new("/"), &mut found);
        found
    }

    /// The length of a file; `None` if there is none.
    pub fn len_of(&self, path: &str) -> Option<u64> {
        let state = self.state();
        let Body::File { data, .. } = &state.inode(state.find(Path::new(path))?)?.body else {
            return None;
        };
        Some(data.len() as u64)
    }

    /// Failures of syncs, failures of writes and refusals for want of space so far.
    pub fn failures(&self) -> (u64, u64, u64) {
        self.state().failures
    }

    /// Bytes of a file, for comparisons; `None` if there is no such range.
    pub fn read(&self, path: &Path, offset: u64, len: usize) -> Option<Vec<u8>> {
        let state = self.state();
        let Body::File { data, .. } = &state.inode(state.find(path)?)?.body else { return None };
        let start = usize::try_from(offset).ok()?;
        data.get(start..start.checked_add(len)?)
    }

    /// The number of what is at `path`; a file that is made anew gets another one.
    pub fn inode(&self, path: &Path) -> Option<u64> {
        self.state().find(path)
    }

    /// The whole of a file.
    pub fn read_all(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let Body::File { data, .. } = &state.inode(state.find(path)?)?.body else { return None };
        Some(data.to_vec())
    }

    // ---- what others do to it

    /// Somebody else writes into a file.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn tamper(&self, path: &str, offset: u64, bytes: &[u8]) {
        let mut state = self.state();
        let ino = state.find(Path::new(path)).expect("a file to tamper with");
        state.tampered = true;
        let at = state.tick();
        state.apply(Change::Write { ino, offset, bytes: bytes.into(), at });
    }

    /// Somebody else cuts a file short.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn truncate(&self, path: &str, len: u64) {
        let mut state = self.state();
        let ino = state.find(Path::new(path)).expect("a file to cut");
        state.tampered = true;
        let at = state.tick();
        state.apply(Change::Len { ino, len, at });
    }

    /// Somebody else removes a file.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn delete(&self, path: &str) {
        let mut state = self.state();
        let path = Path::new(path);
        let parent = state.find(path.parent().unwrap_or_else(|| Path::new("/"))).expect("a folder");
        let name: OsString = path.file_name().expect("a name").to_owned();
        let ino = state.child(parent, &name).expect("something to remove");
        state.tampered = true;
        state.unlink(parent, name, ino);
    }

    /// Whether somebody else changed something, so that what its owner says may be out of date.
    pub fn tampered(&self) -> bool {
        self.state().tampered
    }

    /// The folders of fetches that are under way.
    pub fn parts(&self) -> Vec<PathBuf> {
        let is_part = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(".starling-") && name.ends_with(".part")
        };
        self.paths().into_iter().filter(is_part).collect()
    }

    /// Changes that would not all survive a power cut right now.
    pub fn unsaved(&self) -> usize {
        self.state().unsaved()
    }

    // ---- faults

    /// Room for so many bytes from now on, what is there already included; `None`: no end of it.
    pub fn set_quota(&self, bytes: Option<u64>) {
        self.state().quota = bytes;
    }

    /// Space can't be reserved: files grow as they are written.
    pub fn cannot_reserve(&self) {
        self.state().sparse = true;
    }

    /// Bytes that files take up.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Lets the next `count` attempts to make something durable fail, and what they covered be lost.
    pub fn fail_syncs(&self, count: u32) {
        self.state().failing_syncs = count;
    }

    /// Lets the next `count` writes fail.
    pub fn fail_writes(&self, count: u32) {
        self.state().failing_writes = count;
    }

    /// From now on files (or folders) are said to be durable and are not.
    pub fn lie_about(&self, files: bool, folders: bool) {
        let mut state = self.state();
        (state.lies_about_files, state.lies_about_folders) = (files, folders);
    }

    /// Two things can't change places in one step on this file system.
    pub fn forbid_swap(&self) {
        self.state().no_swap = true;
    }

    /// Of a million bytes-long reads to serve from, so many come back with a wrong bit.
    pub fn rot(&self, per_million: u64, seed: u64) {
        let mut state = self.state();
        state.rot = per_million;
        state.rot_rng = Rng::new(seed);
    }

    /// The power goes out during the `n`th change or sync from now on, counting from 1.
    pub fn cut_power_at(&self, n: u64) {
        let mut state = self.state();
        state.cut_at = Some(state.changes + n);
    }

    /// The power goes out in the middle of the sync after so many others.
    pub fn cut_power_at_sync(&self, n: u32) {
        self.state().syncs_until_cut = Some(n);
    }

    /// Changes and syncs so far.
    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    /// Changes inside other folders than these are violations; see [`Disk::strays`].
    pub fn allow_below(&self, folders: &[&str]) {
        self.state().allowed = folders.iter().map(PathBuf::from).collect();
    }

    /// Paths that were changed though they lie outside the allowed folders.
    pub fn strays(&self) -> Vec<PathBuf> {
        self.state().strays.clone()
    }

    // ---- every power cut there is

    /// Keeps what a power cut would find, from now on after each operation.
    pub fn keep_points(&self) {
        let mut state = self.state();
        state.points = Some(Vec::new());
        state.note_point();
    }

    /// What was kept since [`Disk::keep_points`], the moment of that call first. Ends it.
    pub fn take_points(&self) -> Vec<CrashPoint> {
        self.state().points.take().unwrap_or_default()
    }

    /// Becomes what `point` says was left, with the power back and no process running.
    ///
    /// # Panics
    /// When there is not one fate for each pending operation.
    pub fn restore(&self, point: &CrashPoint, fates: &[Fate]) {
        let image = point.image(fates);
        self.state().wake_up_with(image, point.next_ino, point.last_tick);
    }

    /// Becomes what a killed process leaves at `point`: all that it did shows, and what was not durable
    /// still is not.
    pub fn restore_killed(&self, point: &CrashPoint) {
        let mut state = self.state();
        let kept = point.image(&vec![Fate::Kept; point.pending.len()]);
        state.wake_up_with(kept, point.next_ino, point.last_tick);
        state.take_back(point);
    }

    /// Equal for disks that no program can tell apart, but for times within one second.
    pub fn fingerprint(&self) -> u64 {
        self.state().fingerprint()
    }

    // ---- for the world

    pub(crate) fn set_clock(&self, nanos: u64) {
        self.state().clock = i128::from(nanos);
    }

    pub(crate) fn take_cost(&self) -> Cost {
        std::mem::take(&mut self.state().cost)
    }

    /// Whether the planned power cut has come.
    pub(crate) fn is_dark(&self) -> bool {
        self.state().dark
    }

    /// The process is gone: its locks are free.
    pub fn forget_process(&self) {
        self.state().new_process();
    }

    /// The power is gone: what is not durable is there or not, as `rng` has it.
    pub(crate) fn lose_power(&self, rng: &mut Rng) {
        self.state().lose_power(rng);
    }
}

fn join(base: &str, relative: &str) -> PathBuf {
    if relative.is_empty() { PathBuf::from(base) } else { Path::new(base).join(relative) }
}

fn failed(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}
