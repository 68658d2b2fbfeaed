//! The program as a process: what it prints where, and its exit codes. Nothing here needs a tracker.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the program in a folder, with no environment but what it needs to find nothing by accident.
fn peer(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
    command.args(words).current_dir(folder).env_clear().output().unwrap()
}

/// Exit code, stdout, stderr.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_and_version_go_to_stdout_and_mistakes_to_stderr() {
    let here = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| told(&peer(here.path(), words));
    for words in [&["--help"][..], &["fetch", "--help"], &["help", "seed"], &["--version"]] {
        let (code, out, err) = run(words);
        assert_eq!((code, err.as_str()), (0, ""), "{words:?}");
        assert!(!out.is_empty(), "{words:?}");
    }
    let (code, out, err) = run(&["fetch", "x", "--trakcer", "y"]);
    let lines: Vec<_> = err.lines().collect();
    let expected = [
        "error: unknown flag --trakcer",
        "  did you mean --tracker?",
        "  flags and examples: peer fetch --help",
    ];
    assert_eq!((code, out.as_str(), lines.as_slice()), (2, "", &expected[..]));
    let (code, out, err) = run(&["fecth", "--json"]);
    assert_eq!((code, err.as_str()), (2, ""));
    let event: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&event["event"], &event["exit"]), (&"error".into(), &2.into()));
}

#[test]
fn a_metafile_is_made_shown_and_verified_offline() {
    let here = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| told(&peer(here.path(), words));
    fs::create_dir_all(here.path().join("demo/sub")).unwrap();
    fs::write(here.path().join("demo/a"), "abc").unwrap();
    fs::write(here.path().join("demo/sub/empty"), "").unwrap();

    let (code, out, _) = run(&["create", "demo"]);
    assert_eq!((code, out.as_str()), (0, "demo.swarm\n"));
    assert_eq!(run(&["create", "demo"]).0, 13);

    // SHA-256 of `abc` and of nothing, from FIPS 180-2.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let (code, out, err) = run(&["info", "demo.swarm", "--sums"]);
    assert_eq!((code, out, err), (0, format!("{abc}  a\n{nothing}  sub/empty\n"), String::new()));

    assert_eq!(run(&["verify", "demo.swarm", "demo", "-q"]), (0, String::new(), String::new()));
    fs::write(here.path().join("demo/a"), "abd").unwrap();
    let (code, out, err) = run(&["verify", "demo.swarm", "demo"]);
    assert_eq!(code, 8, "{err}");
    assert!(out.starts_with("a: "), "{out}");
    assert!(err.contains("error: demo is not 'demo'"), "{err}");
}

#[test]
fn files_and_trackers_that_are_not_there_have_their_codes() {
    let here = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| told(&peer(here.path(), words));
    assert_eq!(run(&["seed", "nothing-here", "-T", "127.0.0.1:1"]).0, 3);
    fs::write(here.path().join("bad.swarm"), "not a metafile").unwrap();
    assert_eq!(run(&["fetch", "bad.swarm", "-T", "127.0.0.1:1"]).0, 8);
    // Port 1 of loopback refuses at once; no name is looked up.
    let words = ["fetch", "x", "-T", "127.0.0.1:1", "-l", "127.0.0.1:0", "--timeout", "5s", "-q"];
    let (code, out, err) = run(&words);
    assert_eq!((code, out.as_str()), (6, ""), "{err}");
    assert!(err.starts_with("error: tracker 127.0.0.1:1 can't be reached\n"), "{err}");
    // Seeding needs a place for keys, and there is no HOME.
    fs::write(here.path().join("file"), "x").unwrap();
    let (code, _, err) = run(&["seed", "file", "-T", "127.0.0.1:1", "--once"]);
    assert!(code != 0 && err.contains("--state-dir"), "{code} {err}");
}

#[test]
fn each_run_is_another_node() {
    let here = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
        command.args(["ls", "-T", &address]).current_dir(here.path()).env_clear();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 4 + 28];
        stream.read_exact(&mut hello).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(hello[0], 1, "the dialer speaks first");
        <[u8; 16]>::try_from(&hello[12..28]).unwrap()
    };
    let nodes = [run(), run()];
    assert_ne!(nodes[0], nodes[1], "[H-15]");
    assert!(nodes.iter().all(|node| *node != [node[0]; 16]), "[H-15]: {nodes:?}");
}
