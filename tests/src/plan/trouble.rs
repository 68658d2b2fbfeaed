//! Trouble of each kind: when, to whom, and how it passes.

use std::path::PathBuf;
use std::time::Duration;

use peer::notice::Notice;
use protocol::Record;
use reactor::Time;
use tracker::store::StoreError;

use super::{NAME, Plan, TROUBLE, profile};
use crate::faults::Trouble;
use crate::jobs;
use crate::rogue::Script;
use crate::{Life, NodeKey, Twist, World};

/// Kinds that are a peer of their own.
const ROGUES: [Trouble; 7] = [
    Trouble::Stall,
    Trouble::Flood,
    Trouble::Malform,
    Trouble::Spoof,
    Trouble::HalfClose,
    Trouble::Lie,
    Trouble::Mislead,
];

impl Plan {
    /// Peers that do harm on purpose. Their victims have until the end of the trouble to bear it.
    pub(super) fn add_rogues(&mut self) {
        if self.has(Trouble::Corrupt) {
            // One that fetches itself, and so comes back when it is turned away.
            let (profile, jobs) = (profile(&mut self.rng), jobs::fetch_and_serve(NAME, "/in"));
            let key = self.world.add_peer("corrupt-fetcher", jobs, &[self.tracker], profile);
            self.world.disk(key).allow_below(&["/in"]);
            self.world.twist(key, Twist::Corrupt(900_000));
            self.others.push(key);
            let at = self.moment() / 4;
            self.world.after(at, move |world| world.start(key));
        }
        let Some(record) = self.record() else { return };
        let kinds: Vec<_> = ROGUES.into_iter().filter(|kind| self.has(*kind)).collect();
        for kind in kinds {
            let tracker = self.world.address_of(self.tracker);
            let until = Time::ZERO + TROUBLE;
            let script = Script { kind, tracker, record: record.clone(), borrowed: None, until };
            let profile = profile(&mut self.rng);
            let name = format!("rogue-{kind}").to_lowercase();
            let key = self.world.add_rogue(&name, script.clone(), profile);
            self.world.faults().inject(kind);
            self.rogues.push(key);
            // The first byte that it sends may be a whole piece.
            if kind == Trouble::Stall {
                self.world.may_blame(key);
            }
            let victim = self.anybody();
            let (at, spoofs) = (self.moment() / 3, self.rng.below(3) != 0);
            self.world.after(at, move |world| {
                let borrowed = (kind == Trouble::Spoof && spoofs).then(|| world.id_of(victim));
                world.set_script(key, Script { borrowed, ..script });
                world.start(key);
            });
        }
    }

    /// What the tracker says of the object.
    pub(super) fn record(&self) -> Option<Record> {
        let found =
            self.world.notices(self.seeders[0]).iter().find_map(|(_, notice)| match notice {
                Notice::Published { version, manifest, .. } => Some((*version, manifest.clone())),
                _ => None,
            });
        let (version, manifest) = found?;
        let geometry = manifest.geometry();
        Some(Record {
            object: manifest.id(),
            content: manifest.content(),
            length: geometry.total_len(),
            published_at: 0,
            version,
            manifest_len: u32::try_from(manifest.bytes().len()).ok()?,
            piece_count: geometry.piece_count(),
            file_count: u32::try_from(manifest.entries().len()).ok()?.max(1),
            piece_log2: u8::try_from(geometry.piece_size().trailing_zeros()).ok()?,
            name: NAME.to_owned(),
        })
    }

    /// Adds up what rogues did and disks refused.
    pub(super) fn count_misdeeds(&mut self) {
        let kinds = ROGUES.into_iter().filter(|kind| self.trouble.contains(kind));
        for (key, kind) in self.rogues.clone().into_iter().zip(kinds) {
            let misdeeds = self.world.misdeeds(key);
            self.world.faults().effect(kind, misdeeds);
        }
        for key in self.fetchers.clone() {
            let (syncs, writes, full) = self.world.disk(key).failures();
            let faults = self.world.faults();
            faults.effect(Trouble::Sync, syncs);
            faults.effect(Trouble::Write, writes);
            faults.effect(Trouble::Full, full);
        }
    }

