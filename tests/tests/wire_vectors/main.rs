//! Every vector of `spec/vectors/` and every example of `spec/PROTOCOL.md`, through the public doors of
//! the protocol crate: what comes out, or the code of the error and the rule it names, must be what the
//! spec's own codec says. Frames are fed whole and one byte at a time. [`mutations`] compares the codecs on
//! frames that no vector has.

mod message_json;
mod mutations;
mod reading;

use std::collections::BTreeSet;
use std::sync::Arc;

use message_json::hex;
use protocol::{
    DecodeError, EntryKind, Holding, Manifest, Message, Metafile, ObjectId, PieceSet, SafePath,
};
use reading::{Reading, Seen, bytes_of, document, read, rows, spec, text, unhex, whole};
use serde_json::{Value, json};

/// A field's error names one of the rules that the vector is about.
fn assert_rule(vector: &Value, rule: &str) {
    let rules = vector["requirements"].as_array().expect("requirements");
    assert!(rules.iter().any(|r| r == rule), "{}: got {rule}, expected {rules:?}", vector["id"]);
}

// [F-2] to [F-13], [H-2], [H-3], and all layouts
#[test]
fn frames_are_what_the_spec_says() {
    for vector in rows(&document("frames"), "vectors") {
        let id = text(vector, "id");
        let bytes = bytes_of(vector);
        let reading = read(vector["first"] == true, whole(&bytes));
        // By bytes: also that nothing depends on how the stream is cut.
        assert_eq!(read(vector["first"] == true, bytes.chunks(1)), reading, "{id}: byte by byte");

        assert_eq!(reading.code().as_deref(), vector["error"].as_str(), "{id}: {reading:?}");
        if let Some(DecodeError::Field { rule, .. }) = &reading.error {
            assert_rule(vector, rule);
        }
        if vector["incomplete"] == true {
            assert!(reading.seen.is_empty() && !reading.at_boundary, "{id}: {reading:?}");
        }
        if let Some(kind) = vector["skipped"].as_u64() {
            assert_eq!(reading.seen[0].fields()["type"], kind, "{id}");
        }
        if let Some(name) = vector["type"].as_str() {
            let [message] = reading.seen.as_slice() else { panic!("{id}: {reading:?}") };
            assert_eq!(message.name(), name, "{id}");
            if vector["fields"].is_object() {
                assert_eq!(message.fields(), vector["fields"], "{id}");
            }
            assert!(reading.at_boundary, "{id}");
            assert_eq!(message.encode().expect("no skipped frame"), bytes, "{id}: encoded again");
        }
    }
}

// [F-12]
#[test]
fn streams_mean_the_same_however_they_are_cut() {
    for vector in rows(&document("streams"), "vectors") {
        let id = text(vector, "id");
        let bytes = bytes_of(vector);
        let reading = read(true, whole(&bytes));
        let names: Vec<String> = reading.seen.iter().map(Seen::name).collect();
        assert_eq!(json!(names), vector["events"], "{id}");
        assert_eq!(reading.code().as_deref(), vector["error"].as_str(), "{id}: {reading:?}");
        assert_eq!(
            json!(reading.error.is_none() && reading.at_boundary),
            vector["complete"],
            "{id}"
        );

        let splits = vector["splits"].as_array().expect("splits").iter();
        let splits: Vec<usize> = splits.filter_map(|s| usize::try_from(s.as_u64()?).ok()).collect();
        let mut at = 0;
        let mut chunks = Vec::new();
        for split in splits.iter().copied().filter(|split| *split <= bytes.len()) {
            chunks.push(&bytes[at..split]);
            at = split;
        }
        chunks.push(&bytes[at..]);
        assert_eq!(read(true, chunks.into_iter()), reading, "{id}: at the given splits");
        for size in 1..bytes.len() {
            assert_eq!(read(true, bytes.chunks(size)), reading, "{id}: {size} at a time");
        }
    }
}

