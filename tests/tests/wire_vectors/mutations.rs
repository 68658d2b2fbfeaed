//! Three codecs, on frames that nobody thought of: ours, the one in Python, and the dissector in Lua.

use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::message_json::hex;
use super::reading::{Reading, Seen, bytes_of, document, read, rows, whole};

/// Streams of one seed.
const MUTATED_STREAMS: usize = 12_000;

/// A small generator: the same mutations in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("48 bits") % limit
    }
}

/// One to three changes: a bit, a byte, a byte more or less, the length in the header.
fn mutate(dice: &mut Dice, frame: &mut Vec<u8>) {
    for _ in 0..=dice.below(3) {
        let at = dice.below(frame.len());
        match dice.below(6) {
            0 => frame[at] ^= 1 << dice.below(8),
            1 => frame[at] = [0, 1, 2, 0x7F, 0x80, 0xFF][dice.below(6)],
            2 => frame.insert(at, u8::try_from(dice.below(256)).expect("a byte")),
            3 if frame.len() > 1 => drop(frame.remove(at)),
            4 => frame.truncate(at.max(1)),
            _ => {
                // A header that tells the truth lets more get past it.
                let len = u32::try_from(frame.len().saturating_sub(4)).expect("short");
                if let Some(header) = frame.get_mut(1..4) {
                    header.copy_from_slice(&len.to_be_bytes()[1..]);
                }
            }
        }
    }
}

/// Streams with a mutated frame in each; the same for the same seed.
fn mutated_streams(seed: u64) -> Vec<Vec<u8>> {
    let vectors = document("frames");
    let vectors = rows(&vectors, "vectors").iter().filter(|v| v["type"].is_string());
    let good: Vec<Vec<u8>> = vectors.map(bytes_of).filter(|bytes| bytes.len() < 2_000).collect();
    let hello = &good[1];
    assert_eq!(hello[0], 1, "the second vector is a HELLO");
    let mut dice = Dice(0x5357_5031_5357_5031 ^ seed);
    let mutated = (0..MUTATED_STREAMS).map(|round| {
        let mut frame = good[round % good.len()].clone();
        mutate(&mut dice, &mut frame);
        let tail = &good[dice.below(good.len())];
        match round % 3 {
            0 => [&frame[..], tail].concat(),
            1 => [&hello[..], &frame].concat(),
            _ => [&hello[..], &frame, tail].concat(),
        }
    });
    mutated.collect()
}

// They agree on each frame and each byte of it, on accepting and refusing, and on the code. With
// MUTATION_SEEDS=N in the environment, N seeds instead of one.
#[test]
fn mutated_frames_mean_the_same_to_all_codecs() {
    let seeds =
        std::env::var("MUTATION_SEEDS").map_or(1, |n| n.parse().expect("a number of seeds"));
    for seed in 0..seeds {
        let streams = mutated_streams(seed);
        let verdicts = ask_python(&streams);
        assert_eq!(verdicts.len(), streams.len());
        let mut refused = 0;
        for (stream, verdict) in streams.iter().zip(&verdicts) {
            let reading = read(true, whole(stream));
            refused += usize::from(reading.error.is_some());
            assert_eq!(&judgement(&reading), verdict, "seed {seed}: {}", hex(stream));
        }
        let share = refused * 100 / streams.len();
        assert!((25..92).contains(&share), "{share} % were refused: poor mutations");
        // Python and the dissector are compared by Python; tshark takes longer, so on every fourth.
        let some: Vec<Vec<u8>> = streams.into_iter().step_by(4).collect();
        let text = run_script("fuzz_codecs.py", &["--streams"], &some);
        assert_eq!(text.trim(), format!("{} streams, 0 differences", some.len()), "seed {seed}");
    }
}

/// What `judge.py` would say if it had read this.
fn judgement(reading: &Reading) -> String {
    let names: Vec<String> = reading.seen.iter().map(Seen::name).collect();
    let end = reading
        .code()
        .unwrap_or_else(|| if reading.at_boundary { "-".to_owned() } else { "cut".to_owned() });
    let again: Vec<u8> = reading.seen.iter().filter_map(Seen::encode).flatten().collect();
    format!("{} | {end} {}", names.join(" "), hex(&again)).trim().to_owned()
}

fn ask_python(streams: &[Vec<u8>]) -> Vec<String> {
    let text = run_script("judge.py", &[], streams);
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// What a tool of the spec says of these streams, one line of hex each.
fn run_script(name: &str, args: &[&str], streams: &[Vec<u8>]) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec/tools").join(name);
    let mut lines = tempfile::tempfile().expect("a temporary file");
    for stream in streams {
        writeln!(lines, "{}", hex(stream)).expect("room for a few megabytes");
    }
    lines.rewind().expect("a file can be read from its start");
    let output = Command::new("python3").arg(script).args(args).stdin(Stdio::from(lines)).output();
    let output =
        output.unwrap_or_else(|error| panic!("python3: {error}; install Python 3.11 or later"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {}\n{errors}{text}", output.status);
    text
}
