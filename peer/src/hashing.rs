//! Keeps the workers busy with hashing until whole objects are done.
//!
//! Files go out in batches, in order, several at a time; results come back in any order and are put in
//! their places. Decides nothing about what the hashes are for.

use std::collections::{BTreeMap, VecDeque};

use reactor::{Actions, TaskId};

use crate::disk::{FileHashes, HASH_STEP, HashJob, HashState, ShareKey, StorageError, Task};

/// Files in one batch at most: enough to hide the way to a worker and back, few enough to share the
/// work between workers.
const BATCH_FILES: usize = 512;

/// What is hashed: one object of one share.
pub(crate) type WorkKey = (ShareKey, usize);

/// All files of an object, hashed.
#[derive(Debug)]
pub(crate) struct HashedFiles {
    /// One result per job, in order.
    pub(crate) files: Vec<Result<FileHashes, StorageError>>,
}

#[derive(Debug)]
struct Work {
    jobs: Vec<HashJob>,
    results: Vec<Option<Result<FileHashes, StorageError>>>,
    left: usize,
    use_cache: bool,
}

#[derive(Debug)]
struct Batch {
    key: WorkKey,
    first: usize,
    end: usize,
    resume: Option<Box<HashState>>,
}

/// The queue of everything to be hashed.
#[derive(Debug, Default)]
pub(crate) struct HashQueue {
    works: BTreeMap<WorkKey, Work>,
    waiting: VecDeque<Batch>,
    running: usize,
    /// End of each running batch, by its key and first job.
    ends: BTreeMap<(WorkKey, usize), usize>,
    total: u64,
    done: u64,
}

impl HashQueue {
    /// Adds an object. One without files is done at once: then its result is returned.
    pub(crate) fn add(
        &mut self,
        key: WorkKey,
        jobs: Vec<HashJob>,
        use_cache: bool,
    ) -> Option<HashedFiles> {
        if jobs.is_empty() {
            return Some(HashedFiles { files: Vec::new() });
        }
        self.total += jobs.iter().map(|job| job.stamp.len).sum::<u64>();
        let mut first = 0;
        while first < jobs.len() {
            let end = batch_end(&jobs, first);
            self.waiting.push_back(Batch { key, first, end, resume: None });
            first = end;
        }
        let results = jobs.iter().map(|_| None).collect();
        self.works.insert(key, Work { left: jobs.len(), jobs, results, use_cache });
        None
    }

    /// Hands out batches while fewer than `workers` are running.
    pub(crate) fn pump(&mut self, workers: usize, out: &mut Actions<Task>) {
        while self.running < workers.max(1) {
            let Some(batch) = self.waiting.pop_front() else { return };
            let Some(work) = self.works.get(&batch.key) else { continue };
            self.running += 1;
            self.ends.insert((batch.key, batch.first), batch.end);
            let (share, object) = batch.key;
            let task = Task::Hash {
                share,
                object,
                first: batch.first,
                jobs: work.jobs[batch.first..batch.end].to_vec(),
                resume: batch.resume,
                use_cache: work.use_cache,
            };
            out.run(TaskId(0), task);
        }
    }

    /// Takes a result; returns the object's hashes when this was the last of them.
    pub(crate) fn on_hashed(
        &mut self,
        key: WorkKey,
        first: usize,
        done: Vec<Result<FileHashes, StorageError>>,
        unfinished: Option<Box<HashState>>,
        bytes: u64,
    ) -> Option<HashedFiles> {
        self.running = self.running.saturating_sub(1);
        self.done += bytes;
        let end = self.ends.remove(&(key, first))?;
        let work = self.works.get_mut(&key)?;
        let next = (first + done.len()).min(end);
        for (slot, result) in work.results[first..end].iter_mut().zip(done) {
            if slot.replace(result).is_none() {
                work.left -= 1;
            }
        }
        if next < end {
            // The rest goes first, so that a large file is not interrupted by later ones.
            self.waiting.push_front(Batch { key, first: next, end, resume: unfinished });
        }
        if work.left > 0 {
            return None;
        }
        let work = self.works.remove(&key)?;
        Some(HashedFiles { files: work.results.into_iter().flatten().collect() })
    }

    /// Whether anything is still to be done.
    pub(crate) fn is_busy(&self) -> bool {
        !self.works.is_empty()
    }

    /// Bytes of everything that was ever added, and bytes of them done.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.total, self.done)
    }
}

fn batch_end(jobs: &[HashJob], first: usize) -> usize {
    let mut bytes = 0;
    let mut end = first;
    while end < jobs.len() && end - first < BATCH_FILES && (end == first || bytes < HASH_STEP) {
        bytes += jobs[end].stamp.len;
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use protocol::Digest;
    use reactor::{Action, FileStamp};

    use super::*;

    fn job(len: u64) -> HashJob {
        let stamp = FileStamp { device: 1, inode: 1, len, mtime_ns: 0, ctime_ns: 0 };
        HashJob { path: "x".into(), stamp, piece_log2: 18 }
    }

    fn hashes() -> FileHashes {
        FileHashes { digest: Digest::ZERO, pieces: Vec::new() }
    }

    fn pop(out: &mut Actions<Task>) -> Option<(usize, usize)> {
        match out.pop() {
            Some(Action::Run { task: Task::Hash { first, jobs, .. }, .. }) => {
                Some((first, jobs.len()))
            }
            None => None,
            other => panic!("unexpected {other:?}"),
        }
    }

    #[test]
    fn steps_of_a_batch_come_back_until_the_object_is_whole() {
        let key = (ShareKey(0), 3);
        let mut queue = HashQueue::default();
        let mut out = Actions::default();
        assert!(queue.add(key, vec![job(HASH_STEP), job(5), job(7)], true).is_none());
        queue.pump(2, &mut out);
        assert_eq!((pop(&mut out), pop(&mut out)), (Some((0, 1)), Some((1, 2))));
        assert!(queue.on_hashed(key, 1, vec![Ok(hashes())], None, 5).is_none());
        queue.pump(2, &mut out);
        assert_eq!(pop(&mut out), Some((2, 1)), "the rest of the batch is asked for again");
        assert!(queue.on_hashed(key, 2, vec![Ok(hashes())], None, 7).is_none());
        let whole = queue.on_hashed(key, 0, vec![Ok(hashes())], None, HASH_STEP);
        assert_eq!(whole.expect("all three are done").files.len(), 3);
        assert!(!queue.is_busy());
        assert_eq!(queue.progress(), (HASH_STEP + 12, HASH_STEP + 12));
    }

    #[test]
    fn an_object_without_files_is_done_at_once() {
        assert!(HashQueue::default().add((ShareKey(0), 0), Vec::new(), true).is_some());
    }
}
