//! The calm days.

use tests::Tree;

use crate::rig::Rig;

#[test]
fn one_file_from_one_seeder() {
    let mut rig = Rig::new(1);
    let tree = Tree::file(7, 1_000_000);
    rig.seeder("movie.bin", &tree);
    rig.published(1);
    let fetcher = rig.fetcher("movie.bin");
    let took = rig.run_to_end(&[fetcher], 30);
    rig.assert_has(fetcher, "movie.bin", &tree);
    println!("done at {took:?} after {} events", rig.world.steps());
}
