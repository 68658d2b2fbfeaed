//! Gathers pieces into tasks for the disk: two large ones are hashed in little more time than one, and
//! many small ones share one way to a worker and back.
//!
//! While nothing is being stored, a piece goes to a worker at once. Others gather meanwhile, and go when
//! there are enough of them for a batch or the store before them is done. So no piece waits except for
//! others, and the busier the workers are, the less each piece costs. What an earlier run left is checked
//! by half of the workers, so that it keeps nothing that comes from the network waiting.

use std::collections::VecDeque;

use protocol::PieceIndex;
use reactor::{Actions, TaskId};

use crate::disk::{FetchKey, Task};

/// A batch has two pieces at least, if that many wait, and then as many as fit into so many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// Pieces in one batch at most: small ones cost a worker as long as a few large ones.
const BATCH_PIECES: usize = 64;

/// Bytes in one task that checks what is there already; progress shows in such steps.
const RECHECK_BYTES: usize = 8 << 20;

/// Pieces on their way to the disk.
#[derive(Debug, Default)]
pub(crate) struct StoreQueue {
    waiting: VecDeque<(FetchKey, PieceIndex, Vec<u8>)>,
    waiting_bytes: usize,
    running: usize,
    rechecks: VecDeque<Task>,
    rechecking: usize,
}

impl StoreQueue {
    /// Adds a piece.
    pub(crate) fn add(&mut self, fetch: FetchKey, piece: PieceIndex, data: Vec<u8>) {
        self.waiting_bytes += data.len();
        self.waiting.push_back((fetch, piece, data));
    }

    /// Adds pieces of this size that an earlier run may have stored.
    pub(crate) fn recheck(
        &mut self,
        fetch: FetchKey,
        pieces: impl Iterator<Item = PieceIndex>,
        piece_size: u32,
    ) {
        let pieces: Vec<PieceIndex> = pieces.collect();
        let per_task = (RECHECK_BYTES / piece_size as usize).clamp(2, BATCH_PIECES);
        let tasks = pieces.chunks(per_task);
        self.rechecks.extend(tasks.map(|task| Task::Recheck { fetch, pieces: task.to_vec() }));
    }

    /// A task of [`StoreQueue::recheck`] is done.
    pub(crate) fn on_rechecked(&mut self) {
        self.rechecking = self.rechecking.saturating_sub(1);
    }

    /// Hands out batches while fewer than `workers` are being stored.
    pub(crate) fn pump(&mut self, workers: usize, out: &mut Actions<Task>) {
        while self.rechecking < workers.div_ceil(2)
            && let Some(task) = self.rechecks.pop_front()
        {
            self.rechecking += 1;
            out.run(TaskId(0), task);
        }
        while self.running < workers.max(1) && (self.running == 0 || self.has_batch()) {
            let Some(task) = self.next_batch() else { return };
            self.running += 1;
            out.run(TaskId(0), task);
        }
    }

    /// A batch was stored, or not.
    pub(crate) fn on_stored(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    fn has_batch(&self) -> bool {
        let waiting = self.waiting.len();
        waiting >= 2 && (self.waiting_bytes >= BATCH_BYTES || waiting >= BATCH_PIECES)
    }

    fn next_batch(&mut self) -> Option<Task> {
        let fetch = self.waiting.front()?.0;
        let (mut count, mut bytes) = (0, 0);
        for (of, _, data) in &self.waiting {
            let fits = count < 2 || count < BATCH_PIECES && bytes + data.len() <= BATCH_BYTES;
            if *of != fetch || !fits {
                break;
            }
            count += 1;
            bytes += data.len();
        }
        self.waiting_bytes -= bytes;
        let pieces = self.waiting.drain(..count).map(|(_, piece, data)| (piece, data)).collect();
        Some(Task::Store { fetch, pieces })
    }
}

#[cfg(test)]
mod tests {
    use protocol::Geometry;
    use reactor::Action;

    use super::*;

    fn add(queue: &mut StoreQueue, fetch: u32, lens: &[usize]) {
        let geometry = Geometry::new(20, [1 << 20]).expect("one piece");
        let piece = geometry.piece(0).expect("the piece");
        lens.iter().for_each(|len| queue.add(FetchKey(fetch), piece, vec![0; *len]));
    }

    /// How many pieces each task has that comes out now.
    fn pump(queue: &mut StoreQueue, workers: usize) -> Vec<usize> {
        let mut out = Actions::default();
        queue.pump(workers, &mut out);
        let mut batches = Vec::new();
        while let Some(action) = out.pop() {
            let Action::Run { task: Task::Store { pieces, .. }, .. } = action else { panic!() };
            batches.push(pieces.len());
        }
        batches
    }

    #[test]
    fn a_piece_waits_only_while_another_is_stored() {
        const LARGE: usize = 1 << 20;
        let mut queue = StoreQueue::default();
        add(&mut queue, 0, &[LARGE]);
        assert_eq!(pump(&mut queue, 2), [1], "nothing to wait for");
        add(&mut queue, 0, &[LARGE]);
        assert_eq!(pump(&mut queue, 2), [0; 0], "a partner may come");
        add(&mut queue, 0, &[LARGE; 4]);
        assert_eq!(pump(&mut queue, 2), [2], "a pair for the second worker");
        queue.on_stored();
        assert_eq!(pump(&mut queue, 2), [2]);
        queue.on_stored();
        assert_eq!(pump(&mut queue, 2), [0; 0]);
        queue.on_stored();
        assert_eq!(pump(&mut queue, 2), [1], "nothing more to wait for");
    }

    #[test]
    fn what_is_there_is_checked_by_half_of_the_workers() {
        let lens: Vec<u64> = vec![1 << 20; 20];
        let geometry = Geometry::new(20, lens).expect("20 pieces");
        let mut queue = StoreQueue::default();
        queue.recheck(FetchKey(0), geometry.pieces(), geometry.piece_size());
        let pump = |queue: &mut StoreQueue| {
            let mut out = Actions::default();
            queue.pump(4, &mut out);
            let lens = std::iter::from_fn(|| match out.pop()? {
                Action::Run { task: Task::Recheck { pieces, .. }, .. } => Some(pieces.len()),
                other => panic!("unexpected {other:?}"),
            });
            lens.collect::<Vec<_>>()
        };
        assert_eq!(pump(&mut queue), [8, 8]);
        assert_eq!(pump(&mut queue), [0; 0]);
        queue.on_rechecked();
        assert_eq!(pump(&mut queue), [4]);
    }

    #[test]
    fn small_pieces_go_in_large_batches_of_one_fetch() {
        let mut queue = StoreQueue::default();
        add(&mut queue, 0, &[4096; 200]);
        add(&mut queue, 1, &[600 << 10; 5]);
        assert_eq!(pump(&mut queue, 9), [64, 64, 64, 8, 2, 2]);
        assert_eq!(queue.waiting.len(), 1);
        assert_eq!(queue.waiting_bytes, 600 << 10);
    }
}
