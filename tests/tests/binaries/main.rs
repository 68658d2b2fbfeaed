//! The two programs as people run them: real processes, sockets and files.

mod benchmark;
mod processes;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use processes::{Stage, noise};

/// Large enough to be interrupted in the middle at [`SLOW`].
const BIG: usize = 24 << 20;
/// A rate at which [`BIG`] takes some seconds.
const SLOW: &str = "6M";

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
    fs::write(path, bytes).expect("a file");
}

fn assert_same_tree(left: &Path, right: &Path) {
    let diff = Command::new("diff").arg("-r").args([left, right]).output().expect("diff runs");
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));
}

#[test]
fn a_folder_goes_from_seeder_to_fetcher_bit_by_bit() {
    let stage = Stage::new();
    let source = stage.path("source");
    for index in 0..300_u64 {
        write(&source.join(format!("many/{}/{index}.txt", index % 7)), &noise(500, index));
    }
    write(&source.join("big.bin"), &noise(3 << 20, 1));
    write(&source.join("empty"), b"");
    write(&source.join("日本語/ファイル.txt"), b"kanji");
    write(&source.join("кириллица/Ёж"), b"cyrillic");
    write(&source.join("عربي/ملف"), b"arabic");
    write(&source.join("run.sh"), b"#!/bin/sh\n");
    fs::set_permissions(source.join("run.sh"), fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir_all(source.join("nothing/in/here")).expect("folders");

    let _seeder = stage.seed("seeder", &source, "things");
    let out = stage.fetch("fetcher", "things", "here", &["-q"]).succeed();

    let place = stage.path("here/things");
    assert_eq!(out.trim(), place.display().to_string(), "-q prints the final path only");
    assert_same_tree(&source, &place);
    assert!(place.join("nothing/in/here").is_dir());
    let mode = |name: &str| fs::metadata(place.join(name)).expect(name).permissions().mode();
    assert_ne!(mode("run.sh") & 0o111, 0);
    assert_eq!(mode("big.bin") & 0o111, 0);
    let left: Vec<_> = fs::read_dir(stage.path("here")).expect("it is there").flatten().collect();
    assert_eq!(left.len(), 1, "nothing but the object is left: {left:?}");
}

#[test]
fn a_fetch_killed_midway_resumes_and_keeps_what_it_had() {
    let stage = Stage::new();
    let source = stage.path("big.bin");
    write(&source, &noise(BIG, 2));
    let _seeder = stage.seed("seeder", &source, "big.bin");

    for _ in 0..2 {
        let more = ["--json", "--interval", "200ms", "--down", SLOW];
        let mut fetcher = stage.fetch("fetcher", "big.bin", "here", &more);
        fetcher.await_output("\"event\":\"start\"");
        for _ in 0..4 {
            fetcher.await_output("\"event\":\"progress\"");
        }
        fetcher.kill();
        assert!(!stage.path("here/big.bin").exists(), "no file by its name before it is whole");
    }
    let out = stage.fetch("fetcher", "big.bin", "here", &["--json"]).succeed();
    assert!(out.contains("\"event\":\"resume\""), "{out}");
    assert_eq!(fs::read(stage.path("here/big.bin")).expect("fetched"), noise(BIG, 2));
}

#[test]
fn a_fetch_outlives_its_tracker_and_one_of_three_seeders() {
    let mut stage = Stage::new();
    let source = stage.path("big.bin");
    write(&source, &noise(BIG, 3));
    let mut seeders: Vec<_> =
        ["one", "two", "three"].iter().map(|who| stage.seed(who, &source, "big.bin")).collect();

    let more = ["--json", "--interval", "200ms", "--down", SLOW];
    let mut fetcher = stage.fetch("fetcher", "big.bin", "here", &more);
    fetcher.await_output("\"event\":\"progress\"");
    stage.kill_tracker();
    fetcher.await_output("\"event\":\"progress\"");
    seeders[0].kill();
    fetcher.await_output("\"event\":\"progress\"");
    stage.start_tracker();
    fetcher.succeed();
    assert_eq!(fs::read(stage.path("here/big.bin")).expect("fetched"), noise(BIG, 3));

    // The name is durable, and the seeders come back to the new tracker by themselves.
    stage.fetch("another", "big.bin", "there", &["--wait", "30s"]).succeed();
    assert_eq!(fs::read(stage.path("there/big.bin")).expect("fetched"), noise(BIG, 3));
}

#[test]
fn a_file_cut_short_while_it_is_served_is_withdrawn_and_harms_nobody() {
    let stage = Stage::new();
    let (good, bad) = (stage.path("good/big.bin"), stage.path("bad/big.bin"));
    write(&good, &noise(BIG, 4));
    write(&bad, &noise(BIG, 4));
    let mut loser = stage.seed("loser", &bad, "big.bin");
    let more = ["--json", "--interval", "200ms", "--down", SLOW];
    let mut fetcher = stage.fetch("fetcher", "big.bin", "here", &more);
    fetcher.await_output("\"event\":\"progress\"");

    let file = fs::OpenOptions::new().write(true).open(&bad).expect("the file");
    file.set_len(1 << 20).expect("truncate");
    loser.await_line("changed");
    let _keeper = stage.seed("keeper", &good, "big.bin");
    fetcher.succeed();
    assert_eq!(fs::read(stage.path("here/big.bin")).expect("fetched"), noise(BIG, 4));
}

#[test]
fn errors_say_what_to_do_and_end_with_their_codes() {
    let mut stage = Stage::new();
    let source = stage.path("model.bin");
    write(&source, b"weights");
    let _seeder = stage.seed("seeder", &source, "model.bin");

    let err = stage.fetch("a", "modle.bin", "here", &[]).fail_with(3);
    assert!(err.contains("did you mean") && err.contains("model.bin"), "{err}");

    write(&stage.path("taken/model.bin"), b"something else");
    stage.fetch("b", "model.bin", "taken", &[]).fail_with(13);
    assert_eq!(fs::read(stage.path("taken/model.bin")).expect("kept"), b"something else");

    stage.kill_tracker();
    let err = stage.fetch("c", "model.bin", "here", &[]).fail_with(6);
    assert!(err.contains(&stage.address), "{err}");
    stage.peer("d", &["fetch", "model.bin", "--no-such-flag"]).fail_with(2);
}

#[test]
fn two_fetches_of_one_object_into_one_folder_do_not_mix() {
    let stage = Stage::new();
    let source = stage.path("big.bin");
    write(&source, &noise(BIG, 5));
    let _seeder = stage.seed("seeder", &source, "big.bin");
    let more = ["--json", "--interval", "200ms", "--down", SLOW];
    let mut first = stage.fetch("first", "big.bin", "here", &more);
    first.await_output("\"event\":\"progress\"");
    stage.fetch("second", "big.bin", "here", &[]).fail_with(11);
    first.signal("INT");
    assert_eq!(first.finish().0.code(), Some(130));
    stage.fetch("second", "big.bin", "here", &[]).succeed();
    assert_eq!(fs::read(stage.path("here/big.bin")).expect("fetched"), noise(BIG, 5));
}

#[test]
fn names_are_listed_verified_saved_and_removed() {
    let stage = Stage::new();
    let source = stage.path("docs");
    write(&source.join("a.txt"), b"a");
    write(&source.join("deep/b.txt"), b"b");
    let _seeder = stage.seed("seeder", &source, "docs");

    assert!(stage.peer("x", &["ls"]).succeed().contains("docs"));
    assert!(stage.peer("x", &["info", "docs", "--files"]).succeed().contains("deep/b.txt"));
    assert!(stage.peer("x", &["who", "docs"]).succeed().contains("127.0.0.1"));
    let path = source.display().to_string();
    stage.peer("x", &["verify", "docs", &path]).succeed();

    let part = stage.fetch("x", "docs/deep", "part", &["-q"]).succeed();
    assert_eq!(part.trim(), stage.path("part/deep").display().to_string());
    assert_eq!(fs::read(stage.path("part/deep/b.txt")).expect("fetched"), b"b");

    let metafile = stage.path("docs.swarm").display().to_string();
    stage.peer("x", &["create", &path, "-o", &metafile]).succeed();
    stage.fetch("x", &metafile, "by-metafile", &[]).succeed();
    assert_same_tree(&source, &stage.path("by-metafile/docs"));

    write(&source.join("a.txt"), b"other");
    stage.peer("x", &["verify", &metafile, &path]).fail_with(8);
    stage.peer("seeder", &["unpublish", "docs"]).succeed();
    stage.fetch("y", "docs", "gone", &[]).fail_with(3);
}