// [H-12] [H-13] [H-22]. What a session makes of roles, nodes and tokens is a matter of the sessions' tests.
#[test]
fn handshakes_agree_on_a_version() {
    for vector in rows(&document("handshake"), "vectors") {
        let id = text(vector, "id");
        let hello = |key| match read(true, whole(&unhex(text(vector, key)))) {
            Reading { seen, error: None, .. } => match seen.as_slice() {
                [Seen::Message(Message::Hello(hello))] => Ok(hello.clone()),
                other => panic!("{id}: {other:?}"),
            },
            reading => Err(reading.code()),
        };
        let mine = hello("mine").expect("one's own HELLO is right");
        match hello("theirs") {
            Err(code) => assert_eq!(json!(code), vector["error"], "{id}"),
            Ok(theirs) => {
                let version = protocol::negotiate(mine.versions(), theirs.versions());
                assert_eq!(version.is_none(), vector["error"] == "VERSION", "{id}: {version:?}");
                if vector["error"].is_null() {
                    assert_eq!(json!(version), vector["version"], "{id}");
                }
            }
        }
    }
}

// [M-1] to [M-14]
#[test]
fn manifests_are_what_the_spec_says() {
    for vector in rows(&document("manifests"), "vectors") {
        let id = text(vector, "id");
        let bytes: Arc<[u8]> = bytes_of(vector).into();
        let manifest = match Manifest::parse(bytes.clone()) {
            Ok(manifest) => manifest,
            Err(error) => {
                assert_eq!(vector["valid"], false, "{id}: {error}");
                assert_rule(vector, error.rule);
                continue;
            }
        };
        assert_eq!(vector["valid"], true, "{id}");
        assert_eq!(manifest.id().to_string(), text(vector, "object"), "{id}");
        assert_eq!(json!(manifest.piece_log2()), vector["piece_log2"], "{id}");
        assert_eq!(entries(&manifest), vector["entries"], "{id}");
        assert_eq!(pieces(&manifest), vector["pieces"], "{id}");

        let parts = manifest.entries().iter().enumerate().rev().map(|(file, entry)| {
            let hashes = manifest.geometry().pieces_of(file).map(|p| manifest.piece_hash(p));
            (entry.clone(), hashes.collect())
        });
        let again = Manifest::build(manifest.piece_log2(), parts.collect());
        assert_eq!(again.expect("its own parts").bytes(), &bytes, "{id}: built again");
    }
}

fn entries(manifest: &Manifest) -> Value {
    let entry = |entry: &protocol::Entry| {
        let path = entry.path.as_ref().map_or("", SafePath::as_str);
        match &entry.kind {
            EntryKind::File { executable, len, digest } => json!({
                "path": path, "executable": executable, "length": len, "digest": hex(&digest.0),
            }),
            EntryKind::EmptyFolder => json!({
                "path": format!("{path}/"), "executable": false, "length": 0,
                "digest": hex(&[0; 32]),
            }),
        }
    };
    manifest.entries().iter().map(entry).collect()
}

fn pieces(manifest: &Manifest) -> Value {
    let piece = |piece| {
        let span = manifest.geometry().span(piece);
        json!({
            "file": span.file, "offset": span.offset, "length": span.len,
            "hash": hex(&manifest.piece_hash(piece).0),
        })
    };
    manifest.geometry().pieces().map(piece).collect()
}

// [M-15]
#[test]
fn default_piece_sizes_are_what_the_spec_says() {
    for row in rows(&document("manifests"), "piece_sizes") {
        let groups = row["files"].as_array().expect("files").iter();
        let lens = groups.flat_map(|group| {
            let count = usize::try_from(group[1].as_u64().expect("a count")).expect("fits");
            vec![group[0].as_u64().expect("a length"); count]
        });
        let lens: Vec<u64> = lens.collect();
        assert_eq!(json!(Manifest::default_piece_log2(&lens)), row["piece_log2"], "{row}");
    }
}