    pub(super) fn moment(&mut self) -> Duration {
        Duration::from_millis(self.rng.below(29_000))
    }

    pub(super) fn anybody(&mut self) -> NodeKey {
        let index = self.rng.index(self.seeders.len() + self.fetchers.len());
        match self.seeders.get(index) {
            Some(seeder) => *seeder,
            None => self.fetchers[index - self.seeders.len()],
        }
    }

    pub(super) fn spread_trouble(&mut self) {
        for kind in self.trouble.clone() {
            for _ in 0..1 + self.rng.below(4) {
                self.add_trouble(kind);
            }
        }
    }

    fn add_trouble(&mut self, kind: Trouble) {
        let (mut at, who) = (self.moment(), self.anybody());
        if self.rng.below(2) == 0 {
            // Most of what is to be moved moves in the first seconds.
            at /= 5;
        }
        let later = at + Duration::from_millis(1 + self.rng.below(12_000));
        let later = later.min(TROUBLE - Duration::from_millis(500));
        match kind {
            Trouble::Kill | Trouble::Power | Trouble::Pause | Trouble::Damage => {
                self.trouble_process(kind, who, at, later);
            }
            Trouble::Cut
            | Trouble::Isolate
            | Trouble::NoTracker
            | Trouble::Slow
            | Trouble::Reset
            | Trouble::Refuse
            | Trouble::Descriptors => self.trouble_network(kind, who, at, later),
            Trouble::Tracker | Trouble::Wipe | Trouble::TrackerPause | Trouble::Store => {
                self.trouble_tracker(kind, at, later);
            }
            Trouble::Sync | Trouble::Write | Trouble::Full | Trouble::Edit | Trouble::Jump => {
                self.trouble_disk(kind, at, later);
            }
            Trouble::Churn => self.churn(at, later),
            // These are somebody, not something.
            _ => {}
        }
    }

    fn trouble_process(&mut self, kind: Trouble, who: NodeKey, at: Duration, later: Duration) {
        let operations = self.rng.below(60);
        let fetcher = self.fetchers[self.rng.index(self.fetchers.len())];
        let world = &mut self.world;
        world.faults().inject(kind);
        match kind {
            Trouble::Kill => {
                world.after(at, move |world| world.kill_if_up(who));
                world.after(later, move |world| world.start(who));
            }
            Trouble::Damage => {
                world.after(at, move |world| world.kill_if_up(fetcher));
                world.after(later, move |world| {
                    damage(world, fetcher, operations);
                    world.start(fetcher);
                });
            }
            // Three of four in the middle of a disk operation, most of them of one that makes something durable.
            Trouble::Power if operations > 13 => {
                let left = operations.checked_sub(26).and_then(|left| u32::try_from(left).ok());
                let tries = if at < TROUBLE / 2 { 500 } else { 0 };
                world.after(at, move |world| match left {
                    Some(left) => cut_at_sync(world, fetcher, left / 12, tries),
                    None => world.disk(fetcher).cut_power_at(operations - 13),
                });
                world.after(later, move |world| world.start(fetcher));
            }
            Trouble::Power => {
                world.after(at, move |world| world.cut_power(who));
                world.after(later, move |world| world.start(who));
            }
            _ => {
                world.after(at, move |world| world.pause(who));
                world.after(later, move |world| world.resume(who));
            }
        }
    }

