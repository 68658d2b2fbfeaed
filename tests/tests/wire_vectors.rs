//! Every vector of `spec/vectors/` and every example of `spec/PROTOCOL.md`, through the public doors of
//! the protocol crate: what comes out, or the code of the error and the rule it names, must be what the
//! spec's own codec says. Frames are fed whole and one byte at a time.

mod message_json;

use std::io::{Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use message_json::{block, describe, hex, with};
use protocol::message::DataHead;
use protocol::{
    DecodeError, EntryKind, FrameReader, Holding, Incoming, Manifest, Message, Metafile, ObjectId,
    PieceSet, SafePath,
};
use serde_json::{Value, json};

fn spec(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn document(name: &str) -> Value {
    serde_json::from_str(&spec(&format!("vectors/{name}.json"))).expect("vectors are JSON")
}

fn rows<'v>(document: &'v Value, list: &str) -> &'v [Value] {
    let rows = document[list].as_array().unwrap_or_else(|| panic!("no list {list}"));
    assert!(rows.len() > 5, "{list} has only {} vectors", rows.len());
    rows
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "an odd number of hex digits");
    let pairs = digits.chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).expect("hex is ASCII");
        u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{pair} is not hex"))
    });
    pairs.collect()
}

/// The bytes of a vector: `hex`, or `parts` that are repeated.
fn bytes_of(vector: &Value) -> Vec<u8> {
    let Some(parts) = vector["parts"].as_array() else {
        return unhex(text(vector, "hex"));
    };
    let piece = |part: &Value| {
        let times = part[1].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a count");
        unhex(part[0].as_str().expect("hex")).repeat(times)
    };
    parts.iter().flat_map(piece).collect()
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Message(Message),
    Skipped(u8),
    Data(DataHead, Vec<u8>),
}

impl Seen {
    fn name(&self) -> String {
        match self {
            Self::Message(message) => describe(message).0.to_owned(),
            Self::Skipped(kind) => format!("SKIPPED {kind:#04x}"),
            Self::Data(..) => "DATA".to_owned(),
        }
    }

    fn fields(&self) -> Value {
        match self {
            Self::Message(message) => describe(message).1,
            Self::Skipped(kind) => json!({"type": kind}),
            Self::Data(head, bytes) => with(block(&head.block), json!({"bytes": hex(bytes)})),
        }
    }

    /// The frame again, from what was understood of it.
    fn encode(&self) -> Option<Vec<u8>> {
        match self {
            Self::Message(message) => Some(message.to_frame()),
            Self::Skipped(_) => None,
            Self::Data(head, bytes) => Some([&head.to_frame_head()[..], bytes].concat()),
        }
    }
}

/// All that a reader makes of a stream.
#[derive(Debug, PartialEq)]
struct Reading {
    seen: Vec<Seen>,
    error: Option<DecodeError>,
    at_boundary: bool,
}

impl Reading {
    /// The name of the closing code, "CLOSE" where nothing may be sent, or `None`.
    fn code(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(error.code().map_or_else(|| "CLOSE".to_owned(), |code| code.to_string()))
    }
}

/// Feeds `chunks` in order, after a HELLO unless they are the `first` bytes of a connection.
fn read<'c>(first: bool, chunks: impl Iterator<Item = &'c [u8]>) -> Reading {
    let mut reader = FrameReader::new();
    if !first {
        let hello = unhex("0100001cd353575001010100000102030405060708090a0b0c0d0e0f23290200");
        let greeted = reader.next(&mut hello.as_slice());
        assert!(matches!(greeted, Ok(Some(Incoming::Message(Message::Hello(_))))), "{greeted:?}");
    }
    let mut seen = Vec::new();
    for mut chunk in chunks {
        loop {
            match reader.next(&mut chunk) {
                Ok(Some(incoming)) => keep(&mut seen, incoming),
                Ok(None) => break,
                Err(error) => return Reading { seen, error: Some(error), at_boundary: false },
            }
        }
        assert!(chunk.is_empty(), "the reader left bytes that it wants no more of");
    }
    let cut_data =
        matches!(seen.last(), Some(Seen::Data(head, bytes)) if bytes.len() < head.len as usize);
    if cut_data {
        seen.pop();
    }
    Reading { seen, error: None, at_boundary: reader.at_boundary() }
}

