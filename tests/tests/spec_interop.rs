//! Our programs and the reference programs of `spec/ref/`, which were written from the text alone: each
//! fetches what the other seeds, through either's tracker, beside seeders that misbehave; what the
//! reference side saw is checked against the rules.

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

#[test]
fn the_reference_programs_agree_with_themselves() {
    let mut command = interop();
    command.args(["--case", "folder", "--case", "two-seeders", "--case", "corrupt-piece"]);
    run(command);
}

#[test]
fn our_programs_agree_with_the_reference_programs() {
    let folder = programs();
    let mut command = interop();
    command.arg("--peer").arg(folder.join("peer")).arg("--tracker").arg(folder.join("tracker"));
    for combination in ["ref-ref-starling", "ref-starling-ref", "starling-ref-starling"] {
        command.args(["--only", combination]);
    }
    run(command);
}
