//! Random swarms with random trouble, a few of them; `cargo sim` runs as many as one likes.

use tests::plan;

#[test]
fn random_swarms_complete_whatever_happens() {
    for seed in 0..40 {
        if let Err(stuck) = plan::run(seed, false) {
            panic!("{stuck}");
        }
    }
}

#[test]
fn random_swarms_replay_bit_for_bit() {
    for seed in [3, 14] {
        let hash = || plan::run(seed, false).map(|outcome| outcome.hash).ok();
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
