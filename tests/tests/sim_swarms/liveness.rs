//! Whoever can complete does, and whoever can't says exactly why: without its seeder, a swarm shares what
//! it has, names what nobody has, and goes on when that comes back.

use std::time::Duration;

use peer::job::Linger;
use peer::notice::Notice;
use protocol::{ObjectId, PieceSet};
use tests::{Life, NodeKey, Profile, Tree, World, jobs};

use crate::rig::{Rig, is_done};

/// What is missing is said within this.
const SAID_WITHIN: u64 = 60;

/// A slow seeder and so many fetchers that stay, and what the seeder serves.
fn swarm(seed: u64, tree: &Tree, fetchers: usize) -> (Rig, NodeKey, Vec<NodeKey>, ObjectId) {
    let mut rig = Rig::new(seed);
    let slow = Profile { up: 400_000, ..Profile::default() };
    let seeder = rig.seeder_with("movie.bin", tree, slow);
    rig.published(1);
    let published = rig.world.notices(seeder).iter().find_map(|(_, notice)| match notice {
        Notice::Published { manifest, .. } => Some(manifest.id()),
        _ => None,
    });
    let keys = (0..fetchers)
        .map(|_| {
            let key = rig.fetcher_with(staying());
            rig.world.start(key);
            key
        })
        .collect();
    (rig, seeder, keys, published.expect("it says so"))
}

fn staying() -> Vec<peer::job::Job> {
    jobs::fetch_with("movie.bin", "/in", |job| job.linger = Linger::Forever)
}

fn held(world: &World, keys: &[NodeKey], object: ObjectId) -> u32 {
    let all = world.holds(keys[0], object).len();
    all - world.nowhere(keys, object).count()
}

#[test]
fn parts_that_make_a_whole_together_are_put_together() {
    let tree = Tree::file(7, 3_000_000);
    let (mut rig, seeder, keys, object) = swarm(1, &tree, 3);
    rig.run(60, |world| world.nowhere(&keys, object).is_empty() && held(world, &keys, object) > 0);
    assert!(!keys.iter().any(|key| is_done(&rig.world, *key)), "none has all of it yet");
    rig.world.kill(seeder);
    // Links of 12 MB/s: the bytes take under a second, finding out that the seeder is gone a moment.
    rig.run(30, |world| keys.iter().all(|key| is_done(world, *key)));
    for key in keys {
        rig.assert_has(key, "movie.bin", &tree);
    }
}

/// Seeds 10001129, 10002224 and 10002332: all asked each other for the manifest, which was on the disk of
/// each.
#[test]
fn a_swarm_of_which_all_were_restarted_goes_on_without_its_seeder() {
    let tree = Tree::file(7, 3_000_000);
    let (mut rig, seeder, keys, object) = swarm(4, &tree, 3);
    rig.run(60, |world| world.nowhere(&keys, object).is_empty() && held(world, &keys, object) > 0);
    assert!(!keys.iter().any(|key| is_done(&rig.world, *key)), "none has all of it yet");
    for key in keys.iter().chain([&seeder]) {
        rig.world.kill(*key);
    }
    for key in &keys {
        rig.world.start(*key);
    }
    rig.run(60, |world| keys.iter().all(|key| is_done(world, *key)));
    for key in keys {
        rig.assert_has(key, "movie.bin", &tree);
    }
}

#[test]
fn what_nobody_has_is_named_exactly_and_fetched_when_it_comes_back() {
    let tree = Tree::file(7, 3_000_000);
    let (mut rig, seeder, mut keys, object) = swarm(2, &tree, 2);
    rig.run(60, |world| held(world, &keys, object) >= 10);
    rig.world.kill(seeder);
    // One who comes now finds peers that have parts, and not the rest.
    let late = rig.fetcher_with(staying());
    rig.world.start(late);
    keys.push(late);
    let named = |world: &World, nowhere: &PieceSet| {
        keys.iter().all(|key| world.called_missing(*key).as_ref() == Some(nowhere))
    };
    rig.run(SAID_WITHIN, |world| named(world, &world.nowhere(&keys, object)));
    let nowhere = rig.world.nowhere(&keys, object);
    assert!(!nowhere.is_empty() && !nowhere.is_full());
    for key in &keys {
        let held = rig.world.holds(*key, object);
        assert_eq!(held.count() + nowhere.count(), held.len(), "each has what any of them has");
    }
    // Nothing changes, and nobody gives up.
    rig.run(600, |world| world.elapsed() > Duration::from_secs(400));
    assert!(named(&rig.world, &nowhere) && keys.iter().all(|key| rig.world.life(*key) == Life::Up));
    rig.world.start(seeder);
    rig.run(120, |world| keys.iter().all(|key| is_done(world, *key)));
    for key in keys {
        rig.assert_has(key, "movie.bin", &tree);
    }
}

#[test]
fn what_is_missing_is_named_again_when_it_changes() {
    let tree = Tree::file(7, 3_000_000);
    let (mut rig, seeder, keys, object) = swarm(3, &tree, 2);
    rig.run(60, |world| held(world, &keys, object) >= 4);
    rig.world.kill(seeder);
    let (gone, left) = (keys[0], keys[1]);
    let said = |world: &World, of: &[NodeKey]| {
        world.called_missing(left) == Some(world.nowhere(of, object))
    };
    rig.run(SAID_WITHIN, |world| said(world, &keys));
    // What both have is on the disk of the one that is left; only what comes later could change that.
    rig.world.kill(gone);
    rig.world.start(seeder);
    rig.run(30, |world| held(world, &[left], object) >= 8);
    rig.world.kill(seeder);
    rig.run(SAID_WITHIN, |world| said(world, &[left]));
    let told = |notice: &Notice| matches!(notice, Notice::Stalled { .. });
    assert!(rig.world.notices(left).iter().filter(|(_, notice)| told(notice)).count() >= 2);
}