    fn trouble_network(&mut self, kind: Trouble, who: NodeKey, at: Duration, later: Duration) {
        let (other, tracker, one_way) = (self.anybody(), self.tracker, self.rng.below(2) == 0);
        let slowness = 2 << self.rng.below(6);
        let world = &mut self.world;
        world.faults().inject(kind);
        match kind {
            Trouble::Cut | Trouble::NoTracker | Trouble::Isolate => {
                let ways = move |world: &World| -> Vec<(NodeKey, NodeKey)> {
                    let all = (0..world.len()).map(|index| world.key(index));
                    let others: Vec<NodeKey> = match kind {
                        Trouble::Cut => vec![other],
                        Trouble::NoTracker => vec![tracker],
                        _ => all.filter(|key| *key != who).collect(),
                    };
                    let both = others.iter().flat_map(|other| [(who, *other), (*other, who)]);
                    both.filter(|(from, to)| from != to && (!one_way || *from == who)).collect()
                };
                world.after(at, move |world| {
                    for (from, to) in ways(world) {
                        world.cut_way(from, to, Some(kind));
                    }
                });
                world.after(later, move |world| {
                    for (from, to) in ways(world) {
                        world.cut_way(from, to, None);
                    }
                });
            }
            Trouble::Reset => world.after(at, move |world| {
                let reset = world.reset_links(who);
                world.faults().effect(Trouble::Reset, reset);
            }),
            _ => {
                let refuses = kind == Trouble::Refuse;
                let exhausted = kind == Trouble::Descriptors;
                let slowness = if kind == Trouble::Slow { slowness } else { 1 };
                world.after(at, move |world| world.set_network(who, refuses, exhausted, slowness));
                world.after(later, move |world| world.set_network(who, false, false, 1));
            }
        }
    }

    fn trouble_tracker(&mut self, kind: Trouble, at: Duration, later: Duration) {
        let tracker = self.tracker;
        let full = self.rng.below(2) == 0;
        let world = &mut self.world;
        world.faults().inject(kind);
        match kind {
            Trouble::Tracker | Trouble::Wipe => {
                world.after(at, move |world| world.kill_if_up(tracker));
                world.after(later, move |world| {
                    if kind == Trouble::Wipe && world.life(tracker) == Life::Down {
                        world.empty_store(tracker);
                    }
                    world.start(tracker);
                });
            }
            Trouble::TrackerPause => {
                world.after(at, move |world| world.pause(tracker));
                world.after(later, move |world| world.resume(tracker));
            }
            _ => {
                let what = "no such luck".to_owned();
                world.after(at, move |world| {
                    world.fail_store(tracker, Some(StoreError { full, what }));
                });
                world.after(later, move |world| world.fail_store(tracker, None));
            }
        }
    }

    fn trouble_disk(&mut self, kind: Trouble, at: Duration, later: Duration) {
        let fetcher = self.fetchers[self.rng.index(self.fetchers.len())];
        let count = 1 + u32::try_from(self.rng.below(3)).unwrap_or(0);
        let (how, whose) = (self.rng.below(3), self.rng.next_u64());
        // The first seeder keeps everything that there is.
        let edited = (self.seeders.len() > 1)
            .then(|| self.seeders[1 + self.rng.index(self.seeders.len() - 1)]);
        let ahead = Duration::from_secs(self.rng.below(100_000));
        let files: Vec<String> = self.tree.files.keys().cloned().collect();
        let world = &mut self.world;
        world.faults().inject(kind);
        match kind {
            Trouble::Sync => world.after(at, move |world| world.disk(fetcher).fail_syncs(count)),
            Trouble::Write => world.after(at, move |world| world.disk(fetcher).fail_writes(count)),
            Trouble::Full => {
                world.after(at, move |world| {
                    let disk = world.disk(fetcher);
                    disk.set_quota(Some(disk.used() + 8_192));
                });
                world.after(later, move |world| world.disk(fetcher).set_quota(None));
            }
            Trouble::Jump => {
                world.after(at, move |world| {
                    world.set_wall_clock(fetcher, ahead);
                    let up = world.life(fetcher) == Life::Up;
                    world.faults().effect(Trouble::Jump, u64::from(up));
                });
                world.after(later, move |world| world.set_wall_clock(fetcher, Duration::ZERO));
            }
            _ => {
                let Some(edited) = edited else { return };
                world.may_blame(edited);
                // Half of them in the middle of a block, if there is one soon.
                let tries = if at < TROUBLE / 2 && whose >> 63 == 0 { 500 } else { 0 };
                let edit = Edit { key: edited, files, how, whose };
                world.after(at, move |world| edit.happen(world, tries));
            }
        }
    }

