//! Runs in which all seeders are away for a while after the rest has healed (liveness, L2 and L6).
//!
//! What the fetchers hold together is all that there is then. If it is everything, each of them must
//! complete; if not, each must have what any of them has, and call missing exactly what nobody has. When
//! the seeders come back, everybody completes within the usual bound.

use std::time::Duration;

use protocol::{ObjectId, PieceSet};
use reactor::Rng;

use super::{GRACE, NAME, Plan, has_it};
use crate::faults::Trouble;
use crate::{Life, NodeKey, Stuck};

/// Kinds that leave it open who has what: liars, and a tracker that forgets the name for good.
const UNCLEAR: [Trouble; 14] = [
    Trouble::Corrupt,
    Trouble::Mute,
    Trouble::Garble,
    Trouble::Repeat,
    Trouble::Stall,
    Trouble::Flood,
    Trouble::Malform,
    Trouble::Spoof,
    Trouble::HalfClose,
    Trouble::Lie,
    Trouble::Mislead,
    Trouble::Wipe,
    Trouble::Edit,
    Trouble::FalseTracker,
];

/// Kinds after which a journal may rightly not name all that can be read from its disk: what is not known
/// to be saved is not believed.
const FORGETFUL: [Trouble; 3] = [Trouble::Power, Trouble::Sync, Trouble::Damage];

/// Nothing moves any more when nobody has got a piece for so long: longer than any pause between two
/// questions to the tracker, and than it takes to say what is missing.
const QUIET: Duration = Duration::from_secs(60);

/// Whether this run is one of them; its trouble is only such that leaves clear who has what.
pub(super) fn draw(rng: &mut Rng, trouble: &mut Vec<Trouble>) -> bool {
    let orphans = rng.below(6) == 0;
    if orphans {
        trouble.retain(|kind| !UNCLEAR.contains(kind));
    }
    orphans
}

impl Plan {
    /// The time without seeders.
    pub(super) fn be_orphans(&mut self) -> Result<(), Stuck> {
        let Some(record) = self.record().filter(|_| self.orphans) else { return Ok(()) };
        for key in self.seeders.clone() {
            self.world.kill_if_up(key);
        }
        self.until_quiet(record.object)?;
        let (mut keys, fetchers) = (self.fetchers.clone(), self.fetchers.clone());
        keys.extend(&self.others);
        keys.retain(|key| self.world.life(*key) == Life::Up);
        // Who was stopped between taking its part away and saying that it is done has everything, and
        // nothing by which to know it. Where the disk fails, what is written down may not be read.
        let readable = !self.has(Trouble::Sync);
        keys.retain(|key| {
            let kept = readable && self.world.keeps_manifest(*key, record.object);
            kept || self.world.has_manifest(*key, record.object)
        });
        let forgetful = FORGETFUL.into_iter().any(|kind| self.has(kind));
        let known = |key: &NodeKey| match forgetful || self.world.ran_out_of_space(*key) {
            true => self.world.knows_of(*key, record.object),
            false => self.world.holds(*key, record.object),
        };
        let known: Vec<PieceSet> = keys.iter().map(known).collect();
        let nowhere = self.world.in_none_of(&known, record.object);
        for key in fetchers.into_iter().filter(|key| keys.contains(key)) {
            if has_it(&self.world, key, &self.tree) {
                continue;
            }
            let held = self.world.holds(key, record.object);
            // Without a manifest it can't tell, and has nothing.
            let called = self.world.called_missing(key);
            if held.is_empty() && called.is_none() {
                continue;
            }
            if called.as_ref() != Some(&nowhere) {
                let (called, ought) = (called.map(numbers), numbers(nowhere));
                let text = format!("L6: {key:?} calls {called:?} missing, and {ought:?} are");
                return Err(self.world.stuck(text));
            }
        }
        self.start_seeders();
        Ok(())
    }

    /// Who gave up is started again; until nobody gets anything any more.
    fn until_quiet(&mut self, object: ObjectId) -> Result<(), Stuck> {
        let end = self.world.elapsed() + GRACE;
        let (mut before, mut since) = (Vec::new(), self.world.elapsed());
        while self.world.elapsed() < end {
            self.supervise();
            let (fetchers, tree) = (self.fetchers.clone(), &self.tree);
            let over = |key: &NodeKey| {
                let life = self.world.life(*key);
                life != Life::Up && !has_it(&self.world, *key, tree)
            };
            let again: Vec<NodeKey> = fetchers.iter().copied().filter(over).collect();
            let held: Vec<PieceSet> =
                fetchers.iter().map(|key| self.world.holds(*key, object)).collect();
            // Whether anything worth mentioning comes: on a slow link a piece takes its time.
            let comes = |key: &NodeKey| (self.world.life(*key), self.world.traffic(*key).1 >> 12);
            let lives: Vec<_> = fetchers.iter().map(comes).collect();
            // Nobody can learn anything from a tracker that sleeps: the time begins when it is awake.
            let asleep = self.world.life(self.tracker) == Life::Paused;
            if asleep || before != [(held.clone(), lives.clone())] {
                (before, since) = (vec![(held, lives)], self.world.elapsed());
            } else if self.world.elapsed() - since > QUIET {
                return Ok(());
            }
            for key in again {
                self.world.start(key);
            }
            self.world.run_for(Duration::from_secs(5))?;
        }
        Err(self.world.stuck(format!("without seeders, '{NAME}' goes on for ever")))
    }

    /// When everybody is complete, no request is left without an answer. (S7)
    pub(super) fn rest(&mut self) -> Result<(), Stuck> {
        self.world.run_for(Duration::from_secs(60))?;
        let among: Vec<NodeKey> = self.seeders.iter().chain(&self.fetchers).copied().collect();
        match self.world.unanswered(&among) {
            Some(which) => Err(self.world.stuck(format!("S7: {which}"))),
            None => Ok(()),
        }
    }
}

fn numbers(pieces: PieceSet) -> Vec<u32> {
    pieces.iter().collect()
}
