//! The days when something breaks.

use std::time::Duration;

use peer::notice::{Failure, Notice};
use tests::content::bytes;
use tests::{Life, Profile, Tree, Twist, World, jobs};

use crate::rig::{Rig, is_done, or_panic};

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn one_of_three_seeders_dies_half_way() {
    let mut rig = Rig::new(1);
    let tree = Tree::file(7, 6_000_000);
    let seeders = [0; 3].map(|_| rig.seeder("movie.bin", &tree));
    rig.run(10, |world| seeders.iter().all(|key| !world.notices(*key).is_empty()));
    rig.published(1);
    or_panic(rig.world.run_for(Duration::from_secs(1)));
    let fetcher = rig.fetcher("movie.bin");
    rig.world.after(250 * MILLI, move |world| world.cut_power(seeders[1]));
    rig.run_to_end(&[fetcher], 120);
    rig.assert_has(fetcher, "movie.bin", &tree);
    let sent = seeders.map(|key| rig.world.traffic(key).0);
    assert!(sent[0] > 1_000_000 && sent[2] > 1_000_000, "all of them sent: {sent:?}");
}

#[test]
fn two_hosts_that_lost_their_power_do_not_reset_each_other_for_ever() {
    let mut rig = Rig::new(1);
    let tree = Tree::file(7, 6_000_000);
    let seeder = rig.seeder("movie.bin", &tree);
    rig.published(1);
    let fetcher = rig.fetcher("movie.bin");
    rig.run(10, |world| world.traffic(fetcher).1 > 1_000_000);
    // What is sent to each of them comes while it has no power.
    for key in [fetcher, seeder] {
        rig.world.cut_power(key);
        or_panic(rig.world.run_for(Duration::from_secs(1)));
    }
    for key in [fetcher, seeder] {
        rig.world.start(key);
        or_panic(rig.world.run_for(Duration::from_secs(1)));
    }
    rig.run_to_end(&[fetcher], 120);
    rig.assert_has(fetcher, "movie.bin", &tree);
    let before = rig.world.steps();
    or_panic(rig.world.run_for(Duration::from_secs(60)));
    let since = rig.world.steps() - before;
    assert!(since < 1_500, "{since} events in a minute in which nothing is to be done");
}

#[test]
fn a_fetch_goes_on_after_a_crash_at_any_operation_of_its_disk() {
    let tree = Tree::folder(5, 4, 30_000).with("big", bytes(1, 150_000)).with("empty", Vec::new());
    let run = |seed: u64, cut: Option<u64>| {
        let mut rig = Rig::new(seed);
        rig.seeder("folder", &tree);
        rig.published(1);
        let fetcher = rig.fetcher_with(jobs::fetch("folder", "/in"));
        if let Some(cut) = cut {
            rig.world.disk(fetcher).cut_power_at(cut);
        }
        rig.world.start(fetcher);
        rig.run(60, |world| world.life(fetcher) != Life::Up);
        if rig.world.life(fetcher) == Life::Down {
            or_panic(rig.world.run_for(Duration::from_secs(2)));
            rig.world.start(fetcher);
        }
        rig.run_to_end(&[fetcher], 60);
        rig.assert_has(fetcher, "folder", &tree);
        rig.world.disk(fetcher).changes()
    };
    let points = run(0, None);
    assert!(points > 20, "only {points} operations");
    // What is lost of what was not durable is drawn from the seed.
    let seeds = 5;
    for seed in 0..seeds {
        for cut in 1..=points {
            run(seed, Some(cut));
        }
    }
    println!("{points} crash points, each in {seeds} ways");
}

#[test]
fn the_tracker_restarts_during_a_fetch() {
    for wipe in [false, true] {
        let mut rig = Rig::new(2);
        let tree = Tree::file(7, 8_000_000);
        let seeder = rig.seeder("movie.bin", &tree);
        rig.published(1);
        let fetcher = rig.fetcher("movie.bin");
        let tracker = rig.tracker;
        rig.world.after(100 * MILLI, move |world| world.kill(tracker));
        rig.world.after(300 * MILLI, move |world| {
            if wipe {
                world.empty_store(tracker);
            }
            world.start(tracker);
        });
        rig.run_to_end(&[fetcher], 30);
        // What it forgot, the seeder tells it again.
        let later = rig.fetcher_with(jobs::fetch_with("movie.bin", "/in", |job| {
            job.wait = Duration::from_secs(60);
        }));
        rig.world.start(later);
        rig.run_to_end(&[later], 90);
        rig.assert_has(later, "movie.bin", &tree);
        assert_eq!(rig.world.life(seeder), Life::Up);
    }
}

