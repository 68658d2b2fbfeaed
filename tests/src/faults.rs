//! Kinds of trouble that a run may have, and a count of what became of each.
//!
//! *Injected* means that it was tried; *effective* means that somebody under test could tell: a process
//! ended, bytes were held back, a write was refused. A kind that is never effective tests nothing.

use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $text:literal])+ $kind:ident),+ $(,)?) => {
        /// Kinds of trouble, each part of a run or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Trouble {
            $($(#[doc = $text])+ $kind),+
        }

        impl Trouble {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind),+];
        }
    };
}

kinds! {
    /// Processes are killed and started again.
    Kill,
    /// Computers lose power and get it back, at any moment or in the middle of a disk operation.
    Power,
    /// Processes are stopped for a while.
    Pause,
    /// A way is cut, in both directions or in one, and healed.
    Cut,
    /// A computer is cut off from all others.
    Isolate,
    /// A computer is cut off from the tracker only.
    NoTracker,
    /// Ways become very slow for a while.
    Slow,
    /// Connections are reset.
    Reset,
    /// New connections are refused for a while.
    Refuse,
    /// A process has no descriptors left for a while.
    Descriptors,
    /// The clock on the wall jumps, forth and back.
    Jump,
    /// The tracker is killed and started again.
    Tracker,
    /// The tracker's store is empty afterwards.
    Wipe,
    /// The tracker is stopped for a while.
    TrackerPause,
    /// The tracker's store can't make anything durable for a while.
    Store,
    /// The tracker names peers that are dead, that are somebody else's, or that nobody can have.
    FalseTracker,
    /// Disks fail to make things durable.
    Sync,
    /// Disks fail to write.
    Write,
    /// Disks have no room for a while.
    Full,
    /// Files are changed, cut short or removed while they are served.
    Edit,
    /// What a fetcher remembers of its part is damaged while it is off.
    Damage,
    /// Peers come, take a part, and vanish.
    Churn,
    /// A seeder sends wrong bytes.
    Corrupt,
    /// A seeder sends nothing.
    Mute,
    /// A seeder's small frames are damaged.
    Garble,
    /// A seeder says everything twice.
    Repeat,
    /// A peer drips and hardly reads.
    Stall,
    /// A peer asks for more than anybody may, again and again.
    Flood,
    /// A peer sends frames that are nearly right.
    Malform,
    /// A peer calls itself by another's id.
    Spoof,
    /// A peer ends its half of each connection and goes on listening.
    HalfClose,
    /// A peer says that it has what it can't have.
    Lie,
    /// A peer takes no requests, and makes others be dialed that are not there.
    Mislead,
}

/// How often each kind was tried and had an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    injected: Vec<u64>,
    effective: Vec<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        let none = vec![0; Trouble::ALL.len()];
        Self { injected: none.clone(), effective: none }
    }
}

impl Faults {
    /// It was tried.
    pub fn inject(&mut self, kind: Trouble) {
        self.injected[kind as usize] += 1;
    }

    /// It had so many effects.
    pub fn effect(&mut self, kind: Trouble, times: u64) {
        self.effective[kind as usize] += times;
    }

    /// How often it was tried, and how many effects it had.
    pub fn of(&self, kind: Trouble) -> (u64, u64) {
        (self.injected[kind as usize], self.effective[kind as usize])
    }

    /// Adds what another run counted.
    pub fn add(&mut self, other: &Self) {
        let add = |mine: &mut Vec<u64>, theirs: &[u64]| {
            mine.iter_mut().zip(theirs).for_each(|(mine, more)| *mine += more);
        };
        add(&mut self.injected, &other.injected);
        add(&mut self.effective, &other.effective);
    }

    /// All that were tried, and all effects.
    pub fn totals(&self) -> (u64, u64) {
        (self.injected.iter().sum(), self.effective.iter().sum())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
