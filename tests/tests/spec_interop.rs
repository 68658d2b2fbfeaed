//! Our programs and the reference programs of `spec/ref/`, which were written from the text alone: each
//! fetches what the other seeds, through either's tracker, beside seeders that misbehave. All that they
//! say is captured on the loopback interface (where that is allowed) and checked against the rules, and
//! tshark has to see the same frames.

use std::path::PathBuf;
use std::process::Command;

use tests::programs;

fn run(mut command: Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}; is it installed?"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn interop() -> Command {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec/ref/interop.py");
    let mut command = Command::new("python3");
    command.arg(script);
    command
}

// Every case in every combination of ours and the reference programs as tracker, seeder and fetcher.
#[test]
fn our_programs_agree_with_the_reference_programs() {
    let folder = programs();
    let mut command = interop();
    command.arg("--peer").arg(folder.join("peer")).arg("--tracker").arg(folder.join("tracker"));
    command.args(["--jobs", "8"]);
    run(command);
}