    /// Somebody comes, takes a part, and vanishes.
    fn churn(&mut self, at: Duration, later: Duration) {
        let profile = profile(&mut self.rng);
        let jobs = jobs::fetch_and_serve(NAME, "/in");
        let name = format!("passer-by{}", self.others.len());
        let key = self.world.add_peer(&name, jobs, &[self.tracker], profile);
        self.world.disk(key).allow_below(&["/in"]);
        self.others.push(key);
        self.world.faults().inject(Trouble::Churn);
        let politely = self.rng.below(2) == 0;
        self.world.after(at, move |world| world.start(key));
        self.world.after(later, move |world| {
            let (sent, received) = world.traffic(key);
            world.faults().effect(Trouble::Churn, u64::from(sent + received > 0));
            if politely && world.life(key) == Life::Up {
                world.stop(key);
            } else {
                world.kill_if_up(key);
            }
        });
    }
}

/// Cuts the power when something is made durable, once there is something worth losing: waits for it, some
/// milliseconds at a time.
fn cut_at_sync(world: &mut World, fetcher: NodeKey, which: u32, tries: u32) {
    const WORTH: usize = 8;
    if tries > 0 && world.disk(fetcher).unsaved() < WORTH {
        let again = move |world: &mut World| cut_at_sync(world, fetcher, which, tries - 1);
        world.after(Duration::from_millis(20), again);
    } else {
        world.disk(fetcher).cut_power_at_sync(which);
    }
}

/// Somebody writes into the journal of a fetcher that is off, or cuts it short.
fn damage(world: &mut World, key: NodeKey, how: u64) {
    let journal = |path: &PathBuf| path.ends_with("journal");
    let disk = world.disk(key);
    let paths = disk.paths();
    let Some(path) = paths.iter().find(|path| journal(path)).and_then(|path| path.to_str()) else {
        return;
    };
    let Some(len) = disk.len_of(path).filter(|len| *len > 0) else { return };
    if world.life(key) != Life::Down {
        return;
    }
    if how < 10 {
        disk.truncate(path, len / 2);
    } else {
        disk.tamper(path, how % len, b"damaged");
    }
    world.faults().effect(Trouble::Damage, 1);
}

/// Somebody writes into a shared file, cuts it short or removes it.
struct Edit {
    key: NodeKey,
    files: Vec<String>,
    how: u64,
    whose: u64,
}

impl Edit {
    /// Waits for a block on its way, some milliseconds at a time.
    fn happen(self, world: &mut World, tries: u32) {
        if tries > 0 && world.life(self.key) == Life::Up && !world.is_amid_a_block(self.key) {
            world.after(Duration::from_millis(20), move |world| self.happen(world, tries - 1));
        } else {
            self.edit(world);
        }
    }

    fn edit(&self, world: &mut World) {
        let number = self.whose % (self.files.len().max(1) as u64);
        let Some(file) = usize::try_from(number).ok().and_then(|at| self.files.get(at)) else {
            return;
        };
        let base = format!("/share/{NAME}");
        let path = if file.is_empty() { base } else { format!("{base}/{file}") };
        let disk = world.disk(self.key);
        let Some(len) = disk.len_of(&path).filter(|len| *len > 0) else { return };
        match self.how {
            0 => disk.truncate(&path, len >> (self.whose >> 60)),
            1 => disk.tamper(&path, len / 2, b"edited"),
            _ => disk.delete(&path),
        }
        let up = world.life(self.key) == Life::Up;
        world.faults().effect(Trouble::Edit, u64::from(up));
    }
}
