//! What a power cut can leave of what was not yet durable.

use std::hash::{DefaultHasher, Hash, Hasher};

use reactor::Rng;

use super::change::Change;
use super::image::{Body, Image};
use super::state::State;

/// What became of one operation that no sync covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As if it had never been.
    Lost,
    /// All of it is there.
    Kept,
    /// Of a write, the sectors whose bits are set (of the sector's number modulo 64); else lost.
    Torn(u64),
}

impl Fate {
    /// Any of them.
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Self::Lost,
            1 | 2 => Self::Kept,
            _ => Self::Torn(rng.next_u64()),
        }
    }

    /// What becomes of all that was written to one file.
    pub(super) fn of_a_file(rng: &mut Rng) -> Self {
        if rng.below(2) == 0 { Self::Lost } else { Self::Kept }
    }
}

/// A moment between two operations, as a power cut finds it.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    /// Changes and syncs before it.
    pub operation: u64,
    pub(super) durable: Image,
    pub(super) pending: Vec<Change>,
    pub(super) next_ino: u64,
    pub(super) last_tick: i128,
}

impl CrashPoint {
    /// How many operations are not durable.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many sectors of the operation there are to be torn.
    pub fn sectors(&self, index: usize) -> usize {
        self.pending.get(index).map_or(1, Change::sectors)
    }

    /// In words, with what became of each.
    pub fn describe(&self, fates: &[Fate]) -> String {
        let line = |(change, fate): (&Change, &Fate)| {
            let mut text = format!("{change:?}");
            if let Some((at, _)) = text.char_indices().nth(100) {
                text.truncate(at);
            }
            format!("\n  {fate:?}: {text}")
        };
        let lines: String = self.pending.iter().zip(fates).map(line).collect();
        format!("after operation {}{lines}", self.operation)
    }

    /// What is left.
    pub(super) fn image(&self, fates: &[Fate]) -> Image {
        assert_eq!(fates.len(), self.pending.len(), "one fate for each");
        let mut left = self.durable.clone();
        for (change, fate) in self.pending.iter().zip(fates) {
            match fate {
                Fate::Lost => {}
                Fate::Kept => left.apply(change),
                Fate::Torn(bits) => {
                    let kept = (0..change.sectors()).filter(|at| bits >> (at % 64) & 1 == 1);
                    kept.filter_map(|at| change.sector(at)).for_each(|part| left.apply(&part));
                }
            }
        }
        let linked = left.linked();
        left.inodes.retain(|ino, _| linked.contains(ino));
        left
    }
}

impl State {
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (ino, inode) in self.shown() {
            ino.hash(&mut hasher);
            inode.executable.hash(&mut hasher);
            (inode.ctime / 1_000_000_000, inode.mtime / 1_000_000_000).hash(&mut hasher);
            match &inode.body {
                Body::File { data, .. } => data.hash(&mut hasher),
                Body::Folder(entries) => entries.hash(&mut hasher),
            }
        }
        hasher.finish()
    }
}
