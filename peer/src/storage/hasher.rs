//! Hashes files piece by piece and as a whole in one pass, in steps, so that progress shows and no
//! worker is held for long.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reactor::FileStamp;

use crate::disk::{FileHashes, HASH_STEP, HashJob, HashState, StorageError, StorageErrorKind};

use super::error::{error, refused};
use super::fs::{Advice, Fs, FsFile};
use super::hash_cache::HashCache;
use super::part::read_full;
use super::sha256::{Hasher, update_pair};
use super::shared::{changed, gone_or};

/// Bytes per read: the second digest finds them in the processor's cache.
const READ: usize = 256 << 10;
/// Files per step at most, for when all of them are tiny or remembered.
const STEP_FILES: usize = 4_096;
/// Files looked up in the cache at a time.
const LOOKUP: usize = 256;

/// What one step did.
pub(super) struct HashStep {
    pub(super) done: Vec<Result<FileHashes, StorageError>>,
    pub(super) unfinished: Option<Box<HashState>>,
    pub(super) bytes: u64,
}

/// Hashes files, in order, until about [`HASH_STEP`] bytes are hashed. `now` is the time since 1970.
pub(super) fn hash_step(
    fs: &dyn Fs,
    cache: Option<&Mutex<HashCache>>,
    jobs: &[HashJob],
    resume: Option<Box<HashState>>,
    now: Duration,
) -> HashStep {
    let mut step = Step {
        fs,
        now_ns: i128::try_from(now.as_nanos()).unwrap_or(i128::MAX),
        budget: HASH_STEP,
        buffer: vec![0; READ],
        fresh: Vec::new(),
        out: HashStep { done: Vec::new(), unfinished: None, bytes: 0 },
    };
    let mut resume = resume.map(|state| *state);
    for batch in jobs[..jobs.len().min(STEP_FILES)].chunks(LOOKUP) {
        let known = match cache {
            Some(cache) => lock(cache).lookup(batch),
            None => Vec::new(),
        };
        if !step.batch(batch, known, resume.take()) {
            break;
        }
    }
    if let Some(cache) = cache.filter(|_| !step.fresh.is_empty()) {
        lock(cache).remember(&step.fresh);
    }
    step.out
}

/// A thread that panicked while it held the cache left the database in order: it has transactions.
fn lock(cache: &Mutex<HashCache>) -> std::sync::MutexGuard<'_, HashCache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Step<'a> {
    fs: &'a dyn Fs,
    now_ns: i128,
    /// Bytes that may still be hashed.
    budget: u64,
    buffer: Vec<u8>,
    /// To be remembered.
    fresh: Vec<(HashJob, FileHashes)>,
    out: HashStep,
}

impl Step<'_> {
    /// Does some jobs; whether there is time for more.
    fn batch(
        &mut self,
        jobs: &[HashJob],
        mut known: Vec<Option<FileHashes>>,
        mut resume: Option<HashState>,
    ) -> bool {
        for (at, job) in jobs.iter().enumerate() {
            let known = known.get_mut(at).and_then(Option::take);
            let state = resume.take();
            if let Some(hashes) = known.filter(|_| state.is_none()) {
                self.out.bytes += job.stamp.len;
                self.out.done.push(Ok(hashes));
                continue;
            }
            if self.budget == 0 {
                return false;
            }
            let mut state = state.unwrap_or_else(|| HashState {
                offset: 0,
                pieces: Vec::new(),
                content: Hasher::new(),
                settled: is_settled(&job.stamp, self.now_ns),
            });
            match self.hash(job, &mut state) {
                Err(error) => self.out.done.push(Err(error)),
                Ok(true) => self.complete(job, state),
                Ok(false) => {
                    self.out.unfinished = Some(Box::new(state));
                    return false;
                }
            }
        }
        true
    }

    fn complete(&mut self, job: &HashJob, state: HashState) {
        let digest = state.content.finish();
        let one = (1..=piece_size(job)).contains(&job.stamp.len);
        let pieces = if one { vec![digest] } else { state.pieces };
        let hashes = FileHashes { digest, pieces };
        if state.settled {
            self.fresh.push((job.clone(), hashes.clone()));
        }
        self.out.done.push(Ok(hashes));
    }

    /// Goes on with a file; whether it is done.
    fn hash(&mut self, job: &HashJob, state: &mut HashState) -> Result<bool, StorageError> {
        let path = &job.path;
        let file = self.fs.open(path).map_err(|cause| gone_or(refused("open it", path, &cause)))?;
        still_as(&*file, path, &job.stamp)?;
        let (len, size) = (job.stamp.len, piece_size(job));
        if len > READ as u64 {
            file.advise(Advice::Sequential);
        }
        while state.offset < len {
            if self.budget == 0 {
                return Ok(false);
            }
            let end = len.min(state.offset.saturating_add(size));
            let mut piece = (len > size).then(Hasher::new);
            while state.offset < end {
                let want = usize::try_from(end - state.offset).unwrap_or(READ).min(READ);
                let chunk = &mut self.buffer[..want];
                let read = read_full(&*file, chunk, state.offset)
                    .map_err(|cause| refused("read it", path, &cause))?;
                if read < want {
                    let what = format!("ended at byte {}", state.offset + read as u64);
                    return Err(error(StorageErrorKind::Changed, what, path));
                }
                // Two digests of the same bytes are two chains, and so cost little more than one.
                match &mut piece {
                    Some(piece) => update_pair(&mut state.content, chunk, piece, chunk),
                    None => state.content.update(chunk),
                }
                state.offset += want as u64;
                self.budget = self.budget.saturating_sub(want as u64);
                self.out.bytes += want as u64;
            }
            state.pieces.extend(piece.map(Hasher::finish));
        }
        still_as(&*file, path, &job.stamp)?;
        Ok(true)
    }
}

