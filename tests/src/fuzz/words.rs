//! Paths, names, and words of the command line.

use std::path::{Component, Path};

use peer::cli::probe;
use protocol::limits::{MAX_DEPTH, MAX_PATH, MAX_SEGMENT};
use protocol::{SafePath, check_name};

use super::Bytes;
use super::memory::bounded;

/// A path. What is accepted lies below the folder it is joined to, on this system, and keeps the rules
/// as another reading of them has it [M-16 to M-20]; what is a name is a path, too [M-21].
pub(super) fn paths(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let path = bounded(data.len(), 2, || SafePath::new(text));
    assert_eq!(path.is_ok(), keeps_the_rules(text), "{text:?}");
    let name = check_name(text);
    let Ok(path) = path else {
        assert!(name.is_err(), "[M-21]");
        return;
    };
    assert_eq!(name.is_ok(), !ends_like_a_version(text), "[M-22]");
    assert_eq!((path.as_str(), path.to_string().as_str()), (text, text), "never repaired");
    assert!(Path::new(text).components().all(|part| matches!(part, Component::Normal(_))));
    let joined = Path::new("/root").join(path.as_str());
    assert!(
        joined.starts_with("/root") && joined.components().count() == path.segments().count() + 2
    );
    assert_eq!(joined.file_name().and_then(|name| name.to_str()), Some(path.file_name()));
}

fn keeps_the_rules(text: &str) -> bool {
    let segments: Vec<&str> = text.split('/').collect();
    let whole = |segment: &&str| !["", ".", ".."].contains(segment) && segment.len() <= MAX_SEGMENT;
    (1..=MAX_PATH).contains(&text.len())
        && segments.len() <= MAX_DEPTH
        && segments.iter().all(whole)
        && !text.chars().any(|c| c < ' ' || c == '\u{7f}' || c == '\\')
}

fn ends_like_a_version(text: &str) -> bool {
    let mut digits = text.trim_end_matches(|c: char| c.is_ascii_digit());
    if digits.len() < text.len() && digits.ends_with('@') {
        return true;
    }
    digits = text.trim_end_matches(|c: char| c.is_ascii_hexdigit());
    digits.len() < text.len() && digits.ends_with("@sha256:")
}

/// Byte 0: what to read the rest as: a value, text for a terminal, a pattern and a name, or the words
/// of a command (each ends at a zero). A value can be written so that it reads as itself.
pub(super) fn words(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let what = usize::from(bytes.u8());
    let rest = bytes.rest();
    let Ok(text) = str::from_utf8(rest) else { return };
    match what % (probe::KINDS.len() + 3) {
        0 => shown(text),
        1 => {
            let (pattern, name) = text.split_once('\0').unwrap_or((text, ""));
            let (prefix, matches) = probe::glob(pattern, name);
            assert!(!matches || name.starts_with(&prefix), "{pattern:?} {name:?}");
        }
        2 => {
            let all: Vec<&str> = text.split('\0').collect();
            bounded(4 * text.len(), 64, || probe::flags(what / 16, &all));
        }
        kind => {
            let kind = probe::KINDS[kind - 3];
            match bounded(text.len(), 64, || probe::value(kind, text)) {
                Ok(plain) => {
                    let again = probe::value(kind, &plain);
                    assert_eq!(again.as_ref(), Ok(&plain), "{kind:?} {text:?}");
                }
                Err(why) => assert!(!why.is_empty()),
            }
        }
    }
}

/// Nothing that a terminal would obey comes through, and a word for a shell is one word.
fn shown(text: &str) {
    let (line, word) = probe::shown(text);
    assert!(!line.chars().any(char::is_control), "{line:?}");
    let bidi = |c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!line.chars().any(bidi), "{line:?}");
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/@:+,=%".contains(c);
    let quoted = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let one = match quoted {
        Some(inside) => !inside.replace(r"'\''", "").contains('\''),
        None => !word.is_empty() && word.chars().all(plain),
    };
    assert!(one, "{word:?}");
}
