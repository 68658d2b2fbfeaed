//! The protocol crate and `spec/messages.toml` state ids, limits and codes twice, on purpose; here they
//! are held together. Also: rules have one id each, and what names a rule names one that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::message::TlvTag;
use protocol::{Code, limits};
use toml::{Table, Value};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table() -> Table {
    text("spec/messages.toml").parse().expect("messages.toml is TOML")
}

fn number(value: &Value) -> u64 {
    let number = value.as_integer().unwrap_or_else(|| panic!("{value:?} is not a number"));
    u64::try_from(number).expect("no negative numbers")
}

/// Rows of one section: name to number.
fn numbers(table: &Table, section: &str, key: &str) -> BTreeMap<String, u64> {
    let rows = table[section].as_table().unwrap_or_else(|| panic!("no section {section}"));
    rows.iter().map(|(name, row)| (name.clone(), number(&row[key]))).collect()
}

#[test]
fn codes_are_the_same() {
    let ours = Code::ALL.iter().map(|(code, name)| ((*name).to_owned(), u64::from(code.0)));
    assert_eq!(ours.collect::<BTreeMap<_, _>>(), numbers(&table(), "codes", "value"));
}

#[test]
fn tags_are_the_same() {
    let ours = [
        ("CLUSTER_TOKEN", TlvTag::CLUSTER_TOKEN),
        ("AGENT", TlvTag::AGENT),
        ("ADVERTISED", TlvTag::ADVERTISED),
    ];
    let ours = ours.map(|(name, tag)| (name.to_owned(), u64::from(tag.0)));
    assert_eq!(BTreeMap::from(ours), numbers(&table(), "tlvs", "tag"));
}

#[test]
fn types_and_their_sizes_are_the_same() {
    let table = table();
    let rows = table["type"].as_array().expect("types").iter();
    let theirs: Vec<(u64, String, u64, u64)> = rows
        .map(|row| {
            let name = row["name"].as_str().expect("a name").to_owned();
            (number(&row["id"]), name, number(&row["min"]), number(&row["max"]))
        })
        .collect();
    let ours: Vec<(u64, String, u64, u64)> = protocol::frame::KINDS
        .iter()
        .map(|spec| (spec.kind.into(), spec.name.to_owned(), spec.min.into(), spec.max.into()))
        .collect();
    assert_eq!(ours, theirs);
}

/// A limit as the number in the table: its own, or seconds.
trait Limit {
    fn limit(self) -> u64;
}

macro_rules! limit {
    ($($ty:ty),*) => {
        $(impl Limit for $ty {
            fn limit(self) -> u64 {
                u64::try_from(self).expect("no limit is above u64")
            }
        })*
    };
}
limit!(u8, u16, u32, u64, usize);

impl Limit for Duration {
    fn limit(self) -> u64 {
        assert_eq!(self.subsec_nanos(), 0, "the table has whole seconds");
        self.as_secs()
    }
}

macro_rules! limits {
    ($($name:ident)*) => {
        BTreeMap::from([$((stringify!($name).to_owned(), limits::$name.limit()),)*])
    };
}

#[test]
fn limits_are_the_same() {
    let ours = limits! {
        VERSION MAGIC FRAME_HEADER MAX_CONTROL MAX_BLOCK MAX_HELLO MAX_BYE MIN_PIECE_LOG2
        MAX_PIECE_LOG2 MAX_PIECES MAX_OBJECT MANIFEST_PIECE MAX_MANIFEST MAX_FILES MAX_PATH
        MAX_SEGMENT MAX_DEPTH MAX_TRACKERS MAX_TRACKER MAX_AGENT MAX_CHANNELS DEFAULT_WINDOW
        MAX_WINDOW MAX_BAD_RANGES HELLO_TIMEOUT NOOP_AFTER DEAD_AFTER FRAME_STALL BYE_LINGER
        HAVE_DELAY_MS BAD_DATA_BAN MIN_BEAT_S MAX_BEAT_S RECONNECT_MAX_S MAX_FIND_WANT
        MAX_LIST_LIMIT MAX_ANNOUNCE_ENTRIES MAX_PUSH PUSH_INTERVAL_S
    };
    assert_eq!(ours, numbers(&table(), "limits", "value"));

    // A constant that is added to the crate and not to the list above.
    let source = text("protocol/src/limits.rs");
    let names = source.lines().filter_map(|line| line.strip_prefix("pub const "));
    let names: BTreeSet<&str> = names.filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ours.keys().map(String::as_str).collect());
}

/// Ids like `F-12` in `text`, in order, with repetitions.
fn ids(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let word = |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-');
    let mut found = Vec::new();
    for at in 0..bytes.len() {
        if !b"FHPMTX".contains(&bytes[at]) || (at > 0 && word(at - 1)) {
            continue;
        }
        let Some(rest) = text[at + 1..].strip_prefix('-') else { continue };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && !word(at + 2 + digits) {
            found.push(text[at..at + 2 + digits].to_owned());
        }
    }
    found
}

/// Ids of the rules of the spec: the first word of a list item, in brackets.
fn defined() -> Vec<String> {
    let protocol = text("spec/PROTOCOL.md");
    let items = protocol.lines().filter_map(|line| line.strip_prefix("- ["));
    items.filter_map(|item| Some(item.split_once("] ")?.0.to_owned())).collect()
}

#[test]
fn each_rule_has_its_own_id() {
    let defined = defined();
    let unique: BTreeSet<&String> = defined.iter().collect();
    assert_eq!(defined.len(), unique.len(), "an id is used twice");
    assert!(unique.len() > 150, "only {} rules found", unique.len());
    for id in &defined {
        assert_eq!(ids(id), std::slice::from_ref(id), "{id} is not an id");
    }
    // Numbers of one letter have no gaps: a gap is an id that was lost or mistyped.
    for letter in ["F", "H", "P", "M", "T", "X"] {
        let of_letter = defined.iter().filter(|id| id.starts_with(letter));
        let expected: BTreeSet<String> =
            (1..=of_letter.clone().count()).map(|n| format!("{letter}-{n}")).collect();
        assert_eq!(of_letter.cloned().collect::<BTreeSet<_>>(), expected);
    }
}

#[test]
fn a_line_that_says_must_has_an_id() {
    let protocol = text("spec/PROTOCOL.md");
    // From the rules on: the conventions explain the words themselves.
    let body = protocol.split_once("\n## 3 ").expect("section 3").1;
    let mut item = "";
    for line in body.lines() {
        if !line.starts_with("  ") {
            item = line;
        }
        let says = line.contains("MUST") && !line.ends_with("MUST NOT be punished:");
        assert!(!says || item.starts_with("- ["), "no id: {line}");
    }
}

#[test]
fn what_names_a_rule_names_one_that_exists() {
    let defined: BTreeSet<String> = defined().into_iter().collect();
    let mut files = vec![root().join("spec/PROTOCOL.md"), root().join("spec/messages.toml")];
    for folder in [
        "protocol/src",
        "reactor/src",
        "tracker/src",
        "peer/src",
        "tests/src",
        "tests/tests",
        "spec/vectors",
    ] {
        collect(&root().join(folder), &mut files);
    }
    let mut unknown = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let named = ids(&text).into_iter().filter(|id| !defined.contains(id));
        unknown.extend(named.map(|id| format!("{}: {id}", file.display())));
    }
    assert!(
        unknown.is_empty(),
        "rules that spec/PROTOCOL.md does not have:\n{}",
        unknown.join("\n")
    );
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "json") {
            files.push(path);
        }
    }
}
