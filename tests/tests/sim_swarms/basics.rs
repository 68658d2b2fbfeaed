//! The calm days.

use std::time::Duration;

use peer::notice::{Failure, Notice};
use tests::content::bytes;
use tests::{Life, Profile, Tree, World, jobs};

use crate::rig::{Rig, or_panic};

#[test]
fn one_file_from_one_seeder() {
    let mut rig = Rig::new(1);
    let tree = Tree::file(7, 1_000_000);
    rig.seeder("movie.bin", &tree);
    rig.published(1);
    let fetcher = rig.fetcher("movie.bin");
    rig.run_to_end(&[fetcher], 5);
    rig.assert_has(fetcher, "movie.bin", &tree);
}

#[test]
fn a_folder_of_many_small_files_in_many_scripts() {
    let mut rig = Rig::new(2);
    let tree = Tree::folder(3, 200, 6_000)
        .with("leer", Vec::new())
        .with("größe/日本語/файл.txt", bytes(1, 70_000))
        .with("עברית/مرحبا", bytes(2, 4096))
        .with("🦀 with spaces", bytes(3, 1))
        .with_folder("nothing/here")
        .with_folder("空");
    rig.seeder("folder", &tree);
    rig.published(1);
    let fetcher = rig.fetcher("folder");
    rig.run_to_end(&[fetcher], 10);
    rig.assert_has(fetcher, "folder", &tree);
}

#[test]
fn an_empty_file_and_an_empty_folder() {
    let mut rig = Rig::new(3);
    let file = Tree::file(1, 0);
    let folder = Tree::default().with_folder("nothing/in it");
    rig.seeder("empty", &file);
    rig.seeder("hollow", &folder);
    rig.published(2);
    let one = rig.fetcher("empty");
    let other = rig.fetcher("hollow");
    rig.run_to_end(&[one, other], 5);
    rig.assert_has(one, "empty", &file);
    rig.assert_has(other, "hollow", &folder);
}

#[test]
fn two_fetches_in_one_process() {
    let mut rig = Rig::new(4);
    let trees = [Tree::file(1, 300_000), Tree::folder(2, 20, 50_000)];
    rig.seeder("one", &trees[0]);
    rig.seeder("two", &trees[1]);
    rig.published(2);
    let both = [jobs::fetch("one", "/in"), jobs::fetch("two", "/in")].concat();
    let fetcher = rig.fetcher_with(both);
    rig.world.start(fetcher);
    rig.run_to_end(&[fetcher], 10);
    rig.assert_has(fetcher, "one", &trees[0]);
    rig.assert_has(fetcher, "two", &trees[1]);
}

#[test]
fn a_name_that_nobody_published() {
    let mut rig = Rig::new(5);
    rig.seeder("report-2026", &Tree::file(1, 10));
    rig.published(1);
    let fetcher = rig.fetcher("report-2025");
    rig.run(10, |world| world.life(fetcher) == Life::Exited);
    let (_, last) = rig.world.notices(fetcher).last().expect("it says why");
    let Notice::Failed(Failure::NotFound { similar, .. }) = last else { panic!("{last:?}") };
    assert_eq!(similar, &["report-2026"]);
}

#[test]
fn no_tracker() {
    let mut world = World::new(6);
    let tracker = world.add_tracker();
    let fetcher =
        world.add_peer("fetcher", jobs::fetch("x", "/in"), &[tracker], Profile::default());
    world.start(fetcher);
    or_panic(world.run_until(Duration::from_secs(60), |world| world.life(fetcher) == Life::Exited));
    let (_, last) = world.notices(fetcher).last().expect("it says why");
    assert!(matches!(last, Notice::Failed(Failure::NoTracker { .. })), "{last:?}");
}

#[test]
fn a_seed_replays_bit_for_bit() {
    let hash = |seed| {
        let mut rig = Rig::new(seed);
        let tree = Tree::folder(9, 10, 60_000);
        let seeder = rig.seeder("folder", &tree);
        rig.published(1);
        let fetchers = [rig.fetcher("folder"), rig.fetcher("folder"), rig.fetcher("folder")];
        rig.world.after(Duration::from_millis(40), move |world| world.kill(seeder));
        rig.world.after(Duration::from_millis(90), move |world| world.start(seeder));
        rig.run_to_end(&fetchers, 120);
        rig.world.trace_hash()
    };
    assert_eq!(hash(7), hash(7));
    assert_ne!(hash(7), hash(8));
}

#[test]
fn nothing_is_left_when_all_have_stopped() {
    let mut rig = Rig::new(8);
    let tree = Tree::file(7, 500_000);
    let seeder = rig.seeder("movie.bin", &tree);
    rig.published(1);
    let fetchers = [rig.fetcher("movie.bin"), rig.fetcher("movie.bin")];
    let lingerer = rig.fetcher_with(jobs::fetch_and_serve("movie.bin", "/in"));
    rig.world.start(lingerer);
    rig.run_to_end(&fetchers, 20);
    for key in [lingerer, seeder, rig.tracker] {
        rig.world.stop(key);
    }
    let tracker = rig.tracker;
    let all = [fetchers[0], fetchers[1], lingerer, seeder, tracker];
    rig.run(10, |world| all.iter().all(|key| world.life(*key) == Life::Exited));
    or_panic(rig.world.run_for(Duration::from_secs(5)));
    assert_eq!(rig.world.leftovers(), None);
}

/// A check that never fails shows nothing: a disk that lies behind its owner's back must be noticed.
#[test]
fn wrong_bytes_of_an_honest_node_are_noticed() {
    let mut rig = Rig::new(9);
    let seeder = rig.seeder("movie.bin", &Tree::file(7, 500_000));
    rig.published(1);
    rig.world.disk(seeder).rot(1_000_000, 1);
    let fetcher = rig.fetcher("movie.bin");
    let limit = Duration::from_secs(10);
    let run = rig.world.run_until(limit, |world| world.life(fetcher) == Life::Exited);
    let broken = run.expect_err("an invariant").to_string();
    assert!(broken.starts_with("S1") && broken.contains("sends wrong bytes"), "{broken}");
}