#[test]
fn a_fetch_ends_without_the_tracker() {
    let mut rig = Rig::new(3);
    let tree = Tree::file(7, 4_000_000);
    rig.seeder("movie.bin", &tree);
    rig.published(1);
    let fetcher = rig.fetcher("movie.bin");
    let tracker = rig.tracker;
    rig.world.after(80 * MILLI, move |world| world.cut_power(tracker));
    rig.run_to_end(&[fetcher], 60);
    rig.assert_has(fetcher, "movie.bin", &tree);
}

#[test]
fn a_file_changes_while_it_is_served() {
    let harm: [fn(&tests::Disk); 2] = [
        |disk| disk.truncate("/share/movie.bin", 100_000),
        |disk| disk.tamper("/share/movie.bin", 3_000_000, b"edited"),
    ];
    for harm in harm {
        let mut rig = Rig::new(4);
        let tree = Tree::file(7, 4_000_000);
        let slow = Profile { up: 1_000_000, ..Profile::default() };
        let seeder = rig.seeder_with("movie.bin", &tree, slow);
        rig.published(1);
        rig.world.may_blame(seeder);
        let fetcher = rig.fetcher("movie.bin");
        rig.world.after(150 * MILLI, move |world| harm(&world.disk(seeder)));
        let told = |world: &World, key| {
            let withdrawn = |notice: &Notice| matches!(notice, Notice::Withdrawn { .. });
            world.notices(key).iter().any(|(_, notice)| withdrawn(notice))
        };
        rig.run(60, |world| told(world, seeder));
        assert!(!is_done(&rig.world, fetcher));
        // Somebody who has the right bytes comes, and the fetch completes.
        rig.seeder("movie.bin", &tree);
        rig.run_to_end(&[fetcher], 60);
        rig.assert_has(fetcher, "movie.bin", &tree);
    }
}

#[test]
fn a_fetch_goes_on_after_its_disk_failed() {
    let harm: [fn(&tests::Disk); 2] = [|disk| disk.fail_writes(1), |disk| disk.fail_syncs(1)];
    for harm in harm {
        let mut rig = Rig::new(5);
        let tree = Tree::folder(7, 30, 100_000);
        rig.seeder("folder", &tree);
        rig.published(1);
        let fetcher = rig.fetcher("folder");
        let started = |notice: &Notice| matches!(notice, Notice::FetchStarted { .. });
        rig.run(10, |world| world.notices(fetcher).iter().any(|(_, notice)| started(notice)));
        harm(&rig.world.disk(fetcher));
        rig.run(60, |world| world.life(fetcher) == Life::Exited);
        let (_, last) = rig.world.notices(fetcher).last().expect("it says why");
        assert!(matches!(last, Notice::Failed(Failure::Storage(_))), "{last:?}");
        or_panic(rig.world.run_for(Duration::from_secs(1)));
        rig.world.start(fetcher);
        rig.run_to_end(&[fetcher], 60);
        rig.assert_has(fetcher, "folder", &tree);
    }
}

#[test]
fn not_enough_space_is_said_before_anything_is_fetched() {
    let mut rig = Rig::new(6);
    rig.seeder("movie.bin", &Tree::file(7, 1_000_000));
    rig.published(1);
    let fetcher = rig.fetcher_with(jobs::fetch("movie.bin", "/in"));
    rig.world.disk(fetcher).set_quota(Some(500_000));
    rig.world.start(fetcher);
    rig.run(30, |world| world.life(fetcher) == Life::Exited);
    let (_, last) = rig.world.notices(fetcher).last().expect("it says why");
    assert!(matches!(last, Notice::Failed(Failure::Storage(_))), "{last:?}");
    assert!(rig.world.traffic(fetcher).1 < 100_000);
}