// [P-16] [P-17]
#[test]
fn bitmaps_are_what_the_spec_says() {
    for vector in rows(&document("bitmaps"), "vectors") {
        let id = text(vector, "id");
        let bytes = unhex(text(vector, "hex"));
        let count = u32::try_from(vector["count"].as_u64().expect("a count")).expect("fits");
        match PieceSet::from_bytes(count, &bytes) {
            Some(set) => {
                assert_eq!(set.as_bytes(), bytes, "{id}");
                assert_eq!(json!(set.iter().collect::<Vec<_>>()), vector["pieces"], "{id}");
                assert_eq!(set.count() as usize, set.iter().count(), "{id}");
            }
            None => assert_eq!(vector["valid"], false, "{id}"),
        }
    }
}

// [M-16] to [M-22]
#[test]
fn names_and_paths_are_what_the_spec_says() {
    for vector in rows(&document("names"), "vectors") {
        let id = text(vector, "id");
        let bytes = unhex(text(vector, "hex"));
        let Ok(name) = str::from_utf8(&bytes) else {
            assert_eq!(vector["path"], false, "{id}: not UTF-8");
            continue;
        };
        for (verdict, expected) in
            [(SafePath::new(name), &vector["path"]), (protocol::check_name(name), &vector["name"])]
        {
            assert_eq!(json!(verdict.is_ok()), *expected, "{id}: {name:?}");
            if let Err(error) = verdict {
                assert_rule(vector, error.rule);
            }
        }
    }
}

// [M-23] to [M-28]
#[test]
fn metafiles_are_what_the_spec_says() {
    for vector in rows(&document("metafiles"), "vectors") {
        let id = text(vector, "id");
        let bytes = unhex(text(vector, "hex"));
        match Metafile::parse(&bytes) {
            Ok(metafile) => {
                assert_eq!(metafile.name, text(vector, "name"), "{id}");
                assert_eq!(json!(metafile.trackers), vector["trackers"], "{id}");
                assert_eq!(metafile.manifest.id().to_string(), text(vector, "object"), "{id}");
                assert_eq!(metafile.to_bytes(), bytes, "{id}: written again");
            }
            Err(error) => {
                assert_eq!(vector["valid"], false, "{id}: {error}");
                assert_rule(vector, error.rule);
            }
        }
    }
}

// [T-17]
#[test]
fn holdings_have_the_digest_of_the_spec() {
    for vector in rows(&document("digests"), "vectors") {
        let holdings = vector["holdings"].as_array().expect("holdings").iter().map(|row| {
            let state = if row["state"] == 1 { Holding::Partial } else { Holding::Complete };
            (ObjectId::from_hex(text(row, "object")).expect("an object id"), state)
        });
        assert_eq!(json!(protocol::holdings_digest(holdings)), vector["digest"], "{vector}");
    }
}

#[test]
fn examples_in_the_text_are_right() {
    let spec_text = spec("PROTOCOL.md");
    let (mut shown, mut manifests) = (BTreeSet::new(), 0);
    for block in spec_text.split("\n```hex").skip(1) {
        let (kind, rest) = block.split_once('\n').expect("a fence ends its line");
        let bytes = unhex(rest.split("\n```").next().expect("split gives one part"));
        if kind == " manifest" {
            Manifest::parse(bytes.into()).expect("an example of a manifest");
            manifests += 1;
            continue;
        }
        let reading = read(bytes[0] == 1, whole(&bytes));
        assert!(reading.error.is_none() && reading.at_boundary, "{reading:?}\n{rest}");
        let again: Vec<u8> = reading.seen.iter().filter_map(Seen::encode).flatten().collect();
        let skips = reading.seen.iter().any(|seen| matches!(seen, Seen::Skipped(_)));
        assert!(skips || again == bytes, "{reading:?}");
        shown.extend(reading.seen.iter().map(|seen| seen.name()));
    }
    assert!(manifests >= 1, "no manifest");
    // Each type of frame, and one that is skipped.
    let names = protocol::frame::KINDS.iter().map(|kind| kind.name.to_owned());
    let wanted: BTreeSet<_> = names.chain(["SKIPPED 0xe5".to_owned()]).collect();
    assert_eq!(shown, wanted);
}
