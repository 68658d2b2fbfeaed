//! The generated parts of `spec/` are what its tools make today, and the spec's own tests pass.

use std::path::PathBuf;
use std::process::Command;

fn run(script: &str, args: &[&str]) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("python3").arg(script).args(args).current_dir(root).output();
    let output = output.unwrap_or_else(|error| {
        panic!("python3: {error}; the spec's tools need Python 3.11 or later: install it")
    });
    assert!(
        output.status.success(),
        "python3 {script}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn tables_and_examples_are_current() {
    run("spec/tools/gen.py", &["--check"]);
}

#[test]
fn vectors_are_current() {
    run("spec/tools/vectors.py", &["--check"]);
}

#[test]
fn the_example_capture_is_current_and_keeps_the_rules() {
    run("spec/tools/tour.py", &["--check"]);
}

#[test]
fn captures_keep_the_rules_and_show_what_they_are_for() {
    run("spec/tools/captures.py", &["--check"]);
}

#[test]
fn the_capture_checker_notices_broken_rules() {
    run("spec/tools/check_verifier.py", &[]);
}

#[test]
fn each_rule_is_named_by_a_test_or_a_vector() {
    run("spec/tools/reqs.py", &[]);
}

// Needs tshark; tests/test.sh installs it.
#[test]
fn wireshark_sees_what_the_codec_sees() {
    run("spec/tools/check_dissector.py", &[]);
}