/// Adds what came; parts of one DATA become one.
fn keep(seen: &mut Vec<Seen>, incoming: Incoming<'_>) {
    match incoming {
        Incoming::Message(message) => seen.push(Seen::Message(message)),
        Incoming::Skipped { kind } => seen.push(Seen::Skipped(kind)),
        Incoming::Data { head, offset: 0, bytes } => seen.push(Seen::Data(head, bytes.to_vec())),
        Incoming::Data { head, offset, bytes } => match seen.last_mut() {
            Some(Seen::Data(before, so_far)) => {
                assert_eq!(*before, head, "the parts of one DATA name one block");
                assert_eq!(so_far.len(), offset as usize, "the parts of a DATA are in order");
                so_far.extend_from_slice(bytes);
            }
            other => panic!("the rest of a DATA after {other:?}"),
        },
    }
}

fn whole(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::once(bytes)
}

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

// Two codecs that were written apart, on frames that nobody thought of.
#[test]
fn mutated_frames_mean_the_same_to_both_codecs() {
    let vectors = document("frames");
    let vectors = rows(&vectors, "vectors").iter().filter(|v| v["type"].is_string());
    let good: Vec<Vec<u8>> = vectors.map(bytes_of).filter(|bytes| bytes.len() < 2_000).collect();
    let hello = &good[1];
    assert_eq!(hello[0], 1, "the second vector is a HELLO");
    let mut dice = Dice(0x5357_5031_5357_5031);
    let mut streams = Vec::new();
    for round in 0..12_000 {
        let mut frame = good[round % good.len()].clone();
        mutate(&mut dice, &mut frame);
        let tail = &good[dice.below(good.len())];
        streams.push(match round % 3 {
            0 => [&frame[..], tail].concat(),
            1 => [&hello[..], &frame].concat(),
            _ => [&hello[..], &frame, tail].concat(),
        });
    }
    let verdicts = ask_python(&streams);
    assert_eq!(verdicts.len(), streams.len());
    let mut refused = 0;
    for (stream, verdict) in streams.iter().zip(&verdicts) {
        let reading = read(true, whole(stream));
        let names: Vec<String> = reading.seen.iter().map(Seen::name).collect();
        let end = reading
            .code()
            .unwrap_or_else(|| if reading.at_boundary { "-".to_owned() } else { "cut".to_owned() });
        refused += usize::from(reading.error.is_some());
        let again: Vec<u8> = reading.seen.iter().filter_map(Seen::encode).flatten().collect();
        let ours = format!("{} | {end} {}", names.join(" "), hex(&again));
        assert_eq!(ours.trim(), verdict, "{}", hex(stream));
    }
    assert!(refused > 3_000 && refused < 11_000, "{refused} were refused: poor mutations");
}

fn ask_python(streams: &[Vec<u8>]) -> Vec<String> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec/tools/judge.py");
    let mut lines = tempfile::tempfile().expect("a temporary file");
    for stream in streams {
        writeln!(lines, "{}", hex(stream)).expect("room for a few megabytes");
    }
    lines.rewind().expect("a file can be read from its start");
    let output = Command::new("python3").arg(script).stdin(Stdio::from(lines)).output();
    let output =
        output.unwrap_or_else(|error| panic!("python3: {error}; install Python 3.11 or later"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "judge.py: {}\n{errors}", output.status);
    let text = String::from_utf8(output.stdout).expect("ASCII");
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn examples_in_the_text_are_right() {
    let spec_text = spec("PROTOCOL.md");
    let (mut frames, mut manifests) = (0, 0);
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
        frames += reading.seen.len();
    }
    assert!(frames >= 20 && manifests >= 1, "{frames} frames, {manifests} manifests");
}
