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

/// Seeds that once failed, and what they found. Their plans change with the simulator; what the cores did
/// wrong has a test of its own as well.
const ONCE_FAILED: [(u64, &str); 19] = [
    (5, "a piece that did not fit on a full disk was never asked for again"),
    (28, "a tracker that came back empty never got its names back"),
    (10_001_129, "fetchers waited for a manifest that each had in its own part folder"),
    (10_002_224, "the same, after a kill"),
    (10_002_332, "the same, with resets"),
    (10_008_253, "links of no use held all places for connections for ever"),
    (10_005_502, "the simulator: power was lost between the end of a fetch and the word of it"),
    (10_010_901, "the simulator: what is slow was taken for what is over"),
    (10_012_558, "the simulator: what a journal lost with the power was expected to be known"),
    (10_021_960, "the simulator: a changed file was expected to be sent as it was"),
    (
        10_026_189,
        "the simulator: an actor sent the whole of a piece of one byte, and was called honest",
    ),
    (10_026_828, "the simulator: a dial in the middle of a reset had no outcome"),
    (80_000_556, "the simulator: what had queued for a slow downlink stayed slow when it was over"),
    (130_021_789, "the simulator: the same for what had queued on one connection"),
    (130_090_326, "who was asked for an object before it had hashed it was never asked again"),
    (
        150_067_026,
        "the simulator: a lie about a one-byte piece was the whole of it, and called honest",
    ),
    (170_021_560, "the simulator: the rest without seeders was over while the tracker still slept"),
    (170_079_799, "the simulator: a journal was expected to name what it had no room to name"),
    (180_042_984, "the simulator: a host with power reset nothing once its process had ended"),
];

#[test]
fn seeds_that_once_failed_pass() {
    for (seed, found) in ONCE_FAILED {
        if let Err(stuck) = plan::run(seed, false) {
            panic!("{found}, again?\n{stuck}");
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