/// Whether a file was last touched so long ago that a change from now on gives it other times. File
/// systems tell times apart by 2 seconds at worst (FAT).
fn is_settled(stamp: &FileStamp, now_ns: i128) -> bool {
    const GRANULE_NS: i128 = 2_000_000_000;
    stamp.mtime_ns.max(stamp.ctime_ns) < now_ns - GRANULE_NS
}

fn piece_size(job: &HashJob) -> u64 {
    1 << job.piece_log2.min(protocol::limits::MAX_PIECE_LOG2)
}

fn still_as(file: &dyn FsFile, path: &Path, stamp: &FileStamp) -> Result<(), StorageError> {
    let now = file.meta().map_err(|cause| refused("see it", path, &cause))?.stamp;
    if stamp.same_content(&now) { Ok(()) } else { Err(changed(path, stamp, &now)) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use protocol::Digest;

    use super::*;
    use crate::storage::os_fs::OsFs;

    /// So late that files made by a test count as settled.
    fn later() -> Duration {
        reactor::clock::unix_time() + Duration::from_secs(10)
    }

    fn job(path: &Path) -> HashJob {
        let stamp = FileStamp::of(&fs::metadata(path).unwrap());
        HashJob { path: path.to_owned(), stamp, piece_log2: 12 }
    }

    fn hash(cache: &Mutex<HashCache>, jobs: &[HashJob], now: Duration) -> Vec<FileHashes> {
        let step = hash_step(&OsFs, Some(cache), jobs, None, now);
        step.done.into_iter().map(Result::unwrap).collect()
    }

    fn open(path: &Path) -> Mutex<HashCache> {
        Mutex::new(HashCache::open(path, later()).unwrap())
    }

    fn some_files(dir: &Path) -> Vec<PathBuf> {
        let write = |(at, len): (usize, usize)| {
            let path = dir.join(at.to_string());
            fs::write(&path, vec![u8::try_from(at).unwrap(); len]).unwrap();
            path
        };
        [0, 1, 4096, 4097, 20_000].into_iter().enumerate().map(write).collect()
    }

    #[test]
    fn both_digests_are_those_of_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for len in [0, 1, 4_095, 4_096, 4_097, 8_192, 300_001, 1_000_000] {
            let byte = |at: usize| (at.wrapping_mul(0x9E37_79B1) >> 13).to_le_bytes()[0];
            let bytes: Vec<u8> = (0..len).map(byte).collect();
            fs::write(&path, &bytes).unwrap();
            for piece_log2 in [12, 17, 18, 19] {
                let job = HashJob { piece_log2, ..job(&path) };
                let step = hash_step(&OsFs, None, &[job], None, later());
                let pieces = bytes.chunks(1 << piece_log2).map(Digest::of).collect();
                let right = FileHashes { digest: Digest::of(&bytes), pieces };
                assert_eq!(step.done[0].as_ref().unwrap(), &right, "{len} by {piece_log2}");
            }
        }
    }

    /// Removed files tell whether their bytes were read.
    #[test]
    fn settled_files_are_remembered_by_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hashes.sqlite");
        let files = some_files(dir.path());
        let jobs: Vec<HashJob> = files.iter().map(|path| job(path)).collect();
        let fresh = hash(&open(&db), &jobs, later());
        assert_eq!(fresh[4].pieces.len(), 5);
        files.iter().for_each(|path| fs::remove_file(path).unwrap());
        assert_eq!(hash(&open(&db), &jobs, later()), fresh);
        // Any other time, length or piece size is another file.
        let changes: [fn(&mut HashJob); 4] = [
            |job| job.stamp.ctime_ns += 1,
            |job| job.stamp.mtime_ns += 1,
            |job| job.stamp.len += 1,
            |job| job.piece_log2 += 1,
        ];
        for change in changes {
            let mut other = jobs[4].clone();
            change(&mut other);
            assert!(open(&db).lock().unwrap().lookup(&[other])[0].is_none());
        }
    }

    #[test]
    fn a_file_written_just_now_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir.path().join("hashes.sqlite"));
        let jobs = [job(&some_files(dir.path())[4])];
        hash(&cache, &jobs, reactor::clock::unix_time());
        assert!(cache.lock().unwrap().lookup(&jobs)[0].is_none());
    }

    #[test]
    fn a_broken_database_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("hashes.sqlite");
        let jobs: Vec<HashJob> = some_files(dir.path()).iter().map(|path| job(path)).collect();
        let fresh = hash(&open(&db), &jobs, later());
        // Every page damaged, a piece of it missing, something else altogether, another version.
        let damages: [fn(&Path); 4] = [
            |db| {
                let mut bytes = fs::read(db).unwrap();
                bytes.iter_mut().skip(100).step_by(7).for_each(|byte| *byte ^= 0x5A);
                fs::write(db, bytes).unwrap();
            },
            |db| fs::write(db, &fs::read(db).unwrap()[..5_000]).unwrap(),
            |db| fs::write(db, "not a database, but long enough to look at").unwrap(),
            |db| {
                let other = rusqlite::Connection::open(db).unwrap();
                other.pragma_update(None, "user_version", 99).unwrap();
            },
        ];
        for damage in damages {
            damage(&db);
            assert_eq!(hash(&open(&db), &jobs, later()), fresh);
            assert_eq!(hash(&open(&db), &jobs, later()), fresh);
        }
        assert!(dir.path().join("hashes.sqlite.bad").exists());
    }
}
