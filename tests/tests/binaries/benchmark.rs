//! The benchmark still runs, with every probe and scenario, tiny. No time is judged.

use std::path::Path;
use std::process::Command;

use tests::programs;

#[test]
fn the_benchmark_runs() {
    let programs = programs();
    // Cargo builds it beside the others, since it belongs to this crate.
    assert_eq!(Path::new(env!("CARGO_BIN_EXE_relay")).parent(), Some(programs));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/run.py");
    let mut run = Command::new("python3");
    run.arg(script).args(["--smoke", "--only", "starling*,limit:*", "--bin-dir"]).arg(programs);
    let done = run.output().expect("python3 runs");
    let told = String::from_utf8_lossy(&done.stdout);
    let log = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{log}");
    for heading in ["(one-to-four)", "(many-connections)", "(rate-limits)"] {
        assert!(told.contains(heading), "no part {heading} in\n{told}\n{log}");
    }
}
