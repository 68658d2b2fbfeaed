//! Many at once.

use std::time::Duration;

use tests::{NodeKey, Tree, jobs};

use crate::rig::{Rig, is_done, or_panic};

#[test]
fn ten_fetchers_share_what_one_seeder_sends_once() {
    let mut rig = Rig::new(1);
    let tree = Tree::file(7, 4_000_000);
    let seeder = rig.seeder("movie.bin", &tree);
    rig.published(1);
    or_panic(rig.world.run_for(Duration::from_secs(1)));
    let fetchers: Vec<NodeKey> = (0..10)
        .map(|_| {
            let key = rig.fetcher_with(jobs::fetch_and_serve("movie.bin", "/in"));
            rig.world.start(key);
            key
        })
        .collect();
    let began = rig.world.elapsed();
    let end = rig.run(60, |world| fetchers.iter().all(|key| is_done(world, *key)));
    let (sent, _) = rig.world.traffic(seeder);
    let copies = sent as f64 / tree.len() as f64;
    println!("{:?} for 10 fetchers, {copies:.2} copies from the seeder", end - began);
    assert!(copies < 2.0, "the seeder sent {copies:.2} copies");
    for key in fetchers {
        rig.assert_has(key, "movie.bin", &tree);
    }
}