#[test]
fn corrupt_seeders_are_found_and_honest_ones_are_not() {
    for seed in 0..8 {
        let mut rig = Rig::new(seed);
        let tree = Tree::file(7, 3_000_000);
        rig.seeder("movie.bin", &tree);
        rig.published(1);
        let liar = rig.seeder("movie.bin", &tree);
        rig.world.twist(liar, Twist::Corrupt(300_000));
        or_panic(rig.world.run_for(Duration::from_secs(1)));
        let fetcher = rig.fetcher("movie.bin");
        rig.run_to_end(&[fetcher], 60);
        rig.assert_has(fetcher, "movie.bin", &tree);
        assert!(rig.world.corrupt_found() > 0);
    }
}

#[test]
fn a_seeder_that_sends_nothing_does_not_stop_the_fetch() {
    let mut rig = Rig::new(7);
    let tree = Tree::file(7, 3_000_000);
    let mute = rig.seeder("movie.bin", &tree);
    rig.world.twist(mute, Twist::Mute);
    rig.seeder("movie.bin", &tree);
    rig.published(1);
    or_panic(rig.world.run_for(Duration::from_secs(1)));
    let fetcher = rig.fetcher("movie.bin");
    rig.run_to_end(&[fetcher], 120);
    rig.assert_has(fetcher, "movie.bin", &tree);
}

#[test]
fn damaged_and_doubled_words_harm_nobody_else() {
    for (seed, twist) in
        [(1, Twist::Garble(200_000)), (2, Twist::Repeat(2)), (3, Twist::Repeat(50))]
    {
        let mut rig = Rig::new(seed);
        let tree = Tree::file(7, 3_000_000);
        rig.seeder("movie.bin", &tree);
        rig.published(1);
        let odd = rig.seeder("movie.bin", &tree);
        rig.world.twist(odd, twist);
        let odd_fetcher = rig.fetcher_with(jobs::fetch("movie.bin", "/in"));
        rig.world.twist(odd_fetcher, twist);
        rig.world.start(odd_fetcher);
        or_panic(rig.world.run_for(Duration::from_millis(50)));
        let fetcher = rig.fetcher("movie.bin");
        rig.run_to_end(&[fetcher], 120);
        rig.assert_has(fetcher, "movie.bin", &tree);
    }
}

#[test]
fn a_peer_that_comes_during_the_fetch_is_used() {
    let mut rig = Rig::new(8);
    let tree = Tree::file(7, 20_000_000);
    rig.seeder_with("movie.bin", &tree, Profile { up: 500_000, ..Profile::default() });
    rig.published(1);
    let fetcher = rig.fetcher("movie.bin");
    or_panic(rig.world.run_for(Duration::from_secs(3)));
    let second = rig.seeder("movie.bin", &tree);
    let took = rig.run_to_end(&[fetcher], 60);
    rig.assert_has(fetcher, "movie.bin", &tree);
    let (sent, _) = rig.world.traffic(second);
    assert!(sent > 10_000_000, "it sent {sent} bytes until {took:?}");
}

#[test]
fn a_paused_process_goes_on() {
    let mut rig = Rig::new(9);
    let tree = Tree::file(7, 4_000_000);
    let seeder = rig.seeder("movie.bin", &tree);
    rig.published(1);
    let fetcher = rig.fetcher("movie.bin");
    rig.world.after(100 * MILLI, move |world| world.pause(fetcher));
    rig.world.after(Duration::from_secs(600), move |world| world.resume(fetcher));
    rig.world.after(Duration::from_secs(601), move |world| world.pause(seeder));
    rig.world.after(Duration::from_secs(1300), move |world| world.resume(seeder));
    rig.run_to_end(&[fetcher], 1500);
    rig.assert_has(fetcher, "movie.bin", &tree);
}

#[test]
fn a_cut_way_heals() {
    let mut rig = Rig::new(10);
    let tree = Tree::file(7, 4_000_000);
    let seeder = rig.seeder("movie.bin", &tree);
    rig.published(1);
    let fetcher = rig.fetcher("movie.bin");
    rig.world.after(100 * MILLI, move |world| world.set_cut(seeder, fetcher, true));
    rig.world.after(Duration::from_secs(200), move |world| world.set_cut(seeder, fetcher, false));
    rig.run_to_end(&[fetcher], 400);
    rig.assert_has(fetcher, "movie.bin", &tree);
}
