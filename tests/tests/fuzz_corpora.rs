//! Each fuzz target with its committed corpus, and with seeded mutations of it: the cheap part of
//! fuzzing, for every machine and every change. `fuzz/run` does the long part.
//!
//! One test only: the allocator counts for the whole process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use reactor::Rng;
use tests::fuzz::{Heap, TARGETS, Target};

#[global_allocator]
static HEAP: Heap = Heap {};

/// Mutations of each target, spread over its corpus.
const MUTATIONS: usize = 4_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The inputs of a target, ascending by name so that the mutations are the same everywhere.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = folder().join("corpus").join(target.name);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

/// What libFuzzer does most: a changed, new, missing or repeated byte, or the end of another input.
fn mutate(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8]) {
    const TELLING: [u8; 8] = [0, 1, 0x7F, 0x80, 0xFF, b'/', 32, 64];
    let at = rng.index(input.len() + 1);
    let any = u8::try_from(rng.below(256)).expect("a byte");
    match rng.below(8) {
        0 => input.insert(at, any),
        1 => input.truncate(at),
        2 => drop(input.drain(at..input.len().min(at + 1 + rng.index(4)))),
        3 => input.splice(at..at, other.iter().copied().take(rng.index(32) + 1)).for_each(drop),
        4 => {
            input.truncate(at);
            input.extend_from_slice(&other[rng.index(other.len() + 1)..]);
        }
        what => {
            if let Some(byte) = input.get_mut(at) {
                *byte = match what {
                    5 => any,
                    6 => *byte ^ (1 << rng.below(8)),
                    _ => TELLING[rng.index(TELLING.len())],
                };
            }
        }
    }
}

/// Runs one input; a panic is told with the command that repeats it.
fn run(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        let path =
            std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, std::process::id()));
        std::fs::write(&path, input).expect("room for the input");
        panic!("{0} fails; repeat it with: fuzz/run {0} {1}", target.name, path.display());
    }
}

#[test]
fn corpora_and_mutations_of_them_break_no_promise() {
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(corpus.len() > 1, "{}: no corpus", target.name);
        corpus.iter().for_each(|input| run(target, input));
        let mut rng = Rng::new(5);
        for number in 0..MUTATIONS {
            let mut input = corpus[number % corpus.len()].clone();
            for _ in 0..=rng.below(3) {
                let other = &corpus[rng.index(corpus.len())];
                mutate(&mut rng, &mut input, other);
            }
            input.truncate(target.max_len);
            run(target, &input);
        }
    }
}

#[test]
fn every_target_has_a_binary() {
    for target in TARGETS {
        let path = folder().join("fuzz_targets").join(format!("{}.rs", target.name));
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(text.contains(&format!("\"{}\"", target.name)), "{}", path.display());
    }
    let count = std::fs::read_dir(folder().join("fuzz_targets")).expect("the targets").count();
    assert_eq!(count, TARGETS.len());
}
