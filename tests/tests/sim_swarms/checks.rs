//! A check that never fails shows nothing: each invariant is seen to be broken by a history in which it
//! is.

use std::time::Duration;

use tests::{Life, Profile, Tree, Twist, World, jobs};

use crate::rig::Rig;

/// What a run breaks until the fetcher has ended.
fn broken(rig: &mut Rig, fetcher: tests::NodeKey) -> String {
    let limit = Duration::from_secs(60);
    let run = rig.world.run_until(limit, |world| world.life(fetcher) == Life::Exited);
    run.err().map(|stuck| stuck.to_string()).unwrap_or_default()
}

#[test]
fn a_journal_ahead_of_its_disk_is_noticed() {
    // What a cut takes is drawn from the seed.
    let found = (0..20).find(|seed| {
        let mut rig = Rig::new(*seed);
        let slow = Profile { up: 200_000, ..Profile::default() };
        rig.seeder_with("movie.bin", &Tree::file(7, 3_000_000), slow);
        rig.published(1);
        let fetcher = rig.fetcher_with(jobs::fetch("movie.bin", "/in"));
        rig.world.disk(fetcher).lie_about(true, false);
        rig.world.start(fetcher);
        rig.world.after(Duration::from_secs(13), move |world| world.cut_power(fetcher));
        rig.world.after(Duration::from_secs(14), move |world| world.start(fetcher));
        broken(&mut rig, fetcher).starts_with("S2: ")
    });
    assert!(found.is_some(), "20 cuts of a disk that lies about syncs, and none was noticed");
}

#[test]
fn a_change_outside_the_folder_is_noticed() {
    let mut rig = Rig::new(1);
    rig.seeder("movie.bin", &Tree::file(7, 500_000));
    rig.published(1);
    let fetcher = rig.fetcher_with(jobs::fetch("movie.bin", "/in"));
    rig.world.disk(fetcher).allow_below(&["/elsewhere"]);
    rig.world.start(fetcher);
    let broken = broken(&mut rig, fetcher);
    assert!(broken.starts_with("S4: "), "{broken}");
}

#[test]
fn blame_of_an_honest_node_is_noticed() {
    let mut rig = Rig::new(2);
    let seeder = rig.seeder("movie.bin", &Tree::file(7, 500_000));
    rig.published(1);
    rig.world.twist(seeder, Twist::Corrupt(1_000_000));
    rig.world.trust(seeder);
    let fetcher = rig.fetcher("movie.bin");
    let broken = broken(&mut rig, fetcher);
    assert!(broken.starts_with("S6: "), "{broken}");
}

#[test]
fn time_that_stands_still_is_noticed() {
    fn again(world: &mut World) {
        world.after(Duration::ZERO, again);
    }
    let mut world = World::new(3);
    world.after(Duration::from_secs(1), again);
    let stuck = world.run_for(Duration::from_secs(2)).expect_err("an invariant").to_string();
    assert!(stuck.starts_with("S14: "), "{stuck}");
}

#[test]
fn what_is_left_is_noticed() {
    let mut rig = Rig::new(4);
    assert!(rig.world.leftovers().is_some(), "the tracker runs");
    let tracker = rig.tracker;
    rig.world.kill(tracker);
    assert_eq!(rig.world.leftovers(), None);
}
