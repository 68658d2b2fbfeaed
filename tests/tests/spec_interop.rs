//! Our programs and the reference programs of `spec/ref/`, which were written from the text alone: each
//! fetches what the other seeds, through either's tracker, beside seeders that misbehave; what the
//! reference side saw is checked against the rules.

use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Builds the programs in this test's own profile; the folder they are in.
fn programs() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    let folder = test.parent().and_then(Path::parent).expect("target/profile/deps/test");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--bins", "-p", "tracker", "-p", "peer"]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    let target = folder.parent().expect("the target folder");
    build.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    run(build);
    folder.to_owned()
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
