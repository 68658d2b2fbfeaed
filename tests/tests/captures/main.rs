//! The captures of `spec/captures/`: what the real machines say to each other in a few scenes, the same
//! bytes on every run, because node ids, ports, clocks and seeds are fixed. A change of what is said
//! shows here; if it is meant, `python3 spec/tools/regenerate.py` writes the captures again.

mod hosted;
mod net;
mod pcap;
mod scenes;

use std::fs;
use std::path::PathBuf;

/// Set: write the captures instead of comparing.
const WRITE: &str = "SWP_WRITE_CAPTURES";

fn compare(name: &str, made: &[u8]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec/captures");
    let path = folder.join(name).with_extension("pcap");
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, made).expect("spec/captures can be written");
        return;
    }
    let kept = fs::read(&path).unwrap_or_default();
    let at = kept.iter().zip(made).position(|(a, b)| a != b);
    assert!(
        kept == made,
        "spec/captures/{name}.pcap is not what the machines say today: {} bytes instead of {}, the \
         first difference at {}. If the change is meant: python3 spec/tools/regenerate.py, look at \
         the differences of spec/captures/{name}.jsonl, and commit both",
        made.len(),
        kept.len(),
        at.unwrap_or_else(|| kept.len().min(made.len())),
    );
}

fn check(name: &str, scene: fn() -> Vec<u8>) {
    let made = scene();
    assert!(made == scene(), "{name}: not the same twice");
    compare(name, &made);
}

#[test]
fn announce_and_fetch_of_a_small_folder() {
    check("folder", scenes::folder);
}

#[test]
fn a_fetch_that_goes_on_where_it_was_killed() {
    check("resume", scenes::resume);
}

#[test]
fn requests_that_are_rejected() {
    check("reject", scenes::reject);
}

#[test]
fn requests_that_are_cancelled() {
    check("cancel", scenes::cancelling);
}

#[test]
fn the_end_of_a_fetch_from_a_fast_and_a_slow_seeder() {
    check("endgame", scenes::endgame);
}

#[test]
fn a_corrupt_piece() {
    check("corrupt-piece", scenes::corrupt_piece);
}

#[test]
fn versions_without_one_in_common() {
    check("version-refusal", scenes::version_refusal);
}

#[test]
fn a_tracker_that_starts_again() {
    check("tracker-restart", scenes::tracker_restart);
}
