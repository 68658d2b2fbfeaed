//! Names that somebody may have meant who typed another one.
//!
//! Pure text, no tracker, no paths. Invariant: the answer depends only on the set of names, not on
//! their order, and the work is bounded by `MAX_CONSIDERED` names of at most `MAX_CHARS` characters.

use std::collections::BTreeSet;

/// Names that are told at most.
const MAX_SIMILAR: usize = 3;
/// Mistyped characters that are forgiven.
const MAX_DISTANCE: usize = 2;
/// A part of a name must be so long, in characters, to say anything about the whole.
const MIN_PART: usize = 3;
/// Names that are looked at; more can't be told apart from guessing.
const MAX_CONSIDERED: usize = 10_000;
/// Longer names are compared only as wholes with their parts.
const MAX_CHARS: usize = 256;

/// How alike two names are; smaller is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// The same but for upper and lower case.
    Case,
    /// So many characters are wrong, missing, too many, or swapped with their neighbour.
    Typo(usize),
    /// One begins with the other.
    Prefix,
    /// One contains the other.
    Part,
}

/// Those of `all` that look like `wanted`, at most three, the likest first: with up to two typing errors
/// (but always more right than wrong), or one of them a part of the other. Case does not matter.
/// `wanted` itself is never among them.
pub fn similar_names(wanted: &str, all: &[String]) -> Vec<String> {
    let others: BTreeSet<&str> = all.iter().map(String::as_str).filter(|n| *n != wanted).collect();
    let folded = wanted.to_lowercase();
    let mut alike: Vec<(Likeness, &str)> = others
        .into_iter()
        .take(MAX_CONSIDERED)
        .filter_map(|name| Some((likeness(&folded, &name.to_lowercase())?, name)))
        .collect();
    alike.sort();
    alike.into_iter().take(MAX_SIMILAR).map(|(_, name)| name.to_owned()).collect()
}

/// How alike two names in lower case are, if they are at all.
fn likeness(a: &str, b: &str) -> Option<Likeness> {
    if a == b {
        return Some(Likeness::Case);
    }
    let (a_chars, b_chars): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let shorter = a_chars.len().min(b_chars.len());
    if a_chars.len().max(b_chars.len()) <= MAX_CHARS
        && let Some(distance) = distance(&a_chars, &b_chars)
        && 2 * distance < shorter.max(2)
    {
        return Some(Likeness::Typo(distance));
    }
    if shorter < MIN_PART {
        return None;
    }
    if a.starts_with(b) || b.starts_with(a) {
        return Some(Likeness::Prefix);
    }
    (a.contains(b) || b.contains(a)).then_some(Likeness::Part)
}

/// Characters to insert, remove, replace, or swap with their neighbour to get from one to the other
/// (optimal string alignment), if these are at most [`MAX_DISTANCE`].
fn distance(a: &[char], b: &[char]) -> Option<usize> {
    if a.len().abs_diff(b.len()) > MAX_DISTANCE {
        return None;
    }
    // Row `i` has the distances from the first `i` of `a` to each start of `b`.
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            next[j] = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        if next.iter().all(|distance| *distance > MAX_DISTANCE) {
            return None;
        }
        before = std::mem::replace(&mut row, next);
    }
    Some(row[b.len()]).filter(|distance| *distance <= MAX_DISTANCE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn similar(wanted: &str, all: &[&str]) -> Vec<String> {
        similar_names(wanted, &all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn finds_what_was_meant_likest_first() {
        let all = ["debian-13.iso", "Ubuntu.iso", "ubunut.iso", "ubuntu.iso.asc", "my/ubuntu.iso"];
        assert_eq!(similar("ubuntu.iso", &all), ["Ubuntu.iso", "ubunut.iso", "ubuntu.iso.asc"]);
        assert_eq!(similar("debain-13.iso", &all), ["debian-13.iso"]);
        assert_eq!(similar("debian", &all), ["debian-13.iso"]);
        assert_eq!(similar("photos/debian-13.iso", &all), ["debian-13.iso"]);
    }

    #[test]
    fn does_not_guess() {
        assert!(similar("cat", &["dog", "c", "cow"]).is_empty());
        assert!(similar("ab", &["xy", "abcdef"]).is_empty());
        assert!(similar("same", &["same"]).is_empty());
        assert!(similar("", &["", "a", "abc"]).is_empty());
        assert_eq!(similar("ünïcode", &["unïcode"]), ["unïcode"]);
    }

    #[test]
    fn a_swap_is_one_error() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        for (a, b, expected) in [
            ("abcd", "abdc", Some(1)),
            ("abcd", "abcd", Some(0)),
            ("abcd", "bd", Some(2)),
            ("abcd", "d", None),
            ("", "ab", Some(2)),
            ("abcd", "wxyz", None),
        ] {
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            wanted in "[ab/]{0,6}",
            mut all in prop::collection::vec("[aAb/]{0,6}", 0..12),
        ) {
            let expected = similar_names(&wanted, &all);
            prop_assert!(expected.len() <= MAX_SIMILAR && !expected.contains(&wanted));
            all.reverse();
            all.extend(all.clone());
            prop_assert_eq!(similar_names(&wanted, &all), expected);
        }
    }
}
