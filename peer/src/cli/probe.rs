//! Doors for fuzzers to the parsers of single words. Programs have no use for them: words come with
//! the command line.

use super::args::Args;
use super::{COMMANDS, escape, glob, target, values};
use crate::job::Target;

/// What a word is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Size,
    /// Bytes per second.
    Rate,
    /// A span of time.
    Duration,
    /// A span of time, or never.
    OptionalDuration,
    /// A whole number from 1 to 100,000.
    Count,
    /// Yes or no.
    Switch,
    /// Trackers.
    Trackers,
    /// Where to accept connections.
    Listen,
    /// An address to hand to others.
    Advertise,
    /// What to fetch.
    Target,
}

/// Every kind.
pub const KINDS: &[Kind] = &[
    Kind::Size,
    Kind::Rate,
    Kind::Duration,
    Kind::OptionalDuration,
    Kind::Count,
    Kind::Switch,
    Kind::Trackers,
    Kind::Listen,
    Kind::Advertise,
    Kind::Target,
];

/// The value that `word` stands for, written in the plainest way.
///
/// # Errors
/// Why it is none, for people.
pub fn value(kind: Kind, word: &str) -> Result<String, String> {
    Ok(match kind {
        Kind::Size => values::size(word)?.to_string(),
        Kind::Rate => values::rate(word)?.to_string(),
        Kind::Duration => format!("{}ms", values::duration(word)?.as_millis()),
        Kind::OptionalDuration => values::optional_duration(word)?
            .map_or_else(|| "off".to_owned(), |span| format!("{}ms", span.as_millis())),
        Kind::Count => values::count(word, 100_000)?.to_string(),
        Kind::Switch => if values::switch(word)? { "yes" } else { "no" }.to_owned(),
        Kind::Trackers => values::trackers(word)?.join(","),
        Kind::Listen => match values::listen(word)? {
            values::Listen::AllAddresses(port) => port.to_string(),
            values::Listen::At(addr) => addr.to_string(),
        },
        Kind::Advertise => values::advertise(word)?.to_string(),
        Kind::Target => match target::parse_name("fetch", word).map_err(|error| error.what)? {
            Target::Name { name, version: 0 } => name.to_string(),
            Target::Name { name, version } => format!("{name}@{version}"),
            Target::Exact { name, object } => {
                let hex: String = object.0.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{name}@sha256:{hex}")
            }
            Target::Manifest { .. } => unreachable!("no file is read here"),
        },
    })
}

/// Text from outside as a terminal gets it, and as a word of a shell command.
pub fn shown(text: &str) -> (String, String) {
    (escape::escape(text).into_owned(), escape::shell_word(text))
}

/// What every name begins with that matches a pattern, and whether `name` matches.
pub fn glob(pattern: &str, name: &str) -> (String, bool) {
    let glob = glob::Glob::new(pattern);
    (glob.prefix(), glob.matches(name))
}

/// Reads words as the flags and values of a command; whether they can be.
pub fn flags(command: usize, words: &[&str]) -> bool {
    let command = COMMANDS[command % COMMANDS.len()];
    let flags: Vec<_> = command.flags.iter().map(|(_, flags)| *flags).collect();
    let words = words.iter().map(Into::into).collect();
    Args::parse(command.name, &flags, words, &|_| None).is_ok()
}
